"""Groups records into sections, in which everything may be compared, and decides which runs count.

Records that must not be compared never share a section; `summary.Key` says what they must have in common. The page
(`build.py`) shows sections, and `frames.py` makes tables of them. Numbers are computed when they are first asked for.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from benchmarks.errors import Failure
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import BASE
from benchmarks.statistics.comparison import Comparison
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import VERDICTS, JudgedBy
from benchmarks.statistics.gap import Gap, cover_samples
from leaderboards import measure, summary
from leaderboards.by_problem import ByProblem, by_problem
from leaderboards.load import Broken, Entry, Keeps, counts_of, plain
from leaderboards.style import colours_of
from leaderboards.summary import Key

Status = Literal["base", "counts", "invalid", "superseded"]


@dataclass
class CellRow:
    """One cell on one dataset."""

    entry: Entry
    dataset: str
    evaluation: EvaluationRecord
    counts: Counts | None
    """None if they are missing or do not belong to the record; `notes` say why."""
    status: Status
    notes: list[str] = field(default_factory=list)
    base: Counts | None = None
    """What the gaps are measured from; None where there is no gap."""

    @functools.cached_property
    def gaps(self) -> dict[JudgedBy, Gap]:
        """By verdict, computed from this row's counts and the base's; empty where that is not possible."""
        return _gaps([(self.base, self.counts, _said(self, self.dataset))])[0]

    @property
    def remarks(self) -> list[str]:
        """All that a reader must know of this row."""
        return self.notes + (summary.remarks(self.gap) if self.gap else [])

    @property
    def gap(self) -> Gap | None:
        """By the answer."""
        return self.gaps.get("answer")

    @property
    def label(self) -> str:
        """The algorithm and its variant."""
        return summary.label(self.entry.record.cell)

    @property
    def order(self) -> tuple[str, int, str]:
        """Sort key: by name and seed. Single runs have no places."""
        seed = self.entry.record.cell.seed
        return (self.label, -1 if seed is None else seed, self.entry.sha256)


@dataclass(frozen=True)
class Section(Keeps):
    """The rows that may be compared with each other: one suite and one dataset."""

    number: int
    key: Key
    rows: list[CellRow]
    """The base, then the runs that count, then those that do not."""
    apart: list[str]
    """Reasons why this section is kept apart from others."""
    base: CellRow | None
    """What the gaps are measured from."""
    groups: Mapping[str, list[CellRow]]
    """The runs that count, by algorithm."""
    colours: Mapping[str, int]
    """The number of every algorithm of the page (`style.colours_of`)."""
    first: int
    """The number of the first section of the same runs, which shows what belongs to no dataset."""
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """What other modules have computed of the section (`once`)."""

    @functools.cached_property
    def comparisons(self) -> Mapping[JudgedBy, Comparison]:
        """By verdict: the algorithms over their seeds."""
        return _compare(self.key, self.base, self.groups)

    @functools.cached_property
    def estimates(self) -> Mapping[JudgedBy, ByProblem]:
        """By verdict: pass@1 and pass@k of every model on each problem; the base has the label `base`."""
        groups = {BASE: [self.base] if self.base else [], **self.groups}
        seeds = {label: known(rows) for label, rows in groups.items()}
        found = {verdict: by_problem(seeds, self.k, verdict) for verdict in VERDICTS}
        return {verdict: one for verdict, one in found.items() if one is not None}

    @property
    def cover_samples(self) -> int | None:
        """How many samples Cover@tau looks at; None where there are no counts."""
        sides = known([*([self.base] if self.base else []), *self.counting])
        return cover_samples(*sides) if sides else None

    @property
    def k(self) -> int:
        """The k of the gaps, or the largest known k if there is only a base."""
        return self.key.k or max(self.rows[0].evaluation.pass_at_k)

    @property
    def counting(self) -> list[CellRow]:
        """The runs that count."""
        return [row for row in self.rows if row.status == "counts"]


def make_sections(
    entries: Sequence[Entry], broken: list[Broken], colours: Mapping[str, int] | None = None
) -> list[Section]:
    """Makes one section per group of comparable rows, by suite and dataset, and adds unusable counts to `broken`.

    `colours`: the number of each algorithm, where more of them are known than these records have.
    """
    rows: dict[Key, list[CellRow]] = defaultdict(list)
    bases: dict[Key, list[CellRow]] = defaultdict(list)
    for entry in entries:
        for dataset, evaluation in entry.record.evaluations.items():
            row = _row(entry, dataset, evaluation, broken)
            (bases if row.status == "base" else rows)[summary.key(entry.record, dataset)].append(row)
    with_trained = {key.for_base() for key in rows}
    rows |= {key: [] for key in bases if key not in with_trained}
    suites = {entry.record.suite.hash: entry.record.suite.name for entry in entries}
    order = {(e.record.suite.hash, d): place for e in entries for place, d in enumerate(e.record.evaluations)}
    keys = sorted(rows, key=lambda key: (suites[key.suite_hash], key[0], order[key.suite_hash, key.dataset], repr(key)))
    colours = colours or colours_of(row.label for section in rows.values() for row in section)
    sections: list[Section] = []
    for number, key in enumerate(keys, start=1):
        same = [one.first for one in sections if one.key.of_runs() == key.of_runs()]
        made = _section(number, key, rows[key], bases.get(key.for_base(), []), colours, broken)
        apart = _apart(key, keys[: number - 1], suites)
        sections.append(replace(made, apart=apart, first=same[0] if same else number))
    return sections


def _row(entry: Entry, dataset: str, evaluation: EvaluationRecord, broken: list[Broken]) -> CellRow:
    row = CellRow(entry, dataset, evaluation, None, "counts")
    try:
        row.counts = counts_of(entry, evaluation)
    except Failure as error:
        broken.append(Broken(entry.where, f"counts of {dataset}: {plain(error, entry.path.parent)}"))
        _drop(row, "its counts cannot be used")
    if why := summary.invalid(evaluation):
        _drop(row, why)
    if entry.record.cell.algorithm == BASE:
        row.status = "base"
    elif dataset not in (entry.record.gap or {}):
        _drop(row, "its record has no gap for this dataset")
    return row


def _drop(row: CellRow, why: str) -> None:
    """Takes the row out of the comparison, and says why. A base stays a base."""
    row.notes.append(why)
    row.status = "base" if row.status == "base" else "invalid"


def _apart(key: Key, before: Sequence[Key], suites: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each earlier section that a reader could mistake for this one."""
    return [
        f"Kept apart from section {number}: {summary.why_apart(key, other)}."
        for number, other in enumerate(before, start=1)
        if other.dataset == key.dataset and suites[other.suite_hash] == suites[key.suite_hash]
    ]


