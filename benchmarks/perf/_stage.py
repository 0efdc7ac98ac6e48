"""The evaluation stage as benchmarks run it, with some problems of a suite, a warm pool and a temporary folder."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines import resolve
from benchmarks.engines.base import Chunk
from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation import completions
from benchmarks.evaluation.stage import COMPLETIONS, DatasetResult, evaluate_dataset
from benchmarks.records.provenance import cores
from benchmarks.seeds import derive
from benchmarks.statistics.passk import Design, FixedDesign
from benchmarks.suites import schema as suites
from benchmarks.suites.schema import Suite
from benchmarks.tasks import Problem
from benchmarks.tasks.prompts import render
from benchmarks.verifiers import Verifier


def program(main: Callable[[], None]) -> None:
    """Runs a benchmark as a program. An error is one line and gives the exit code that `rlvr-gap` would give."""
    try:
        main()
    except (UsageError, Failure) as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)


def busy() -> str | None:
    """Returns a warning about wall times measured on a busy machine, or None if the machine is free.

    Call it before the start, because afterwards the load is the benchmark's own.
    """
    load = os.getloadavg()[0]
    if load < cores() / 2:
        return None
    return f"The load was {load:.1f} on {cores()} cores before the start: ratios of wall time say little."


@dataclass(frozen=True)
class Setting:
    """What is evaluated, and how."""

    suite: Suite
    dataset: str
    problems: list[Problem]
    verifier: Verifier
    workers: int | None
    """None uses one worker per core."""

    @property
    def sequential(self) -> Design:
        """The suite's design of a trained model."""
        return self.suite.evaluation.design_of(base=False)

    @property
    def fixed(self) -> Design:
        """As many samples of every problem as the suite's design takes of a hard one."""
        return FixedDesign(self.sequential.max_k)

    @property
    def prompts(self) -> list[str]:
        """The prompts as the model gets them."""
        return [render(self.suite.template, problem.prompt) for problem in self.problems]


def setting(suite: str, problems: int, dataset: str | None = None, workers: int | None = None) -> Setting:
    """Returns the first `problems` of a suite's dataset (by default the first). UsageError for an unknown name."""
    loaded = suites.load(suite)
    name = dataset or next(iter(loaded.evaluation.datasets))
    if name not in loaded.evaluation.datasets:
        raise unknown(f"dataset of suite '{loaded.name}'", name, loaded.evaluation.datasets)
    source = loaded.evaluation.datasets[name]
    found = source.load()[:problems]
    if problems < 1:
        raise UsageError(f"--problems {problems}: expected 1 or more.")
    return Setting(loaded, name, found, source.make_verifier(), workers or loaded.engine.workers)


@contextlib.contextmanager
def warm_pool(asked: Setting, model: str, revision: str | None = None) -> Iterator[EnginePool]:
    """Yields a pool whose workers have loaded the model and sampled once, so that starting up is not measured."""
    engine = asked.suite.engine
    spec = EngineSpec(resolve(engine.name), model, revision, dict(engine.settings))
    with EnginePool(spec, asked.workers, engine.rows_per_batch) as pool:
        chunks = [Chunk((asked.prompts[0],), 2, i, f"warm-{i}") for i in range(2 * pool.workers)]
        list(pool.run(chunks, asked.suite.evaluation.sampling))
        yield pool


@dataclass(frozen=True)
class Timed:
    """One evaluation."""

    result: DatasetResult
    seconds: float
    """Wall clock, from the plan to the last file."""
    verdicts: dict[str, list[tuple[bool, bool]]]
    """Problem -> whether each sample is correct, and whether it is under a sound chain too; where asked for."""

    @property
    def completions(self) -> int:
        """The number of all sampled completions."""
        return int(self.result.counts.n_N.sum())

    @property
    def pass_at_1(self) -> float:
        """The mean over the problems."""
        return float(self.result.counts.pass_at_k(1).mean())


def evaluate(asked: Setting, pool: EnginePool, design: Design, verdicts: bool = False) -> Timed:
    """Runs the stage once, in a folder of its own."""
    evaluation = asked.suite.evaluation
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = evaluate_dataset(
            pool, asked.problems, asked.verifier, dataset=asked.dataset, task_version=None, design=design,
            sampling=evaluation.sampling, prompt_template=asked.suite.template,
            seed=derive("perf", str(design)), folder=folder,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        return Timed(result, seconds, _verdicts(Path(folder)) if verdicts else {})


def _verdicts(folder: Path) -> dict[str, list[tuple[bool, bool]]]:
    """What each sample of each problem got, in the order of the samples."""
    found: dict[str, dict[int, tuple[bool, bool]]] = {}
    names = ("problem_id", "sample", "verdict", "chain")
    for table in completions.read_tables(folder / COMPLETIONS):
        columns = (table[name].to_pylist() for name in names)
        for problem_id, sample, verdict, chain in zip(*columns, strict=True):
            correct = verdict == "correct"
            found.setdefault(problem_id, {})[sample] = correct, correct and bool(chain)
    return {problem_id: [samples[i] for i in sorted(samples)] for problem_id, samples in found.items()}
