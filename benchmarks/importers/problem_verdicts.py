"""What importers share: verdicts put together by problem over any number of files, and then checked.

Several files of one model on one dataset are shards (other problems in each) or repetitions (the same problems again,
with more samples). Either way a problem's verdicts are put together in the order of the files, and in the end every
problem must have as many as every other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.files import file_sha256
from benchmarks.statistics.counts import NOT_CORRECT, Counts
from benchmarks.statistics.passk import FixedDesign
from benchmarks.verifiers import Verdict


@dataclass(frozen=True)
class Choices:
    """What has to be said where a file holds more than one kind of score."""

    metric: str | None = None
    filter: str | None = None

    def refuse(self, format: str, *names: str) -> None:
        """UsageError where one of `names` was said: the format has no such thing."""
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"--{name} is not for format '{format}': its files hold one kind of score.")


class Scored(NamedTuple):
    """What a file says of one problem."""

    problem_id: str
    verdicts: Sequence[Verdict]
    """Of its completions, in the order of the file."""
    mark: str | None = None
    """What files that mean the same problem agree on (a hash)."""


class ProblemVerdicts:
    """Verdicts by problem. Methods raise ValueError that names the problem; `read_files` adds the file."""

    def __init__(self) -> None:
        self.verdicts: dict[str, list[Verdict]] = {}
        self._marks: dict[str, str | None] = {}
        self._here: set[str] = set()

    def add_file(self, problems: Iterable[Scored]) -> None:
        """The problems of one more file; they may be those of an earlier one. A file without a problem is refused."""
        self._here = set()
        for problem in problems:
            self._add(*problem)
        if not self._here:
            raise ValueError("there is no problem")

    def _add(self, problem_id: str, verdicts: Sequence[Verdict], mark: str | None) -> None:
        if problem_id in self._here:
            raise ValueError(f"problem '{problem_id}' comes twice")
        if not verdicts:
            raise ValueError(f"problem '{problem_id}' has no verdict")
        known = self._marks.setdefault(problem_id, mark)
        if mark is not None and known is not None and mark != known:
            raise ValueError(f"problem '{problem_id}' is another one here than in an earlier file")
        self._here.add(problem_id)
        self.verdicts.setdefault(problem_id, []).extend(verdicts)

    def counts(self) -> Counts:
        """Under a fixed design. Unequal numbers of verdicts: ValueError that names the first problem that differs."""
        ids = list(self.verdicts)
        n = {problem_id: len(found) for problem_id, found in self.verdicts.items()}
        for problem_id in ids:
            if n[problem_id] != n[ids[0]]:
                raise ValueError(
                    f"problem '{problem_id}' has {n[problem_id]} verdicts, but '{ids[0]}' has {n[ids[0]]}: "
                    "they must be equal, and none is padded or cut"
                )
        tally = {name: [found.count(Verdict(name)) for found in self.verdicts.values()] for name in Verdict}
        correct = tally.pop(Verdict.CORRECT)
        extra = {name: tally[Verdict(name)] for name in NOT_CORRECT}
        return Counts(tuple(ids), list(n.values()), correct, FixedDesign(n[ids[0]]), extra)  # type: ignore[arg-type]


def read_files(paths: Sequence[Path], read: Callable[[Path], Iterable[Scored]]) -> Counts:
    """The counts of all files, whose problems `read` gives.

    A file that cannot be used: Failure that names it. No file, or one that is given twice: UsageError.
    """
    if not paths:
        raise UsageError("there is no file to import.")
    found = ProblemVerdicts()
    seen: dict[str, Path] = {}
    for path in paths:
        same = seen.setdefault(file_sha256(path), path)
        if same is not path:
            raise UsageError(f"{path} and {same} are the same file: its samples would count twice.")
        with _naming(path):
            found.add_file(read(path))
    with _naming(paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"):
        return found.counts()


@contextmanager
def _naming(where: Path | str) -> Iterator[None]:
    """A ValueError becomes a Failure that names the file."""
    try:
        yield
    except UsageError:
        raise
    except ValueError as error:
        raise Failure(f"{where}: {error}.") from error


def choose_metric(names: Sequence[str], asked: str | None) -> str:
    """The name of the score that is read. Not there, or several and none chosen: UsageError."""
    if asked is not None:
        if asked not in names:
            raise unknown("metric", asked, names)
        return asked
    if len(names) != 1:
        raise UsageError(f"the file has {len(names)} metrics ({', '.join(names) or 'none'}): choose one, --metric.")
    return names[0]


def verdicts_of_scores(problem_id: str, scores: Sequence[object], completions: int | None) -> list[Verdict]:
    """One verdict for each score. Another number of scores than of completions, where that is known: ValueError."""
    if completions is not None and len(scores) != completions:
        raise ValueError(f"problem '{problem_id}' has {completions} completions, but {len(scores)} scores")
    return [verdict(problem_id, one) for one in scores]


def verdict(problem_id: str, score: object) -> Verdict:
    """A score of one completion: true or 1, false or 0. Null and NaN: the grader did not give one, an ERROR.

    Anything else: ValueError, since half a point is neither right nor wrong.
    """
    if score is None or (isinstance(score, float) and math.isnan(score)):
        return Verdict.ERROR
    if isinstance(score, bool | int | float) and score in (0, 1):
        return Verdict.CORRECT if score else Verdict.WRONG
    raise ValueError(f"problem '{problem_id}': a score must be true or false, 1 or 0, got {str(score)[:40]!r}")


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that is not blank. Not UTF-8, not JSON objects: ValueError with the line."""
    with open(path, encoding="utf-8") as file:
        number = 0
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(number, line)
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number + 1} is not UTF-8 text") from error


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)  # NaN is let pass: it is how some tools write that there is no score
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number} is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"line {number}: expected an object, got {line[:40].strip()}")
    return data


def problem_name(number: int, row: dict[str, Any], key: str) -> str:
    """The problem's id, a string or a whole number, as a string. Missing or of another kind: ValueError."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"line {number}: '{key}' must be a string or a whole number, got {str(value)[:40]!r}")
    return str(value)
