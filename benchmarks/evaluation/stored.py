"""Reads the stored completions of a finished run: the votes of maj@k, and the samples of one problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.evaluation.completions import read_tables
from benchmarks.statistics.maj import Votes


def read_votes(path: Path) -> dict[str, Votes] | None:
    """Returns the votes of each problem over its first round; None if the file holds no answers.

    Raises Failure for a damaged file. Files from before answers were stored hold none until they are graded again.
    """
    rows: dict[str, list[tuple[str | None, bool]]] = {}
    any_answer = False
    for table in read_tables(path):
        names = ("problem_id", "round", "answer", "verdict")
        for problem_id, number, answer, verdict in zip(*(table[name].to_pylist() for name in names), strict=True):
            any_answer |= answer is not None
            if number == 0:
                rows.setdefault(problem_id, []).append((answer, verdict == "correct"))
    if not any_answer:
        return None
    return {problem_id: Votes.of(*zip(*found, strict=True)) for problem_id, found in rows.items()}


def read_samples(path: Path, problem_id: str) -> Iterator[dict[str, Any]]:
    """Yields the stored rows of one problem in the order of its samples. Raises Failure for a damaged file."""
    for table in read_tables(path):
        for row in table.to_pylist():
            if row["problem_id"] == problem_id:
                yield row


@dataclass(frozen=True)
class ProblemSamples:
    """One problem of a finished evaluation, with what was drawn for it."""

    dataset: str
    problem_id: str
    n: int
    verdicts: Mapping[str, int]
    """How many of the n samples got each verdict; one that none got may be missing."""
    accuracy: float
    """The estimate of the chance that a sample is correct: c / n, or without bias where sampling could stop early."""
    prompt: str | None = None
    """The problem as the prompt template gets it; None if the task cannot be loaded here."""
    gold: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    """The stored samples that were asked for, in their order."""
