"""The changelog of the published records, `leaderboards/CHANGELOG.md`: what was added or replaced, and from which code.

An item of it names in backticks the folder of a suite, the cells, and the commits that they were made with.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.records.schema import Record
from leaderboards.load import Entry

PUBLISHED = Path(__file__).parent / "records"
"""The records that the changelog is about. They are there in a checkout, and not in an installed wheel."""
FILE = Path(__file__).parent / "CHANGELOG.md"
_ITEM = re.compile(r"^- .*(?:\n  .*)*", re.MULTILINE)
_NAME = re.compile(r"`([^`\n]+)`")


def is_about(entries: Sequence[Entry]) -> bool:
    """Whether all of these records are published ones."""
    return bool(entries) and all(entry.path.resolve().is_relative_to(PUBLISHED.resolve()) for entry in entries)


def missing(text: str, runs: Iterable[tuple[Path, Record]]) -> list[str]:
    """Returns the lines that the changelog lacks, because no item names a run with all commits of its record.

    `runs`: folders `<suite>/<cell>` with their records.
    """
    items = [set(_NAME.findall(item)) for item in _ITEM.findall(text)]
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for folder, record in runs:
        suite, cell, made = folder.parent.name, folder.name, commits(record)
        if not any({suite, cell, *made} <= names for names in items):
            lacking[suite, made].append(cell)
    return [line(suite, cells, made) for (suite, made), cells in lacking.items()]


def commits(record: Record) -> tuple[str, ...]:
    """The commits of the training and of the checkpoints that were evaluated later, seven digits each."""
    parts = [record.provenance, *(point.provenance for point in record.points.values())]
    return tuple(sorted({one.commit[:7] for one in parts if one is not None and one.commit}))


def line(suite: str, cells: Iterable[str], made: Iterable[str]) -> str:
    """Returns an item of the changelog."""
    named, by = (", ".join(f"`{one}`" for one in names) for names in (cells, made))
    return f"- `{suite}`: added or replaced {named}. Made by {by}."
