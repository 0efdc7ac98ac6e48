"""What importers share: they join verdicts by problem over any number of files and then check them.

Several files of one model on one dataset are shards (with other problems in each) or repetitions (the same problems
again, with more samples). In both cases a problem's verdicts are joined in the order of the files, and in the end every
problem must have the same number of verdicts.
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
    """What the user must choose if a file holds more than one kind of score."""

    metric: str | None = None
    filter: str | None = None

    def refuse(self, format: str, *names: str) -> None:
        """Raises UsageError if one of `names` was chosen, because the format does not have it."""
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"--{name} is not for format '{format}': its files hold one kind of score.")


class Scored(NamedTuple):
    """What a file says about one problem."""

    problem_id: str
    verdicts: Sequence[Verdict]
    """The verdicts on its completions, in the order of the file."""
    mark: str | None = None
    """A hash on which files agree if they mean the same problem."""


class ProblemVerdicts:
    """Verdicts by problem. Methods raise a ValueError that names the problem, and `read_files` adds the file."""

    def __init__(self) -> None:
        self.verdicts: dict[str, list[Verdict]] = {}
        self._marks: dict[str, str | None] = {}
        self._here: set[str] = set()

    def add_file(self, problems: Iterable[Scored]) -> None:
        """Adds the problems of one more file; they may repeat earlier ones. ValueError for a file without a problem."""
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
        """Returns counts under a fixed design. ValueError for the first problem with another number of verdicts."""
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
    """Returns the counts of all files, whose problems `read` yields.

    Raises a Failure that names a file that cannot be used, and UsageError for no file or one that is given twice.
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
    """Turns a ValueError into a Failure that names the file."""
    try:
        yield
    except UsageError:
        raise
    except ValueError as error:
        raise Failure(f"{where}: {error}.") from error


def choose_metric(names: Sequence[str], asked: str | None) -> str:
    """Returns the name of the score to read. UsageError if it does not exist or one of several must be chosen."""
    if asked is not None:
        if asked not in names:
            raise unknown("metric", asked, names)
        return asked
    if len(names) != 1:
        raise UsageError(f"the file has {len(names)} metrics ({', '.join(names) or 'none'}): choose one with --metric.")
    return names[0]


def verdicts_of_scores(problem_id: str, scores: Sequence[object], completions: int | None) -> list[Verdict]:
    """Returns one verdict per score. Raises ValueError if the number of completions is known and different."""
    if completions is not None and len(scores) != completions:
        raise ValueError(f"problem '{problem_id}' has {completions} completions, but {len(scores)} scores")
    return [verdict(problem_id, one) for one in scores]


def verdict(problem_id: str, score: object) -> Verdict:
    """Returns the verdict for a score of true or 1, or of false or 0. Null and NaN mean that the grader failed: ERROR.

    Raises ValueError for anything else, because half a point is neither right nor wrong.
    """
    if score is None or (isinstance(score, float) and math.isnan(score)):
        return Verdict.ERROR
    if isinstance(score, bool | int | float) and score in (0, 1):
        return Verdict.CORRECT if score else Verdict.WRONG
    raise ValueError(f"problem '{problem_id}': a score must be true or false, 1 or 0, got {str(score)[:40]!r}")


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, object) of every non-blank line. ValueError for one that is not an object in UTF-8."""
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
    """Returns the problem's id as a string. Raises ValueError unless it is a string or a whole number."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"line {number}: '{key}' must be a string or a whole number, got {str(value)[:40]!r}")
    return str(value)
