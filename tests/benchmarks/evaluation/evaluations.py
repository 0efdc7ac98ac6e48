"""The evaluation that the tests of the stage make, on the scripted engine: small, and stopping at every checkpoint."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import tasks, verifiers
from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.evaluation import dataset_run as evaluate
from benchmarks.evaluation.stage import evaluate_dataset
from benchmarks.settings import Sampling
from benchmarks.statistics.passk import SequentialDesign

SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=64)
DESIGN = SequentialDesign((8, 16, 32), 3)
PROBLEMS = tasks.get("countdown").load("test")[:24]
VERIFIER = verifiers.get("countdown")


def pool(workers: int = 1, rows_per_batch: int = 48, **settings: object) -> EnginePool:
    scripted = {"p": 0.15, "spread": True, **settings}
    return EnginePool(EngineSpec("scripted", "scripted", settings=scripted), workers, rows_per_batch)


def run(folder: Path, engines: EnginePool | None = None, **changes):
    """The evaluation that all tests here make, but for `changes`."""
    asked = {
        "problems": PROBLEMS, "verifier": VERIFIER, "dataset": "test", "task_version": 1, "design": DESIGN,
        "sampling": SAMPLING, "prompt_template": "raw", "seed": 5, "folder": folder,
    } | changes  # fmt: skip
    problems, verifier = asked.pop("problems"), asked.pop("verifier")
    with engines or pool() as engine:
        return evaluate_dataset(engine, problems, verifier, **asked)


def rows(folder: Path) -> list[dict]:
    return pq.read_table(folder / evaluate.COMPLETIONS).to_pylist()
