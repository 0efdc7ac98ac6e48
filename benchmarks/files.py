"""How files are written and read here: all or nothing on write, strict on read, one line for the user when it fails.

What is in them is the business of `benchmarks/records/` and `benchmarks/statistics/counts.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure


def write_text_atomic(path: Path | str, text: str) -> None:
    """Writes `text` so that a reader sees the old file or the new one, never a part. Not possible: `Failure`.

    The text goes to a temporary file in the same folder, to the disk, and then takes the name in one step. Folders
    that lack are made. A failure (no space, no right) leaves the old file as it was and no temporary file.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json_atomic(path: Path | str, obj: Any) -> None:
    """`write_text_atomic` of `obj` as indented JSON. Not JSON, or not finite: `Failure`, and nothing is written."""
    try:
        text = json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise Failure(f"cannot write {path}: {error}.") from error
    write_text_atomic(path, text)


def file_sha256(path: Path | str) -> str:
    """SHA-256 of the file, 64 hex digits. Not readable: `Failure`."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror or error}.") from error


def content_hash(obj: Any) -> str:
    """First 16 hex digits (64 bits) of the SHA-256 of `obj` as canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_text(path: Path | str) -> str:
    """The text of the file. Not readable, not UTF-8: `Failure`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"cannot read {path}: not UTF-8 text.") from error
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror or error}.") from error


def loads_strict(text: str) -> Any:
    """JSON as the standard has it: NaN, Infinity and a key that comes twice are ValueErrors too."""
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError(f"the key {next(repr(k) for k, _ in pairs if [p[0] for p in pairs].count(k) > 1)} comes twice")
    return result
