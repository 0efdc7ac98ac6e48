"""Reads the records that a page is built from, and the counts that belong to them.

Whatever cannot be used is listed as `Broken`, with the reason. `build.py` makes the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.errors import Failure, UsageError
from benchmarks.files import file_sha256
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import Record, read_record
from benchmarks.statistics.counts import Counts

T = TypeVar("T")
AGREES = 1e-9
"""Two means of the same counts differ by less than this."""


@dataclass(frozen=True)
class Broken:
    """Something that was asked for and could not be used."""

    where: str
    """The last three parts of the file's path."""
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class Keeps:
    """Of a dataclass that keeps what others have read or computed of it in its field `kept`."""

    kept: dict[str, Any]

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What `compute` returns, which is called the first time alone. Nothing is kept of an error."""
        if name not in self.kept:
            self.kept[name] = compute()
        found: T = self.kept[name]
        return found


@dataclass(frozen=True)
class Entry(Keeps):
    """A record with the file that it came from."""

    record: Record
    path: Path
    sha256: str
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was read from the files beside the record (`once`)."""

    @property
    def where(self) -> str:
        """The last three parts of the file's path, which are the same on every machine."""
        return _where(self.path)


def load(paths: Sequence[Path | str]) -> tuple[list[Entry], list[Broken]]:
    """Returns all records under the paths, sorted by content hash, and the files that are not. Errors as in `build`."""
    files: dict[Path, Path] = {}
    broken = []
    for path in map(Path, paths):
        found = find_records(path)
        if not found:
            broken.append(Broken(_where(path), "there is no record.json in this folder, nor one or two folders down"))
        files |= {file.resolve(): file for file in found}
    if not files:
        raise UsageError(f"no record.json under {', '.join(map(str, paths)) or 'no path at all'}.")
    entries = []
    for file in files.values():
        try:
            entries.append(Entry(read_record(file), file, file_sha256(file)))
        except Failure as error:
            broken.append(Broken(_where(file), plain(error, file.parent)))
    return sorted(entries, key=lambda entry: (entry.sha256, entry.where)), sorted(broken, key=lambda b: b.where)


def find_records(path: Path) -> list[Path]:
    """The record, or those in the folder and up to two folders below. UsageError if there is no such path."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{path} does not exist: expected a record.json or a folder of runs.")
    return sorted(file for pattern in ("", "*/", "*/*/") for file in path.glob(f"{pattern}record.json"))


def _where(path: Path) -> str:
    return "/".join(path.resolve().parts[-3:]).lstrip("/")


def plain(error: Exception, folder: Path) -> str:
    """Returns the reason without the folders of this machine."""
    return str(error).replace(f"{folder}/", "")


def counts_of(entry: Entry, evaluation: EvaluationRecord) -> Counts:
    """Returns the counts, checked against the record. Raises Failure if they are missing or not the record's."""
    return entry.once(repr(evaluation), lambda: _counts_of(entry, evaluation))


def _counts_of(entry: Entry, evaluation: EvaluationRecord) -> Counts:
    path = Path(evaluation.counts.path)
    if path.is_absolute() or ".." in path.parts:
        raise Failure(f"{path} lies outside of the record's folder.")
    if not (entry.path.parent / path).is_file():
        raise Failure(f"{path} is missing.")
    counts = read_evaluated(evaluation, entry.path.parent).sorted()
    ks = sorted(evaluation.pass_at_k)
    _agree(path, "", counts, ks, evaluation.pass_at_k)
    if evaluation.sound is not None and counts.has_sound:
        _agree(path, "sound ", counts.judged_by("sound"), ks, evaluation.sound.pass_at_k)
    return counts


def _agree(path: Path, name: str, counts: Counts, ks: Sequence[int], said: Mapping[int, float]) -> None:
    for k, mean in zip(ks, counts.curve(ks).mean(axis=0), strict=True):
        if abs(mean - said[k]) > AGREES:
            raise Failure(f"{path} gives {name}pass@{k} = {mean:.6f}, but the record says {said[k]:.6f}.")
