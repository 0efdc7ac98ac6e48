"""Measures the speed of the evaluation stage as ratios of times that are measured side by side in one run.

    python -m benchmarks.perf.engines              # the embedded model, on this machine
    python -m benchmarks.perf.engines --million    # memory: a million scripted completions

A lower load gives steadier numbers. Each ratio is of medians over alternating repeats.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import tasks, verifiers
from benchmarks.engines.base import Chunk
from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.evaluation.stage import DatasetResult, evaluate_dataset
from benchmarks.progress import Progress
from benchmarks.settings import Sampling
from benchmarks.statistics.passk import Design, FixedDesign

COUNTDOWN_BASE = Path(__file__).parents[1] / "base_models" / "countdown"
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=96)
SAMPLES = 64
CHUNKS = 4


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(COUNTDOWN_BASE), help="folder of a Countdown model")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each kind")
    parser.add_argument("--rows", type=int, default=512, help="completions side by side")
    parser.add_argument("--million", action="store_true", help="memory of a million completions, without a model")
    parser.add_argument("--completions", type=int, default=1_000_000, help="another number than a million")
    arguments = parser.parse_args()
    if arguments.million:
        memory(arguments.completions)
    else:
        against_generate(arguments.model, arguments.rows, arguments.repeats)
        stage(arguments.model, arguments.rows)


def against_generate(model: str, rows: int, repeats: int) -> None:
    """Compares completions per second of the engine and of plain `generate`, with equal prompts and rows.

    Both use one process and one thread.
    """
    from benchmarks.engines.transformers import TransformersEngine

    engine = TransformersEngine(model, rows_at_once=rows)
    problems = tasks.get("countdown").load("test")[: CHUNKS * rows // SAMPLES]
    texts = sorted((problem.prompt for problem in problems), key=len)
    width = max(1, rows // SAMPLES)
    chunks = [Chunk(tuple(texts[i : i + width]), SAMPLES, i, str(i)) for i in range(0, len(texts), width)]

    def sample(compact: bool) -> None:
        engine.compact = compact
        for chunk in chunks:
            engine.sample(chunk, SAMPLING)

    times = alternate({"plain": lambda: sample(False), "engine": lambda: sample(True)}, repeats)
    done = sum(chunk.rows for chunk in chunks)
    print(f"plain generate     {done / times['plain']:8.0f} completions/s")
    print(f"transformers       {done / times['engine']:8.0f} completions/s")
    print(f"ratio              {times['plain'] / times['engine']:8.2f}")


def alternate(jobs: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Returns name -> median CPU seconds of this process, which a busy machine stretches less than wall-clock time."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()  # the first run pays for what is set up once
    for _ in range(repeats):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def stage(model: str, rows: int) -> None:
    """Prints the share of the stage's wall time for verifying and writing, with one worker and all cores."""
    for workers in sorted({1, len(os.sched_getaffinity(0))}):
        with EnginePool(EngineSpec("transformers", model), workers, rows) as pool:
            result = run(pool, tasks.get("countdown").load("test")[:64], FixedDesign(SAMPLES))
        total = result.spent["sample"]  # verifying runs beside it, and writing is a part of it
        shares = ", ".join(f"{100 * seconds / total:.1f} % {name}" for name, seconds in result.spent.items())
        print(f"stage, {workers} at once: {result.sampled / total:8.0f} completions/s; of the time {shares}")


def memory(completions: int) -> None:
    """Prints the peak memory of the stage over so many completions, and the memory before."""
    n = 256
    problems = tasks.get("countdown").load("train")[: -(-completions // n)]
    before = peak_mib()
    with EnginePool(EngineSpec("scripted", "scripted"), 1) as pool:
        result = run(pool, problems, FixedDesign(n))
    print(f"{result.sampled} completions: peak {peak_mib():.0f} MiB, {before:.0f} MiB of it before the first")


def run(pool: EnginePool, problems: Sequence[Any], design: Design) -> DatasetResult:
    """Runs an evaluation in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        return evaluate_dataset(
            pool, problems, verifiers.get("countdown"), dataset="test", task_version=1, design=design,
            sampling=SAMPLING, prompt_template="raw", seed=0, folder=Path(folder) / "test", progress=progress,
        )  # fmt: skip


def peak_mib() -> float:
    """Returns the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
