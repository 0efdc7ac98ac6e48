"""Measures whether intervals cover what they say, and how often equally good algorithms are told apart.

    python -m benchmarks.perf.coverage [--tables 200] [--out-of-domain]

Every table is simulated (`_simulated.py`): seven equally good algorithms and a base, 256 samples of every problem. Each
cell prints a share of tables or pairs with its Monte-Carlo standard error, for the crossed bootstrap that was used
before and for the intervals of `intervals.py`. Nominal are 95 % coverage and 5 % of tables with a false claim.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.perf._simulated import BASE, OUT_OF_DOMAIN, SAMPLES, TRAINED, Floats, Population, table
from benchmarks.perf._stage import program
from benchmarks.progress import Progress
from benchmarks.statistics.intervals import Estimate, random_effects

ALGORITHMS = 7
PAIRS = tuple(itertools.combinations(range(ALGORITHMS), 2))
PROBLEMS = (30, 100, 256, 500)
SEED_SDS = (0.0, 0.008, 0.016, 0.032)
SEEDS = (1, 2, 3, 5)
BEFORE_DRAWS = 1000


@dataclass(frozen=True)
class Cell:
    """One kind of table."""

    population: Population
    problems: int
    seed_sd: float
    seeds: int


@dataclass(frozen=True)
class Measured:
    """Per simulated table T: the share of pairs whose interval holds the truth, and whether some pair is claimed."""

    before_at_1_T: Floats
    at_1_T: Floats
    at_k_T: Floats
    gap_T: Floats
    before_claims_T: Floats
    claims_T: Floats
    claims_at_k_T: Floats
    width: float
    """Mean width of the interval of a difference in pass@1, in points."""


def crossed_bootstrap(scores_ASN: Floats, rng: np.random.Generator) -> list[Estimate]:
    """The intervals used before: problems and seeds resampled crossed, percentiles, for every pair of algorithms."""
    n_algorithms, n_seeds, n_problems = scores_ASN.shape
    weights_RN = rng.multinomial(n_problems, np.full(n_problems, 1 / n_problems), BEFORE_DRAWS) / n_problems
    means_RAS = (weights_RN @ scores_ASN.reshape(-1, n_problems).T).reshape(BEFORE_DRAWS, n_algorithms, n_seeds)
    seeds_RAS = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), (BEFORE_DRAWS, n_algorithms)) / n_seeds
    draws_RA = (means_RAS * seeds_RAS).sum(axis=2)
    mean_A = scores_ASN.mean(axis=(1, 2))
    apart_RP = np.stack([draws_RA[:, i] - draws_RA[:, j] for i, j in PAIRS], axis=1)
    low_P, high_P = np.quantile(apart_RP, [0.025, 0.975], axis=0)
    rows = zip(PAIRS, low_P, high_P, strict=True)
    return [Estimate(float(mean_A[i] - mean_A[j]), float(low), float(high)) for (i, j), low, high in rows]


def pair_weights(fixed: int = 0) -> list[Floats]:
    """The contrasts of all pairs, with zeros for `fixed` models at the end."""
    rows = np.eye(ALGORITHMS, ALGORITHMS + fixed)
    return [rows[i] - rows[j] for i, j in PAIRS]


def measure(cell: Cell, tables: int, joint: bool = True, before: bool = True) -> Measured:
    """Simulates the tables of one cell. `joint`, `before`: whether the claims and the old intervals are computed."""
    key = [cell.problems, round(1e4 * cell.seed_sd), cell.seeds, len(cell.population.name)]
    rng = np.random.default_rng(key)
    shift = cell.population.shift_of(cell.seed_sd)
    true_gap = BASE.pass_at_k(SAMPLES) - cell.population.pass_at_k(1, shift)
    rows, widths = [], []
    for _ in range(tables):
        counts_ASN, base_N = table(cell.population, [cell.seed_sd] * ALGORITHMS, cell.seeds, cell.problems, rng)
        at_1 = random_effects(list(counts_ASN / SAMPLES), [(base_N > 0).astype(float)], fixed_pads=[0.5])
        at_k = random_effects(list((counts_ASN > 0).astype(float)), binary=True)
        singles = [at_1.interval(row) for row in pair_weights(1)]
        gaps = [at_1.interval(np.eye(ALGORITHMS + 1)[-1] - np.eye(ALGORITHMS + 1)[i]) for i in range(ALGORITHMS)]
        olds = crossed_bootstrap(counts_ASN / SAMPLES, rng) if before else []
        widths.append(np.mean([one.high - one.low for one in singles]))
        rows.append(
            (
                _hold(olds),
                _hold(singles),
                _hold([at_k.interval(row) for row in pair_weights()]),
                np.mean([one.low <= true_gap <= one.high for one in gaps]),
                _claim(olds),
                _claim(at_1.simultaneous(pair_weights(1)) if joint else []),
                _claim(at_k.simultaneous(pair_weights()) if joint else []),
            )
        )
    before_1, at_1, at_k, gap, before_claims, claims, claims_k = np.array(rows, dtype=float).T
    width = 100 * float(np.mean(widths))
    return Measured(before_1, at_1, at_k, gap, before_claims, claims, claims_k, width)


def _hold(found: Sequence[Estimate]) -> float:
    return float(np.mean([not one.excludes_zero for one in found])) if found else np.nan


def _claim(found: Sequence[Estimate]) -> float:
    return float(any(one.excludes_zero for one in found)) if found else np.nan


def share(values_T: Floats) -> str:
    """A mean in percent with its standard error over simulated tables."""
    if np.isnan(values_T).any():
        return "-"
    return f"{100 * values_T.mean():.1f} ± {100 * values_T.std() / np.sqrt(len(values_T)):.1f}"


def shown(population: Population) -> Table:
    """An empty table for the cells of one population."""
    result = Table(title=population.name, title_justify="left")
    for name in ("N", "seed sd", "S", "before", "at 1", "width", "at 256", "gap", "claims before", "claims", "at 256"):
        result.add_column(name, justify="right")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.coverage", description="Coverage of intervals.")
    parser.add_argument("--tables", type=int, default=200, help="simulated tables of each cell")
    parser.add_argument("--problems", type=int, nargs="+", default=PROBLEMS, help="numbers of problems")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="numbers of training seeds")
    parser.add_argument("--seed-sd", type=float, nargs="+", default=SEED_SDS, help="sd of pass@1 between seeds")
    parser.add_argument("--out-of-domain", action="store_true", help="pass@1 of 8 %% instead of 40 %%")
    given = parser.parse_args(arguments)
    population = OUT_OF_DOMAIN if given.out_of_domain else TRAINED
    cells = [Cell(population, *one) for one in itertools.product(given.problems, given.seed_sd, given.seeds)]
    result = shown(population)
    with Progress() as progress, progress.stage("coverage", total=len(cells), unit="cells") as stage:
        for cell in cells:
            result.add_row(*_row(cell, given.tables))
            stage.advance()
    console = Console(width=None if Console().is_terminal else 120)
    console.print("Coverage of 95 % intervals, in %: a pair of equal algorithms at k = 1 (before, and now), its mean")
    console.print("width in points, at k = 256, and the gap. Claims: tables in which some pair is told apart, in %.")
    console.print(result)


def _row(cell: Cell, tables: int) -> list[str]:
    found = measure(cell, tables)
    return [
        str(cell.problems),
        f"{100 * cell.seed_sd:.1f}",
        str(cell.seeds),
        share(found.before_at_1_T),
        share(found.at_1_T),
        f"{found.width:.1f}",
        share(found.at_k_T),
        share(found.gap_T),
        share(found.before_claims_T),
        share(found.claims_T),
        share(found.claims_at_k_T),
    ]


if __name__ == "__main__":
    program(main)
