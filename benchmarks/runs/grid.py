"""Runs cells in order: the base first, then every (seed, algorithm). It skips those that are done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import algorithms
from benchmarks import launchers
from benchmarks.errors import UsageError
from benchmarks.records.schema import BASE, Record, read_record
from benchmarks.suites.schema import Suite

Cells = list[tuple[str, int]]
"""Pairs of (algorithm, reference to one's own, or base; seed)."""


def plan(suite: Suite, asked: Sequence[str], seeds: Sequence[str]) -> Cells:
    """Returns the base, then all algorithms of the first seed, and so on. UsageError for unknown names.

    By default, the algorithms are the built-in ones.
    """
    names = list(dict.fromkeys(asked)) or list(algorithms.ALGORITHMS)
    _check_different([name for name in names if name != BASE])
    numbers = []
    for seed in dict.fromkeys(seeds):
        if not seed.isdecimal():
            raise UsageError(f"seed '{seed}' is not a whole number of at least 0.")
        numbers.append(int(seed))
    return [(BASE, 0), *((name, seed) for seed in numbers or [0] for name in names if name != BASE)]


def _check_different(references: Sequence[str]) -> None:
    """UsageError for an algorithm that cannot be found, and for two of one name: they would share their folders."""
    seen: dict[str, str] = {}
    for reference in references:
        name = algorithms.find(reference).name
        if name in seen:
            raise UsageError(f"{seen[name]} and {reference} have the same name, '{name}': give one of them another.")
        seen[name] = reference


def own(cells: Cells) -> list[str]:
    """Returns the references in `cells` to algorithms that are not built in."""
    return list(dict.fromkeys(name for name, _ in cells if name != BASE and name not in algorithms.ALGORITHMS))


def run_grid(
    suite: Suite, cells: Cells, launcher: str, out: Path, options: Sequence[str]
) -> tuple[list[Record], dict[str, str]]:
    """Runs the cells one after another. Returns the records of finished ones and why the others are not.

    `options` is what each cell's `bench` command gets beside its algorithm and seed.
    """
    launch = launchers.get(launcher)
    records, failed = [], {}
    for number, (algorithm, seed) in enumerate(cells, start=1):
        name = BASE if algorithm == BASE else f"{algorithms.find(algorithm).name}-s{seed}"
        if "--quiet" not in options:
            print(f"[{number}/{len(cells)}] {name}", file=sys.stderr, flush=True)
        command = ["bench", "--algo", algorithm, "--seed", str(seed), *options]
        reason = launch(command, out / suite.name / f"{name}.log")
        if reason is None:
            records.append(read_record(out / suite.name / name / "record.json"))
        else:
            failed[name] = reason
    return records, failed
