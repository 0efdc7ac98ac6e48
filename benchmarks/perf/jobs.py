"""Compares two cells side by side with half of the cores each, and one after another with all of them.

    python -m benchmarks.perf.jobs                # trainings of countdown-smoke, three rounds

The ways alternate, and each number is a median over the rounds. On a machine with other work, processor time says more
than wall clock: two cells that one after another take C seconds of it on two cores cannot end before C/2 seconds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.launchers.base import Options, Task
from benchmarks.launchers.local import Local

WAYS = {"side by side": 2, "one after another": 1}


class Silent:
    """Hears nothing but failures."""

    def is_busy(self, task: Task) -> bool:
        """Nobody else is there."""
        return False

    def started(self, task: Task) -> None:
        """Nothing."""

    def queued(self, task: Task, job: str) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def stopping(self, tasks: int) -> None:
        """Nothing."""

    def ended(self, task: Task, reason: str | None) -> None:
        """Raises RuntimeError if the task failed."""
        if reason is not None:
            raise RuntimeError(f"{task.name}: {reason}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="countdown-smoke", help="whose cells")
    parser.add_argument("--set", action="append", default=[], help="changes of the suite")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured")
    asked = parser.parse_args(arguments)
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(asked.rounds):
        for way, jobs in WAYS.items():
            took[way].append(_measure(asked.suite, asked.set, jobs))
    for way, times in took.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{way}: {wall:.1f} s of wall clock, {cpu:.1f} s of processor time for two cells")


def _measure(suite: str, changes: Sequence[str], jobs: int) -> tuple[float, float]:
    """Wall clock and processor time of two cells whose base is done, in seconds."""
    os.environ.pop("OMP_NUM_THREADS", None)
    with tempfile.TemporaryDirectory() as folder:
        options = ["--suite", suite, "--out", folder, "--quiet", "--no-page"]
        options += [part for change in changes for part in ("--set", change)]
        _run([_task("base", 0, options, folder)], 1)
        wall, cpu = time.perf_counter(), _children()
        _run([_task("grpo", seed, options, folder) for seed in range(2)], jobs)
        return time.perf_counter() - wall, _children() - cpu


def _task(algorithm: str, seed: int, options: Sequence[str], folder: str) -> Task:
    command = ("bench", "--algo", algorithm, "--seed", str(seed), *options)
    return Task(f"{algorithm}-s{seed}", command, Path(folder) / f"{algorithm}-s{seed}.log")


def _run(tasks: Sequence[Task], jobs: int) -> None:
    Local().run(tasks, Options(jobs=jobs), Silent())


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
