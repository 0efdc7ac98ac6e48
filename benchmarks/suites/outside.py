"""What a suite says of things beside its file: where they are, and by which name they are hashed.

A suite file names tasks and verifiers of one's own, data files and model folders by a path relative to itself (or by
`package.module:Class`). A loaded suite holds whole paths, so that every process finds them. What is compared and hashed
holds neither: there, a task is called by its name and the hash of its source, data by its name and the hash of the
problems in it, and a model by the name of its folder, which are the same on every machine.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.engines.identity import is_local
from benchmarks.errors import Failure, UsageError
from benchmarks.files import content_hash
from benchmarks.outside import Found, is_file


def whole_path(reference: Any, folder: Path) -> Any:
    """Returns a reference to a file with its whole path. Anything else stays as it is."""
    if not isinstance(reference, str) or not is_file(reference):
        return reference
    return _whole(reference, folder)


def whole_data(path: Any, folder: Path) -> Any:
    """Returns a path of data as a whole path. Anything else stays as it is."""
    return _whole(path, folder) if isinstance(path, str) else path


def whole_model(model: str, folder: Path) -> str:
    """Returns the folder of a base model as a whole path. The id of a model on the hub stays as it is.

    A name such as `owner/name` is a folder if there is one beside the suite's file.
    """
    path = Path(model).expanduser()
    is_path = model.startswith(("/", ".", "~")) or len(path.parts) > 2 or (folder / path).is_dir()
    return _whole(model, folder) if is_path and not model.startswith("embedded:") else model


def _whole(path: str, folder: Path) -> str:
    """The folder need not exist, and a link at the end keeps its own name."""
    return os.path.normpath(os.path.join(os.path.realpath(folder), Path(path).expanduser()))


def called_model(model: str) -> str:
    """What a base model is called in the hash: a folder by its name. A record holds the hash of its weights."""
    return Path(model).expanduser().resolve().name if is_local(model) else model


@functools.lru_cache(maxsize=256)
def problems_digest(dataset: type[Any], asked: str) -> str:
    """Returns 16 hex digits over the problems of a dataset (as JSON), or `unreadable` where it cannot be loaded."""
    try:
        problems = dataset.model_validate_json(asked).load()
    except (UsageError, Failure, OSError):
        return "unreadable"
    return content_hash([[problem.problem_id, problem.prompt, problem.answer] for problem in problems])


def hashed(dataset: dict[str, Any], outside: Mapping[str, Found], data: Mapping[str, str]) -> dict[str, Any]:
    """Returns a dataset's keys with names and hashes in place of references to what is `outside`, and of local `data`.

    For built-in ones nothing changes: their VERSION says what they mean.
    """
    dataset = {**dataset, "settings": dataset["settings"] | dict(data)}
    called = {kind: f"{one.name}@{one.source.sha256[:16]}" for kind, one in outside.items() if one.source is not None}
    if "verifier" in called:
        dataset["settings"] = {key: value for key, value in dataset["settings"].items() if key != "verifier"}
    return {**dataset, **called}
