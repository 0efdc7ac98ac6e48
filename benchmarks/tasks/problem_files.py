"""Turns rows of a file into problems: it reads JSONL and parquet, derives stable ids, and reports what is odd.

It is shared by the tasks whose problems come from data (`math_sets`, `jsonl`), not by those that generate them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure, unknown
from benchmarks.tasks.base import Problem

FileRow = Mapping[str, Any]
SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Report:
    """Where the problems of a split came from, and what was odd about them."""

    source: str
    """A file, a folder, or a dataset on the hub."""
    revision: str | None
    """The hub's resolved commit, or None for local files and when the hub could not be asked."""
    rows: int
    problems: int
    duplicates: tuple[str, ...]
    """The first ids of the problems whose text occurs more than once, apart from white space."""
    empty: tuple[int, ...]
    """Rows (counted from 0) that were left out because they lack a problem or an answer."""
    sha256: str
    """Hash over ids and answers in order. Two sources with the same hash hold the same problems."""

    def __str__(self) -> str:
        """Returns one line for the log."""
        odd = f"{len(self.duplicates)} duplicated problems, {len(self.empty)} rows without a problem or an answer"
        return f"{self.problems} problems from {self.rows} rows of {self.source} ({odd})"


def read_file(path: Path) -> list[FileRow]:
    """Returns the rows of a .jsonl or .parquet file. Raises a `Failure` that names an unreadable line."""
    if path.suffix == ".parquet":
        return _read_parquet(path)
    try:
        with path.open(encoding="utf-8") as lines:
            return [_parse_line(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: cannot be read as JSONL ({error})") from error


def _parse_line(path: Path, number: int, line: str) -> FileRow:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Failure(f"{path}:{number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise Failure(f"{path}:{number}: a JSON object was expected, not {type(row).__name__}")
    return row


def _read_parquet(path: Path) -> list[FileRow]:
    from pyarrow import ArrowException, parquet

    try:
        rows: list[FileRow] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise Failure(f"{path}: cannot be read as parquet ({error})") from error
    return rows


def pick_column(rows: Sequence[FileRow], wanted: Sequence[str], where: str) -> str:
    """Returns the first of `wanted` that the first row has. If there is none, UsageError names the nearest column."""
    columns = rows[0].keys() if rows else wanted
    for name in wanted:
        if name in columns:
            return name
    raise unknown(f"column of {where}", wanted[0], columns)


def as_text(value: Any) -> str:
    """Returns a cell as stripped text: 204.0 is "204", several answers are joined by commas, and nothing is ""."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(as_text(item) for item in value)
    return str(value).strip()


def content_id(text: str) -> str:
    """Returns 16 hex digits from the SHA-256 of the text, whose white space is collapsed first."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]


def build(
    entries: Sequence[tuple[str, str, Mapping[str, Any]]],
    *,
    source: str,
    revision: str | None = None,
    ids: Sequence[str] | None = None,
    keep_duplicates: bool = False,
) -> tuple[list[Problem], Report]:
    """Builds problems from (problem, answer, data) entries and reports on them.

    `ids` are the problem ids. If they are None, ids come from the content, and the n-th copy of a text ends in "-n"
    (from 2). Entries without a problem or an answer are left out. Of a duplicated problem the first copy stays, or all
    of them with `keep_duplicates`.
    """
    empty = frozenset(i for i, (text, answer, _) in enumerate(entries) if not text or not answer)
    copies: dict[str, list[str]] = {}  # content -> the ids of its copies, in order
    problems = []
    for i, (text, answer, data) in enumerate(entries):
        if i in empty:
            continue
        key = content_id(text)
        known = copies.setdefault(key, [])
        known.append(ids[i] if ids is not None else f"{key}-{len(known) + 1}" if known else key)
        if len(known) == 1 or keep_duplicates:
            problems.append(Problem(known[-1], text, answer, data))
    duplicates = tuple(known[0] for known in copies.values() if len(known) > 1)
    report = Report(source, revision, len(entries), len(problems), duplicates, tuple(sorted(empty)), _digest(problems))
    return problems, report


def _digest(problems: Sequence[Problem]) -> str:
    return hashlib.sha256(json.dumps([(p.problem_id, p.answer) for p in problems]).encode()).hexdigest()


def data_files(folder: Path) -> Iterator[str]:
    """Yields the names of what can be loaded from a folder, for error messages."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.suffix in SUFFIXES:
            yield path.name
