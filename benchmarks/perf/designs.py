"""Which sampling design tells most for what it costs: the variance of what a table reports, seeds included.

    python -m benchmarks.perf.designs [--base runs/countdown/base --trained runs/countdown/grpo-s0] [--seeds 3]

Nothing is sampled here. A population says how the chances of a sound answer, and of a correct but unsound one, are
spread over problems: fitted to the counts of two runs, or else to those of `_populations.py`. Given that, the number of
samples that a design draws and the variance of its estimates are exact. To them comes the noise of training again,
`--seed-sd`, which no design takes away.

Standard errors are in points, given the problems; that of the choice of problems comes on top, alike for all designs.
`sound, curve` is the largest one at k = 2, 4, ..., 128. `difference` is that of two algorithms' sound pass@1, each the
mean over S trainings, and `cost` what the same precision of it costs in completions beside the first row, those of
training included. `gap` is that of one algorithm's gap, and `all` the samples of base and models, beside the first row.

Axes: Q grid of p(sound), T grid of p(correct | not sound).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.errors import UsageError
from benchmarks.perf._populations import BASE as BASE_COUNTS
from benchmarks.perf._populations import SAMPLES
from benchmarks.perf._populations import TRAINED as TRAINED_COUNTS
from benchmarks.perf._stage import program
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import read_record
from benchmarks.runs.run_folder import RECORD
from benchmarks.statistics.designs import VERDICTS, Design, Floats, JudgedBy, TwoOutcomeDesign
from benchmarks.statistics.passk import FixedDesign, StopOnSound
from benchmarks.statistics.sampling import joint_grid, joint_mixing_weights

TRAINED: tuple[Design, ...] = (
    StopOnSound((64, 128, 256), 4),
    StopOnSound((64, 128, 256), 1),
    StopOnSound((64, 128, 256), 2),
    StopOnSound((64, 128, 256), 8),
    StopOnSound((32, 64, 128, 256), 4),
    StopOnSound((128, 256), 4),
    FixedDesign(256),
)
BASE: tuple[Design, ...] = (
    StopOnSound((64, 128, 256), 4),
    StopOnSound((64, 128, 256), 16),
    FixedDesign(256),
    StopOnSound((64, 128, 256, 512), 4),
    StopOnSound((64, 128, 256, 512, 1024), 4),
    StopOnSound((64, 128, 256, 512, 1024), 8),
    FixedDesign(512),
)
K = 256
KS = (1, 2, 4, 8, 16, 32, 64, 128, K)


@dataclass(frozen=True)
class Population:
    """How the chances of a problem are spread over a dataset."""

    name: str
    n_problems: int
    weights_QT: Floats

    @classmethod
    def of_run(cls, run: Path, dataset: str) -> Population:
        """Fitted to the counts of a run that tell sound answers. Others: UsageError."""
        evaluation = read_record(run / RECORD).evaluations[dataset]
        counts = read_evaluated(evaluation, run)
        if not counts.has_sound:
            raise UsageError(f"{run}: its counts do not tell sound answers of problems that stopped on others.")
        weights_QT = joint_mixing_weights(counts.n_N, counts.c_N, counts.s_N, K)
        return cls(run.name, len(counts.problem_ids), weights_QT)

    @classmethod
    def built_in(cls, name: str, counts: str) -> Population:
        """Fitted to the counts of `_populations.py`."""
        c_N, s_N = np.array([pair.split("/") for pair in counts.split()], dtype=np.int64).T
        return cls(name, len(c_N), joint_mixing_weights(np.full(len(c_N), SAMPLES), c_N, s_N, K))


@dataclass(frozen=True)
class Figures:
    """One design on one population."""

    samples: float
    """Of a problem, in the mean."""
    errors: dict[tuple[JudgedBy, int], float]
    """(verdict, k) -> standard error of the dataset's mean given the problems, in points."""


def figures(design: Design, population: Population) -> Figures:
    """Exact, given the population."""
    p_Q, unsound_T = joint_grid(K)
    weights_QT, weights_Q = population.weights_QT, population.weights_QT.sum(axis=1)
    sound = design.sound if isinstance(design, StopOnSound) else design
    assert isinstance(sound, TwoOutcomeDesign)
    samples = float(weights_Q @ design.expected_samples(p_Q))
    errors: dict[tuple[JudgedBy, int], float] = {}
    for k in KS:
        if isinstance(design, StopOnSound):
            variance_QT = design.sampling_variance(p_Q, unsound_T, k)
        else:
            correct_QT = p_Q[:, None] + (1 - p_Q[:, None]) * unsound_T
            variance_QT = sound.sampling_variance(correct_QT.ravel(), k).reshape(correct_QT.shape)
        means = np.sum(weights_QT * variance_QT), weights_Q @ sound.sampling_variance(p_Q, k)
        for verdict, variance in zip(VERDICTS, means, strict=True):
            errors[verdict, k] = 100 * math.sqrt(max(float(variance), 0.0) / population.n_problems)
    return Figures(samples, errors)


