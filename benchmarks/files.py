"""Writes files all or nothing, reads them strictly, and reports a failure in one line.

`benchmarks/records/` and `benchmarks/statistics/counts.py` decide what the files contain.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure


def write_text_atomic(path: Path | str, text: str, durable: bool = True) -> None:
    """Writes `text` so that a reader sees either the old file or the new one. Raises `Failure` if it cannot.

    The text is written to a temporary file in the same folder and flushed to the disk, which then takes the name in one
    step. Missing folders are created. After a failure (disk full, no permission) the old file is as it was, and no
    temporary file is left. Without `durable` a power cut may leave an empty file, but writing is quick.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json_atomic(path: Path | str, obj: Any, durable: bool = True) -> None:
    """Writes `obj` as indented JSON with `write_text_atomic`. Raises `Failure` if `obj` is not finite JSON."""
    try:
        text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise Failure(f"cannot write {path}: {error}.") from error
    write_text_atomic(path, text, durable)


def remove_drafts(folder: Path) -> None:
    """Removes what atomic writes left half-done in the folder when their process was killed. Nobody else may write."""
    for draft in folder.glob(".*.tmp"):
        draft.unlink(missing_ok=True)


def file_sha256(path: Path | str) -> str:
    """Returns the SHA-256 of the file as 64 hex digits. Raises `Failure` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror or error}.") from error


_hashes: dict[tuple[str, int, int, int], str] = {}
_SETTLED_NS = 2 * 10**9
"""A file that changed less than this ago may change again without another time of change."""


def file_sha256_once(path: Path | str) -> str:
    """Returns `file_sha256`, and reads a large file that has not changed only once in this process.

    What is remembered belongs to the path, inode, size and time of change, and only if all of them were the same before
    and after the file was read.
    """
    before = _stamp(path)
    if before in _hashes:
        return _hashes[before]
    found = file_sha256(path)
    if _stamp(path) == before and time.time_ns() - before[-1] > _SETTLED_NS:
        _hashes[before] = found
    return found


def _stamp(path: Path | str) -> tuple[str, int, int, int]:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror or error}.") from error
    return os.path.realpath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns


def content_hash(obj: Any) -> str:
    """Returns 16 hex digits (64 bits) of the SHA-256 of `obj` as canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_text(path: Path | str) -> str:
    """Returns the text of the file. Raises `Failure` if it cannot be read or is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"cannot read {path}: not UTF-8 text.") from error
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror or error}.") from error


def loads_strict(text: str) -> Any:
    """Parses standard JSON. NaN, Infinity and repeated keys raise ValueError too."""
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError(f"the key {next(repr(k) for k, _ in pairs if [p[0] for p in pairs].count(k) > 1)} comes twice")
    return result