def _section(
    number: int,
    key: Key,
    trained: list[CellRow],
    bases: list[CellRow],
    colours: Mapping[str, int],
    broken: list[Broken],
) -> Section:
    bases = sorted(bases, key=lambda row: (not row.evaluation.valid, row.counts is None, row.entry.sha256))
    base = _measure(key.dataset, trained, bases, broken)
    _judge(trained, base)
    trained = sorted(trained, key=lambda row: row.order)
    counting = [row for row in trained if row.status == "counts"]
    groups: dict[str, list[CellRow]] = {label: [] for label in sorted(row.label for row in counting)}
    for row in counting:
        groups[row.label].append(row)
    return Section(
        number=number,
        key=key,
        rows=[*bases, *counting, *(row for row in trained if row.status != "counts")],
        apart=[],
        base=base,
        groups=groups,
        colours=colours,
        first=number,
    )


def _measure(
    dataset: str, trained: Sequence[CellRow], bases: Sequence[CellRow], broken: list[Broken]
) -> CellRow | None:
    """Computes the gaps of all runs, and returns the base that they are measured from.

    That is the first base whose counts give the gap that a record says, or else the first one with counts.
    """
    known = [base for base in bases if base.counts]
    base = next((base for base in known for row in trained if _is_measured_from(base, row, dataset)), None)
    base = base or (known[0] if known else bases[0] if bases else None)
    for row in trained:
        if row.counts is None:
            continue
        if base is None or base.counts is None:
            _drop(row, "the counts of the base are not among the files, so there is no gap")
            continue
        _measure_row(row, base.counts, dataset, broken)
    return base