# ------------------------------------------------------------------------------------------------ what is shown


@dataclass(frozen=True)
class Asked:
    """What a table is made of."""

    seeds: int
    seed_sd: float
    """Of pass@1 over training runs, in points."""
    training: float
    """Completions of one training run for each problem of the evaluation."""
    algorithms: int


def difference(found: Figures, asked: Asked, verdict: JudgedBy) -> float:
    """The standard error of a difference of two algorithms' mean pass@1."""
    return math.sqrt(2 * (found.errors[verdict, 1] ** 2 + asked.seed_sd**2) / asked.seeds)


def gap(base: Figures, trained: Figures, asked: Asked, verdict: JudgedBy) -> float:
    """The standard error of one algorithm's gap: the base is sampled once, the algorithm trained S times."""
    own = (trained.errors[verdict, 1] ** 2 + asked.seed_sd**2) / asked.seeds
    return math.sqrt(base.errors[verdict, K] ** 2 + own)


def trained_table(population: Population, asked: Asked) -> Table:
    """A row for each design of a trained model."""
    shown = Table(f"trained: {population.name}")
    for name in ("samples", "answer@1", f"answer@{K}", "sound@1", "sound, curve", f"sound@{K}", "difference", "cost"):
        shown.add_column(name, justify="right")
    first = figures(TRAINED[0], population)
    for design in TRAINED:
        found = figures(design, population)
        price = [difference(one, asked, "sound") ** 2 * (one.samples + asked.training) for one in (found, first)]
        curve = max(found.errors["sound", k] for k in KS[1:-1])
        answer, sound = ([found.errors[verdict, k] for k in (1, K)] for verdict in VERDICTS)
        errors = [*answer, sound[0], curve, sound[1]]
        shown.add_row(
            label(design), f"{found.samples:.0f}", *(f"{error:.2f}" for error in errors),
            f"{difference(found, asked, 'sound'):.2f}", f"{price[0] / price[1]:.2f}",
        )  # fmt: skip
    return shown


def base_table(population: Population, trained: Population, asked: Asked) -> Table:
    """A row for each design of the base, with trained models under the first of theirs."""
    shown = Table(f"base: {population.name}")
    for name in ("samples", f"answer@{K}", f"sound@{K}", "gap, answer", "gap, sound", "all"):
        shown.add_column(name, justify="right")
    other, first = figures(TRAINED[0], trained), figures(BASE[0], population)
    models = asked.algorithms * asked.seeds
    for design in BASE:
        found = figures(design, population)
        total, usual = (one.samples + models * other.samples for one in (found, first))
        errors = (found.errors[verdict, K] for verdict in ("answer", "sound"))
        gaps = (gap(found, other, asked, verdict) for verdict in ("answer", "sound"))
        shown.add_row(
            label(design), f"{found.samples:.0f}", *(f"{error:.2f}" for error in [*errors, *gaps]),
            f"{100 * (total / usual - 1):+.1f} %",
        )  # fmt: skip
    return shown


def label(design: Design) -> str:
    """ "64, 128, 256; 4", or "256 of each"."""
    rounds = ", ".join(map(str, design.rounds))
    return f"{rounds} of each" if design.stop_after is None else f"{rounds}; {design.stop_after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.designs", description="Variance for its cost.")
    parser.add_argument("--base", type=Path, help="a run's folder; its counts must tell sound answers")
    parser.add_argument("--trained", type=Path, help="likewise")
    parser.add_argument("--dataset", default="test")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each algorithm")
    parser.add_argument("--seed-sd", type=float, default=1.5, help="of pass@1 over trainings, in points")
    parser.add_argument("--training", type=float, default=58, help="completions of a training for each test problem")
    parser.add_argument("--algorithms", type=int, default=7, help="in the table")
    given = parser.parse_args(arguments)
    asked = Asked(given.seeds, given.seed_sd, given.training, given.algorithms)
    base, trained = (
        Population.of_run(run, given.dataset) if run else Population.built_in(name, counts)
        for run, name, counts in ((given.base, "embedded base", BASE_COUNTS), (given.trained, "GRPO", TRAINED_COUNTS))
    )
    console = Console(width=None if Console().is_terminal else 120)
    console.print(trained_table(trained, asked))
    console.print(base_table(base, trained, asked))
    console.print(
        "A design is its rounds, and the sound answers that stop a problem. "
        f"Standard errors in points, given the problems; difference and gap with S = {asked.seeds} and a seed sd of "
        f"{asked.seed_sd:g} points; cost and all: see the top of the file."
    )


if __name__ == "__main__":
    program(main)
