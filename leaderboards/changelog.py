"""The changelog of the published records, `leaderboards/CHANGELOG.md`: what was added or replaced, and from which code.

An item of it names in backticks the folder of a suite, the cells or studies, and the commits that they were made with.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.records.schema import Record, read_record
from leaderboards.load import Entry

PUBLISHED = Path(__file__).parent / "records"
"""The records that the changelog is about. They are there in a checkout, and not in an installed wheel."""
FILE = Path(__file__).parent / "CHANGELOG.md"
Named = tuple[str, str, tuple[str, ...]]
"""The folder of a suite, the name of a run or of a study, and the commits that it was made with."""
_ITEM = re.compile(r"^- .*(?:\n  .*)*", re.MULTILINE)
_NAME = re.compile(r"`([^`\n]+)`")


def is_about(entries: Sequence[Entry]) -> bool:
    """Whether all of these records are published ones."""
    return bool(entries) and all(entry.path.resolve().is_relative_to(PUBLISHED.resolve()) for entry in entries)


def of_run(folder: Path) -> Named:
    """What the changelog must name of a run in a folder `<suite>/<cell>`. Failure for a record that cannot be read."""
    return folder.parent.name, folder.name, commits(read_record(folder / "record.json"))


def of_study(folder: Path) -> Named:
    """What it must name of a study in a folder `<suite>/sweeps/<study>`."""
    return folder.parents[1].name, folder.name, ()


def missing(text: str, published: Iterable[Named]) -> list[str]:
    """Returns the items that the changelog lacks: for what none of its items names with all of its commits."""
    items = [set(_NAME.findall(item)) for item in _ITEM.findall(text)]
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for suite, name, made in published:
        if not any({suite, name, *made} <= names for names in items):
            lacking[suite, made].append(name)
    return [line(suite, names, made) for (suite, made), names in lacking.items()]


def commits(record: Record) -> tuple[str, ...]:
    """The commits of the training and of the checkpoints that were evaluated later, seven digits each."""
    parts = [record.provenance, *(point.provenance for point in record.points.values())]
    return tuple(sorted({one.commit[:7] for one in parts if one is not None and one.commit}))


def line(suite: str, names: Iterable[str], made: Sequence[str]) -> str:
    """Returns an item of the changelog."""
    named, by = (", ".join(f"`{one}`" for one in some) for some in (names, made))
    return f"- `{suite}`: added or replaced {named}.{f' Made by {by}.' if made else ''}"
