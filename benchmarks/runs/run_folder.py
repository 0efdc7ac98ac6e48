"""The folder of a run: the names of its files, what it was asked for, and whether it is done.

runs/<suite>/<run>/    spec.json first, then train/, eval/<dataset>/, and record.json last
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.engines import AUTO
from benchmarks.errors import Failure
from benchmarks.files import content_hash, loads_strict, read_text, write_json_atomic
from benchmarks.progress import Progress
from benchmarks.records.schema import BASE, Record, read_record
from benchmarks.runs.machines import Machines

SPEC, RECORD, TRAIN, EVAL = "spec.json", "record.json", "train", "eval"
SOURCE = "source"
"""The key of a spec that holds the hashes of the code that decides the cell's numbers, by file."""
FRESH = "start the cell afresh with bench --fresh"
REPLACED = ".replaced"
"""What `--fresh` moves a cell's files to, beside the cells."""
POINTS = "points"
"""Holds an evaluation for each training step that the suite names: points/step-150/eval/<dataset>."""


@dataclass(frozen=True)
class Place:
    """Where runs go and what they run on. Nothing here is part of the question."""

    out: Path = Path("runs")
    engine: str = AUTO
    workers: int | None = None
    processes: int = 1
    """The number of training processes on each machine."""
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))
    machines: Machines = field(default_factory=Machines)
    home: Path | None = None
    """The folder of the suite's runs; null until it is settled (home.py)."""
    report_to: tuple[str, ...] = ()
    """The trackers that follow a training (trackers.py)."""

    @property
    def world(self) -> int:
        """The number of training processes on all machines."""
        return self.machines.count * self.processes


def read_done(folder: Path, spec_hash: str | None = None) -> Record | None:
    """Returns the record of a finished cell, or None. Raises Failure if it is damaged or of another spec."""
    path = folder / RECORD
    if not path.exists():
        return None
    record = read_record(path)
    if spec_hash is not None and record.spec_hash != spec_hash:
        raise Failure(f"{path} is of another spec than {folder / SPEC}: remove the folder, or choose another OUT.")
    return record


def is_begun(folder: Path) -> bool:
    """Whether the folder holds any result of its spec. A spec alone is of a command that failed at once."""
    return (folder / SPEC).exists() and any((folder / name).exists() for name in (TRAIN, EVAL, POINTS, RECORD))


def replace_run(folder: Path) -> Path | None:
    """Moves what the folder holds out of the way and returns where it is now, or None if there was nothing."""
    found = [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
    if not found:
        return None
    target = folder.parent / REPLACED / f"{folder.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    target.mkdir(parents=True)
    for path in sorted(found, key=lambda path: path.name != RECORD):  # without its record, a cell is not done
        path.rename(target / path.name)
    return target


def base_of(folder: Path, variant: str | None) -> Path:
    """The folder of the base of a run. A variant that does not only train in another way has one of its own."""
    own = folder.parent / f"{BASE}-{variant}"
    return own if own.is_dir() else folder.parent / BASE


def write_spec(folder: Path, question: dict[str, Any], found_at: dict[str, Any] | None = None) -> None:
    """Writes what the folder's run is asked for, with its hash.

    `found_at` says where that is found which is not built in. It is no part of the question: files may move.
    """
    spec = {"schema": 1, "hash": content_hash(question), "asked": question}
    write_json_atomic(folder / SPEC, spec | ({"found_at": found_at} if found_at else {}))


def refuse_another_spec(folder: Path, asked: dict[str, Any]) -> None:
    """Raises a Failure that names the first setting in which the folder's spec.json differs from `asked`."""
    different = _differences(read_spec(folder), asked)
    if different:
        name, old, new = different[0]
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        if name.startswith(f"{SOURCE}."):
            file = name.removeprefix(f"{SOURCE}.")
            raise Failure(
                f"{folder} holds a run with other code of {file} ({old or 'none'} there, {new or 'none'} now){more}: "
                f"{FRESH}, or choose another OUT."
            )
        raise Failure(
            f"{folder} holds a run with {name} = {old!r}, but you asked for {new!r}{more}: {FRESH}, or choose another "
            "OUT."
        )


def read_spec(folder: Path) -> dict[str, Any]:
    """Returns what the folder's spec.json asks for. Raises Failure if it is damaged."""
    return _read(folder, lambda spec: dict(spec["asked"]))


def read_found_at(folder: Path) -> dict[str, Any]:
    """Returns where that is found which is not built in (`write_spec`)."""
    return _read(folder, lambda spec: dict(spec.get("found_at", {})))


def _read(folder: Path, part: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    path = folder / SPEC
    try:
        return part(loads_strict(read_text(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{path} is damaged ({error}): expected a spec as written by this tool.") from error


def _differences(found: Any, asked: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Returns (dotted name, found, asked) for every leaf that differs."""
    if isinstance(found, dict) and isinstance(asked, dict):
        keys = [*asked, *(key for key in found if key not in asked)]
        return [
            row for key in keys for row in _differences(found.get(key), asked.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if found == asked else [(name, found, asked)]
