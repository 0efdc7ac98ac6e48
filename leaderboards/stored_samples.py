"""The completions that a submission keeps: a few of some problems, in `sample.parquet` beside the counts.

Their text is a model's. Pages escape it, and show characters that a reader cannot see as `samples.visible` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import Failure
from benchmarks.evaluation.completions import SAMPLE, read_tables
from benchmarks.records.schema import BASE
from leaderboards.load import Broken, plain
from leaderboards.samples import visible
from leaderboards.sections import CellRow, Section

_COLUMNS = ("problem_id", "sample", "text", "verdict", "answer", "chain", "tokens", "finished")


@dataclass(frozen=True)
class Sample:
    """One stored completion."""

    number: int
    """Of the samples of its problem, from 0."""
    text: str
    verdict: str
    answer: str | None
    chain: bool | None
    """Whether its steps are sound; None where that is not known."""
    tokens: int
    finished: bool


@dataclass(frozen=True)
class Samples:
    """The completions of one run on one dataset."""

    row: CellRow
    by_problem: Mapping[str, Sequence[Sample]]


def section_samples(section: Section, broken: list[Broken]) -> dict[str, Samples]:
    """Label -> the completions of the base, or of the algorithm's first seed that has some stored.

    Files that cannot be read are added to `broken`.
    """
    groups = {**({BASE: [section.base]} if section.base else {}), **section.groups}
    found = {}
    for label, rows in groups.items():
        for row in rows:
            if samples := _read(row, broken):
                found[label] = Samples(row, samples)
                break
    return found


def _read(row: CellRow, broken: list[Broken]) -> dict[str, list[Sample]]:
    if row.counts is None:  # its path was not checked either
        return {}
    path = (row.entry.path.parent / row.evaluation.counts.path).with_name(SAMPLE)
    if not path.is_file():
        return {}
    try:
        return _parse(path)
    except Failure as error:
        broken.append(Broken(row.entry.where, f"stored completions of {row.dataset}: {plain(error, path.parent)}"))
        return {}


def _parse(path: Path) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for table in read_tables(path):
        columns = [table[name].to_pylist() for name in _COLUMNS]
        for problem_id, number, text, verdict, answer, chain, tokens, finished in zip(*columns, strict=True):
            sample = Sample(number, visible(text), verdict, answer and visible(answer), chain, tokens, finished)
            found.setdefault(problem_id, []).append(sample)
    return {name: sorted(samples, key=lambda one: one.number) for name, samples in found.items()}


def cut(text: str, most: int) -> str:
    """Returns the beginning of a long text, and says how much is left out."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
