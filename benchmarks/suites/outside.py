"""What a suite says of tasks and verifiers that are not built in: where they are, and by which name they are hashed.

A suite file names them by a path relative to itself or by `package.module:Class`. A loaded suite holds whole paths, so
that every process finds them. What is compared and hashed holds neither: there, a task is called by its name and the
hash of its source, which are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.outside import Found, is_file


def whole_path(reference: Any, folder: Path) -> Any:
    """Returns a reference to a file with its whole path. Anything else stays as it is."""
    if not isinstance(reference, str) or not is_file(reference):
        return reference
    return str((folder / Path(reference).expanduser()).absolute())


def hashed(dataset: dict[str, Any], outside: Mapping[str, Found]) -> dict[str, Any]:
    """Returns a dataset's keys with names and hashes in place of references to what is `outside`.

    For built-in ones nothing changes: their VERSION says what they mean.
    """
    called = {kind: f"{one.name}@{one.source.sha256[:16]}" for kind, one in outside.items() if one.source is not None}
    if "verifier" in called:
        dataset["settings"] = {key: value for key, value in dataset["settings"].items() if key != "verifier"}
    return {**dataset, **called}
