"""Stores completions as parquet: in shards during sampling, and in one file at the end.

A shard is written completely or not at all, holds checksums, and says in its metadata which question it answers, and
what part of it. A kill therefore leaves either a valid shard or none. Nothing here holds more than one shard or one row
group in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import Failure

COMPLETIONS_SCHEMA = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("round", pa.int16(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),  # 0, 1, ... within the problem, over all rounds
        pa.field("text", pa.string(), nullable=False),  # what the verifier read
        pa.field("raw", pa.string()),  # all that the model wrote; null: the same as text
        pa.field("cut", pa.int32()),  # the position in raw, in characters, up to which it was read; null: no stop
        pa.field("special", pa.list_(pa.string())),  # the special tokens in raw, which the verifier did not see
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("answer", pa.string()),  # what the verifier extracted; null: nothing, or it cannot tell
        pa.field("chain", pa.bool_()),  # null where the task cannot say
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("finished", pa.bool_(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),  # of the chunk, or of engines that are seeded once
    ]
)
SAMPLE = "sample.parquet"
"""Beside the counts of a submission: the first completions of some problems."""
_KEY = b"rlvr_gap"
_GROUP_BYTES = 32 * 2**20
_GROUP_ROWS = 2**16
_DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Meta:
    """What a file answers."""

    question: str
    """The hash of the plan."""
    key: str
    """The key of the chunk or part, or "" for the file of a whole dataset."""
    rows: int
    seconds: float
    """The wall-clock time that it took."""
    engine: str
    """The engine with its version."""


def write_tables(path: Path, tables: Iterable[pa.Table], meta: Meta) -> None:
    """Writes the tables one after the other into one file, atomically and one row group at a time."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = COMPLETIONS_SCHEMA.with_metadata({_KEY: json.dumps(asdict(meta)).encode()})
        with open(temporary, "xb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
                for group in _groups(tables):
                    writer.write_table(group.replace_schema_metadata(schema.metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, pa.ArrowException) as error:
        raise Failure(f"cannot write {path}: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yields the same rows in tables of a row group's size."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(t.num_rows for t in waiting) >= _GROUP_ROWS or sum(t.nbytes for t in waiting) >= _GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def read_meta(path: Path) -> Meta:
    """Returns what the file says that it answers. Raises Failure for a damaged or foreign file."""
    try:
        return Meta(**json.loads(pq.read_schema(path).metadata[_KEY]))
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def read_tables(path: Path) -> Iterator[pa.Table]:
    """Yields the file's rows in order, by row group. Raises Failure for damage or fewer rows than promised."""
    rows = 0
    meta = read_meta(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                table = _with_all_columns(file.read_row_group(group)).cast(COMPLETIONS_SCHEMA)
                rows += table.num_rows
                yield table.replace_schema_metadata(None)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    if rows != meta.rows:
        raise _damaged(path, ValueError(f"{rows} rows, {meta.rows} expected"))


def _with_all_columns(table: pa.Table) -> pa.Table:
    """Adds the columns that files of earlier versions lack. These have no stops and no special tokens."""
    lacking = [field for field in COMPLETIONS_SCHEMA if field.nullable and field.name not in table.column_names]
    for field in lacking:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(COMPLETIONS_SCHEMA.names)


def _damaged(path: Path, error: Exception) -> Failure:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Failure(f"{path} is damaged or not a file of completions: {reason}")


def read_shard(path: Path, question: str, key: str) -> tuple[pa.Table, Meta]:
    """Returns the shard's rows. Raises Failure if it is damaged or does not answer this question and key."""
    meta = read_meta(path)
    if (meta.question, meta.key) != (question, key):
        raise _damaged(path, ValueError(f"it answers {meta.key} of question {meta.question}"))
    return pa.concat_tables(read_tables(path)), meta


def move_aside(path: Path, folder: Path) -> Path:
    """Moves a damaged file into `folder`, so that another can be written in its place. Nothing is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(10_000):
        target = folder / f"{path.stem}-{number}{path.suffix}"
        if not target.exists():
            os.replace(path, target)
            return target
    raise Failure(f"too many damaged files in {folder}.")


def make_table(columns: dict[str, Sequence[Any]]) -> pa.Table:
    """Returns the rows as a table of `COMPLETIONS_SCHEMA`. Replaces characters that are not valid Unicode.

    A column that may be null can be left out.
    """
    rows = len(columns["problem_id"])
    columns = {field.name: [None] * rows for field in COMPLETIONS_SCHEMA if field.nullable} | columns
    valid = {name: [_valid(text) for text in columns[name]] for name in ("text", "answer", "raw")}
    arrays = [pa.array({**columns, **valid}[f.name], type=f.type) for f in COMPLETIONS_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=COMPLETIONS_SCHEMA)


def with_column(table: pa.Table, name: str, values: Sequence[Any]) -> pa.Table:
    """Returns a table of `COMPLETIONS_SCHEMA` with other values in one column."""
    index = COMPLETIONS_SCHEMA.get_field_index(name)
    field = COMPLETIONS_SCHEMA.field(index)
    return table.set_column(index, field, pa.array(values, type=field.type))


def _valid(text: str | None) -> str | None:
    if text is None or text.isprintable():
        return text
    return text.encode("utf-8", "replace").decode()  # character by character, so that `cut` stays right
