"""Writes runs as one table for a spreadsheet or a notebook: `rlvr-gap export RUNS --to FILE.csv|FILE.parquet`.

The levels are the tables of `frames.py`, with the same columns as in Python (`rlvr_gap.load(RUNS).cells()`). What is in
none of them, such as all settings, stays in the records.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import Failure, UsageError, unknown
from leaderboards import frames
from leaderboards.completion_tables import completions
from leaderboards.load import Broken, Entry, load
from leaderboards.sections import make_sections

SUFFIXES = (".csv", ".parquet")


@dataclass
class Exported:
    """The outcome of an export."""

    rows: int = 0
    left_out: list[str] = field(default_factory=list)
    """Records that cannot be used, and cells that have nothing for this level, each with the reason."""


def export(runs: Path, to: Path, level: str = "cells") -> Exported:
    """Writes the table of all records under `runs` atomically.

    Raises UsageError for an unknown level or suffix, or if there is no record. Raises Failure for counts or completions
    that are damaged or not their record's, or if the disk is full. An old file then stays.
    """
    if level not in LEVELS:
        raise unknown("level", level, LEVELS)
    if to.suffix not in SUFFIXES:
        raise UsageError(f"--to {to}: expected a file that ends in {' or '.join(SUFFIXES)}.")
    entries, broken = load([runs])
    done = Exported(left_out=[str(one) for one in broken])
    _write(to, LEVELS[level](sorted(entries, key=lambda entry: str(entry.path)), done), done)
    return done


# ------------------------------------------------------------------------------------------------ levels


def _of_sections(make: Callable[..., pd.DataFrame]) -> Callable[[Sequence[Entry], Exported], Iterator[pd.DataFrame]]:
    def found(entries: Sequence[Entry], done: Exported) -> Iterator[pd.DataFrame]:
        broken: list[Broken] = []
        sections = make_sections(entries, broken)
        done.left_out += [str(one) for one in broken]
        yield make(sections)

    return found


def _cells(entries: Sequence[Entry], done: Exported) -> Iterator[pd.DataFrame]:
    yield from _of_sections(lambda sections: frames.cells(sections, entries))(entries, done)


def _completions(entries: Sequence[Entry], done: Exported) -> Iterator[pd.DataFrame]:
    yield from completions(entries, say=done.left_out.append)


LEVELS: dict[str, Callable[[Sequence[Entry], Exported], Iterator[pd.DataFrame]]] = {
    "table": _of_sections(frames.table),
    "cells": _cells,
    "curves": _of_sections(frames.curves),
    "points": _of_sections(frames.points),
    "equal-tokens": _of_sections(frames.equal_tokens),
    "log": lambda entries, done: iter([frames.log(entries)]),
    "problems": lambda entries, done: iter([frames.problems(entries)]),
    "completions": _completions,
}
"""Level -> what makes its table, in one or more parts."""


# ------------------------------------------------------------------------------------------------ files


def _write(to: Path, tables: Iterator[pd.DataFrame], done: Exported) -> None:
    """Writes all tables to one file, under another name until it is complete. UsageError if there is no row."""
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    write = _write_csv if to.suffix == ".csv" else _write_parquet
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        done.rows = write(temporary, tables)
        if not done.rows:
            why = done.left_out or ["no record has an evaluation"]
            raise UsageError(f"there is nothing to export: {why[0]}.")
        os.replace(temporary, to)
    except (OSError, pa.ArrowException) as error:
        raise Failure(f"cannot write {to}: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_csv(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    rows = 0
    with open(path, "x", encoding="utf-8", newline="") as file:
        for table in tables:
            table.to_csv(file, index=False, header=not rows, lineterminator="\n")
            rows += len(table)
    return rows


def _write_parquet(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    """The first table says what the columns are."""
    rows = 0
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "xb"))
        writer = None
        for table in tables:
            schema = None if writer is None else writer.schema
            part = pa.Table.from_pandas(table, schema, preserve_index=False)
            writer = writer or stack.enter_context(pq.ParquetWriter(file, part.schema, compression="zstd"))
            writer.write_table(part)
            rows += len(table)
    return rows