def _said(row: CellRow, dataset: str) -> dict[JudgedBy, Gap]:
    """What the record says of its gaps."""
    record = row.entry.record
    found: dict[JudgedBy, dict[str, Gap] | None] = {"answer": record.gap, "sound": record.sound_gap}
    return {verdict: gaps[dataset] for verdict, gaps in found.items() if gaps and dataset in gaps}


def _is_measured_from(base: CellRow, row: CellRow, dataset: str) -> bool:
    said = _said(row, dataset).get("answer")
    return bool(base.counts and row.counts and said and not measure.disagreement(base.counts, row.counts, said))


def _measure_row(row: CellRow, base: Counts, dataset: str, broken: list[Broken]) -> None:
    """Lets the row's gaps be computed. A record that says something else is broken."""
    assert row.counts is not None, "the caller looked"
    for verdict, said in _said(row, dataset).items():
        try:
            measure.check(base, row.counts, said, verdict)
        except Failure as error:
            name = "gap" if verdict == "answer" else "sound gap"
            broken.append(Broken(row.entry.where, f"{name} of {dataset}: {error}"))
            _drop(row, f"its {name} is not the one that the counts give")
            return
    row.base = base


def _judge(trained: Sequence[CellRow], base: CellRow | None) -> None:
    """Decides which runs count. The base must be valid, and only the latest run of each cell counts."""
    latest: dict[tuple[str, int | None], CellRow] = {}
    for row in sorted(trained, key=_finished):
        cell = row.entry.record.cell
        if base and not base.evaluation.valid and row.status == "counts":
            _drop(row, f"the base is {summary.invalid(base.evaluation)}")
        if row.status == "counts":
            if older := latest.get((row.label, cell.seed)):
                older.status = "superseded"
                older.notes.append(f"a later run of the same cell counts ({row.entry.sha256[:12]})")
            latest[row.label, cell.seed] = row


def _finished(row: CellRow) -> tuple[float, str]:
    finished = row.entry.record.provenance.finished
    return (finished.timestamp() if finished else 0.0, row.entry.sha256)


def measure_all(sections: Sequence[Section], pool: Executor) -> None:
    """Computes what takes long ahead of time and on all cores: the gaps of all rows, which are the same without it."""
    rows = [row for section in sections for row in section.rows]
    parts = [rows[i : i + _ROWS_AT_ONCE] for i in range(0, len(rows), _ROWS_AT_ONCE)]
    asked = [[(row.base, row.counts, _said(row, row.dataset)) for row in part] for part in parts]
    for part, found in zip(parts, pool.map(_gaps, asked), strict=True):
        for row, gaps in zip(part, found, strict=True):
            row.gaps = gaps


_ROWS_AT_ONCE = 8
"""Rows that one process measures together: they mostly share a base, of which much is computed once."""
_Sides = tuple[Counts | None, Counts | None, Mapping[JudgedBy, Gap]]


def _gaps(asked: Sequence[_Sides]) -> list[dict[JudgedBy, Gap]]:
    """The gaps of rows: of base, counts, and what the record says."""
    return [
        {verdict: measure.gap_of(base, counts, gap, verdict) for verdict, gap in said.items()}
        if base and counts
        else {}
        for base, counts, said in asked
    ]


def known(rows: Iterable[CellRow]) -> list[Counts]:
    """Returns the counts of those rows that have some."""
    return [row.counts for row in rows if row.counts]


def _compare(key: Key, base: CellRow | None, groups: Mapping[str, Sequence[CellRow]]) -> dict[JudgedBy, Comparison]:
    """Compares the algorithms by every verdict that is known of all of them."""
    seeds = {label: known(rows) for label, rows in groups.items()}
    found = {
        verdict: measure.comparison(base.counts if base else None, seeds, key.k, key.confidence or 0.95, verdict)
        for verdict in VERDICTS
    }
    return {verdict: comparison for verdict, comparison in found.items() if comparison}
