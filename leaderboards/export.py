"""Writes records as one table for a spreadsheet or a notebook: `rlvr-gap export RUNS --to FILE.csv|FILE.parquet`.

    cells          a row per cell and dataset, with every number of the record; nested keys are joined by `_`
    problems       a row per problem: its counts, and the estimate of pass@k under their design
    completions    a row per stored completion, with text and verdict

Settings stay in the records, because they are not numbers and differ between algorithms.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation import completions
from benchmarks.files import file_sha256
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import Record
from benchmarks.statistics.counts import NOT_CORRECT, SOUND
from leaderboards.load import Entry, load
from leaderboards.summary import cell_name

LEVELS = ("cells", "problems", "completions")
SUFFIXES = (".csv", ".parquet")


@dataclass
class Exported:
    """The outcome of an export."""

    rows: int = 0
    left_out: list[str] = field(default_factory=list)
    """Records that cannot be read, and cells that have nothing for this level, each with the reason."""


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
    tables = _TABLES[level](sorted(entries, key=lambda entry: str(entry.path)), done)
    _write(to, tables, done)
    return done


# ------------------------------------------------------------------------------------------------ rows


def _cells(entries: Sequence[Entry], done: Exported) -> Iterator[pa.Table]:
    found = [(entry.record, dataset) for entry in entries for dataset in entry.record.evaluations]
    rows = [_numbers(*one) for one in found]
    columns = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: _array([row.get(name) for row in rows]) for name in columns})
    if rows:
        yield _named(table, [_names(*one) for one in found])


def _array(values: Sequence[Any]) -> pa.Array:
    """Returns the values as one type. Mixed types become text, such as versions that are numbers or names."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])


def _problems(entries: Sequence[Entry], done: Exported) -> Iterator[pa.Table]:
    found = [(entry, dataset) for entry in entries for dataset in entry.record.evaluations]
    if found:
        yield pa.concat_tables([_of_problems(*one) for one in found], promote_options="default")


def _of_problems(entry: Entry, dataset: str) -> pa.Table:
    evaluation = entry.record.evaluations[dataset]
    counts = read_evaluated(evaluation, entry.path.parent)
    verdicts = {name: counts.verdicts(name) for name in (SOUND, *NOT_CORRECT)}
    ks = sorted(evaluation.pass_at_k)
    sound = {f"sound_pass_at_{k}": counts.judged_by("sound").pass_at_k(k) for k in ks} if counts.has_sound else {}
    columns = {
        "problem_id": list(counts.problem_ids),
        "n": counts.n_N,
        "correct": counts.c_N,
        **{name: column for name, column in verdicts.items() if column is not None},
        **{f"pass_at_{k}": counts.pass_at_k(k) for k in ks},
        **sound,
    }
    return _named(pa.table(columns), [_names(entry.record, dataset)] * len(counts.problem_ids))


def _completions(entries: Sequence[Entry], done: Exported) -> Iterator[pa.Table]:
    """Yields one row group at a time, because there can be more of them than memory holds."""
    for entry in entries:
        for dataset, evaluation in entry.record.evaluations.items():
            names = _names(entry.record, dataset)
            file = evaluation.completions_file
            if file is None or not (entry.path.parent / file.path).is_file():
                done.left_out.append(f"{entry.where}: no completions of '{dataset}' are stored")
                continue
            if file_sha256(entry.path.parent / file.path) != file.sha256:
                raise Failure(f"{entry.where}: the completions of '{dataset}' are not those of their record.")
            for table in completions.read_tables(entry.path.parent / file.path):
                yield _named(table, [names] * table.num_rows)


def _named(table: pa.Table, names: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Returns the table with the names of each row before its own columns."""
    for place, name in enumerate(names[0] if names else ()):
        kind = pa.int64() if name == "seed" else pa.string()
        column = pa.array([row[name] for row in names], type=kind)
        taken = name in table.column_names  # a completion has a seed of its own
        table = table.add_column(place, pa.field(f"cell_{name}" if taken else name, kind), column)
    return table


_TABLES: dict[str, Callable[[Sequence[Entry], Exported], Iterator[pa.Table]]] = {
    "cells": _cells,
    "problems": _problems,
    "completions": _completions,
}


def _names(record: Record, dataset: str) -> dict[str, Any]:
    """Returns the columns that identify a row."""
    cell = record.cell
    return {
        "suite": record.suite.name, "suite_hash": record.suite.hash, "cell": cell_name(cell),
        "algorithm": cell.algorithm, "seed": cell.seed, "variant": cell.variant, "dataset": dataset,
    }  # fmt: skip


def _numbers(record: Record, dataset: str) -> dict[str, Any]:
    data = record.to_json()
    gap, sound_gap = (dict((data[name] or {}).get(dataset) or {}) for name in ("gap", "sound_gap"))
    return {
        "base_model": record.cell.base_model,
        "base_hash": record.cell.base_hash,
        **_flat(data["evaluations"][dataset]),
        **({"gap": gap.pop("gap"), **_flat(gap, "gap")} if gap else {}),
        **({"sound_gap": sound_gap.pop("gap"), **_flat(sound_gap, "sound_gap")} if sound_gap else {}),
        **_flat(data["training"] or {}, "training"),
        **_flat(data["provenance"], "provenance"),
        **_flat(data["imported"] or {}, "imported"),
    }


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins nested keys with `_` and writes a list as JSON."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{prefix}_{key}" if prefix else key
        if isinstance(value, Mapping):
            found |= _flat(value, name)
        else:
            found[name] = json.dumps(value) if isinstance(value, list) else value
    return found


# ------------------------------------------------------------------------------------------------ files


def _write(to: Path, tables: Iterator[pa.Table], done: Exported) -> None:
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


def _write_csv(path: Path, tables: Iterator[pa.Table]) -> int:
    rows = 0
    with open(path, "x", encoding="utf-8", newline="") as file:
        for table in tables:
            frame = table.to_pandas(types_mapper=_nullable, integer_object_nulls=True)
            frame.to_csv(file, index=False, header=not rows, lineterminator="\n")
            rows += table.num_rows
    return rows


def _nullable(kind: pa.DataType) -> Any:
    """Keeps whole numbers and truth values that can be missing, which pandas would make fractions and objects."""
    known = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.int16(): pd.Int16Dtype()}
    return {**known, pa.bool_(): pd.BooleanDtype()}.get(kind)


def _write_parquet(path: Path, tables: Iterator[pa.Table]) -> int:
    rows = 0
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "xb"))
        writer = None
        for table in tables:
            writer = writer or stack.enter_context(pq.ParquetWriter(file, table.schema, compression="zstd"))
            writer.write_table(table)
            rows += table.num_rows
    return rows
