"""Your own problems: a JSONL or parquet file with the columns `problem` and `answer` is a task.

    benchmarks.tasks.get("jsonl", path="mine.jsonl").load("test")

`path` is either one file, which is whichever split is asked for, or a folder that holds a file for each split:
train.jsonl, validation.parquet, test.jsonl, ood.jsonl. Unlike in the published sets (`math_sets`), only
the first copy of a duplicated problem is kept. Rows without a problem or an answer are left out. `report` and the log
count both.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmarks.errors import UsageError, unknown
from benchmarks.tasks import problem_files as data
from benchmarks.tasks.base import Problem, Task

logger = logging.getLogger(__name__)

_SPLITS = ("train", "validation", "test", "ood")


@functools.cache
def _say_once(level: int, report: str) -> None:
    """A file is read whenever its problems are needed, and what is odd about it need not be said as often."""
    logger.log(level, "task 'jsonl': %s", report)


@dataclass(frozen=True)
class JsonlTask(Task):
    """Your own problems, from a JSONL or parquet file. For a missing file or column, a UsageError names the nearest."""

    name: ClassVar[str] = "jsonl"
    VERSION: ClassVar[int] = 1
    splits: ClassVar[tuple[str, ...]] = _SPLITS
    PATHS: ClassVar[tuple[str, ...]] = ("path",)

    path: str
    """A .jsonl or .parquet file, or a folder that holds one for each split."""
    split: str | None = None
    """The only split that a single file may be loaded as; None: whichever is asked for."""
    problem_column: str = "problem"
    answer_column: str = "answer"
    id_column: str | None = None
    """The column of problem ids. None derives them from the problem's text, so that they survive reordering."""
    data_columns: Sequence[str] = ()
    """Columns that are kept in `Problem.data`, for verifiers that need more than the answer."""
    verifier: str = "math"  # type: ignore[misc]  # what other tasks fix for all is the user's choice here
    report: dict[str, data.Report] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was loaded for each split, and what was odd about it."""

    def __post_init__(self) -> None:
        """Checks what can be checked before anything is read."""
        if self.split is not None and self.split not in self.splits:
            raise unknown("split of task 'jsonl'", self.split, self.splits)

    def _load(self, split: str) -> list[Problem]:
        file = self._file(split)
        rows = data.read_file(file)
        wanted = (self.problem_column, self.answer_column, *self.data_columns)
        problem, answer, *others = [data.pick_column(rows, [name], f"'{file}'") for name in wanted]
        entries = [
            (data.as_text(row.get(problem)), data.as_text(row.get(answer)), {name: row.get(name) for name in others})
            for row in rows
        ]
        problems, self.report[split] = data.build(entries, source=str(file), ids=self._ids(rows, file))
        odd = self.report[split].duplicates or self.report[split].empty
        _say_once(logging.WARNING if odd else logging.INFO, str(self.report[split]))
        if not problems:
            raise UsageError(f"'{file}' holds no problem with an answer (columns '{problem}' and '{answer}')")
        return problems

    def _file(self, split: str) -> Path:
        """Returns the file of `split`."""
        path = Path(self.path).expanduser()
        if path.is_dir():
            for suffix in data.SUFFIXES:
                if (path / f"{split}{suffix}").is_file():
                    return path / f"{split}{suffix}"
            raise unknown(f"file of '{path}'", f"{split}.jsonl", data.data_files(path))
        if not path.is_file():
            there = data.data_files(path.parent) if path.parent.is_dir() else ()
            raise unknown(f"file of '{path.parent}'", path.name, there)
        if path.suffix not in data.SUFFIXES:
            raise UsageError(f"'{path}' is not a problem file: expected {' or '.join(data.SUFFIXES)}")
        if self.split is not None and split != self.split:
            raise UsageError(
                f"'{path}' is one file, the split '{self.split}'; for '{split}' give a folder that holds {split}.jsonl"
            )
        return path

    def _ids(self, rows: Sequence[data.FileRow], file: Path) -> list[str] | None:
        if self.id_column is None:
            return None
        column = data.pick_column(rows, [self.id_column], f"'{file}'")
        ids = [data.as_text(row.get(column)) for row in rows]
        for value, count in Counter(ids).items():
            if count > 1 or not value:
                raise UsageError(
                    f"'{file}': column '{column}' holds '{value}' {count} times; problem ids must be unique"
                )
        return ids
