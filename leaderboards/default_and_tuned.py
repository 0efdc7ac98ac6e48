"""Compares default and tuned settings on the datasets that are reported: does tuning change the order?

A study chooses settings on the validation split. Here stands what the chosen ones do on problems that no study has
seen. Where a study keeps the default, the tuned algorithm is the default one: nothing is trained twice. Every number
is taken from the section's own comparison, so intervals of differences hold jointly for all pairs of the section.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.statistics.comparison import Comparison, Standing
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.intervals import Estimate
from leaderboards.sections import Section
from leaderboards.tuning import Study

VARIANT = "tuned"
"""What cells of the default preset are called (`suites/preset.py`)."""


@dataclass(frozen=True)
class TunedRow:
    """One algorithm of which the study has decided."""

    algorithm: str
    kept: bool
    """Whether the study keeps the default."""
    default: Standing
    tuned: Standing | None
    """That of the default where it is kept; None where the chosen settings have no runs here."""
    difference: Estimate | None
    """gap(tuned) - gap(default): below zero, tuning is better. None where it is not known, or there is nothing to
    compare."""


@dataclass(frozen=True)
class DefaultAndTuned:
    """The algorithms of one section that were tuned, by one verdict."""

    section: Section
    verdict: JudgedBy
    rows: tuple[TunedRow, ...]
    """By the gap of the default settings, smallest first."""
    is_whole: bool
    """Whether the tuned settings of all rows are known here, so that the two orders can be compared."""
    swapped: tuple[tuple[str, str], ...]
    """Pairs of which the first is ahead with default settings and the second with tuned ones, by the mean gap."""
    beyond_doubt: tuple[tuple[str, str], ...]
    """Those of them that differ beyond doubt, with default settings or with tuned ones."""

    @property
    def answer(self) -> str:
        """Whether tuning changes the order, in a sentence."""
        if not self.is_whole:
            return "Not all tuned settings have runs here, so the orders are not compared."
        if all(row.kept for row in self.rows):
            return "Tuning does not change the order: the default stays for every algorithm."
        if not self.swapped:
            return "Tuning does not change the order of the mean gaps."
        pairs = ", ".join(f"{one} and {other}" for one, other in self.swapped)
        doubt = "No such pair differs beyond doubt with either settings."
        if self.beyond_doubt:
            sure = ", ".join(f"{one} and {other}" for one, other in self.beyond_doubt)
            doubt = f"With one of the two settings these differ beyond doubt: {sure}."
        return f"Tuning swaps the mean gaps of {pairs}. {doubt}"


def default_and_tuned(sections: Iterable[Section], studies: Sequence[Study]) -> list[DefaultAndTuned]:
    """One table for each section and verdict in which at least one algorithm was tuned."""
    found = []
    for section in sections:
        kept = _kept(section, studies)
        for verdict, comparison in section.comparisons.items():
            if rows := _rows(comparison, kept):
                found.append(_compared(section, verdict, comparison, rows))
    return found


def _kept(section: Section, studies: Sequence[Study]) -> dict[str, bool]:
    """Algorithm -> whether the default stays, of the suite's studies that have decided. The last name counts."""
    summaries = [one.summary for one in studies if one.summary.suite_hash == section.key.suite_hash]
    return {one.algorithm: one.best is None for one in summaries if one.decided}


def _rows(comparison: Comparison, kept: dict[str, bool]) -> list[TunedRow]:
    standings = {one.name: one for one in comparison.standings}
    rows = []
    for name, stays in kept.items():
        if (default := standings.get(name)) is None:
            continue
        tuned = default if stays else standings.get(_tuned(name))
        difference = None if stays else _difference(comparison, _tuned(name), name)
        rows.append(TunedRow(name, stays, default, tuned, difference))
    return sorted(rows, key=lambda row: (-row.default.pass_at_1.value, row.algorithm))


def _tuned(algorithm: str) -> str:
    return f"{algorithm} ({VARIANT})"


def _difference(comparison: Comparison, name: str, other: str) -> Estimate | None:
    if name not in comparison.placed or other not in comparison.placed:
        return None
    return comparison.gap_MM[comparison.placed.index(name)][comparison.placed.index(other)]


def _compared(section: Section, verdict: JudgedBy, comparison: Comparison, rows: Sequence[TunedRow]) -> DefaultAndTuned:
    def differ(one: str, other: str) -> bool:
        difference = _difference(comparison, one, other)
        return difference is not None and difference.excludes_zero

    def in_effect(row: TunedRow) -> str:
        return row.algorithm if row.kept else _tuned(row.algorithm)

    is_whole = all(row.tuned is not None for row in rows)
    swapped, sure = [], []
    for first, second in itertools.combinations(rows, 2) if is_whole else ():
        assert first.tuned is not None and second.tuned is not None, "all are known"
        if first.tuned.pass_at_1.value < second.tuned.pass_at_1.value:
            swapped.append((first.algorithm, second.algorithm))
            if differ(first.algorithm, second.algorithm) or differ(in_effect(first), in_effect(second)):
                sure.append(swapped[-1])
    return DefaultAndTuned(section, verdict, tuple(rows), is_whole, tuple(swapped), tuple(sure))
