"""The parts of a suite that name problems, and what judges their completions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import JsonValue, ValidationInfo, field_validator

from benchmarks import tasks, verifiers
from benchmarks.errors import UsageError
from benchmarks.outside import Found
from benchmarks.settings import Positive, Rate, Strict
from benchmarks.suites.outside import hashed, problems_digest, whole_data, whole_path
from benchmarks.tasks import Problem, Task
from benchmarks.verifiers import Verifier

FOLDER = "folder"
"""Names what paths are relative to, in pydantic's context."""


class Verification(Strict):
    """What a verifier that judges in processes of its own gets, such as `math`; the others need neither."""

    processes: Positive | None = None
    """How many judge at the same time; null: one for each core, up to 8."""
    seconds: Rate | None = None
    """The processor time for one comparison, after which it is an ERROR; null: the verifier's own limit."""


class Dataset(Strict):
    """Problems from one split of one task."""

    task: str
    """A name, or a task of your own: a file (a path relative to the suite's file) or `package.module:Class`."""
    split: str = "test"
    """A split of the task."""
    problems: Positive | None = None
    """How many problems to take from the start of the split; null takes all of them."""
    settings: dict[str, JsonValue] = {}
    """Settings of the task itself, such as path, data_dir or revision. Paths are relative to the suite's file."""

    @field_validator("task")
    @classmethod
    def _exists(cls, task: str, info: ValidationInfo) -> str:
        if task not in tasks.TASKS:  # those are not imported before they are used
            tasks.find(whole_path(task, folder_of(info)))
        return task

    def make_task(self) -> Task:
        """Returns the task with its settings. Raises UsageError for an unknown task, setting or verifier."""
        return self._made()[0]

    def make_verifier(self, verification: Verification | None = None) -> Verifier:
        """What judges its completions; the errors of `make_task`."""
        task, found = self._made()
        asked = verification or Verification()
        settings = verifiers.find(task.verifier, found.folder).made_by.settings(asked.processes, asked.seconds)
        return verifiers.get(task.verifier, found.folder, **settings)

    def _made(self) -> tuple[Task, Found]:
        found = tasks.find(self.task)
        try:
            task = tasks.get(self.task, **self.settings)
        except TypeError as error:
            raise UsageError(f"task '{self.task}' does not take these settings: {sorted(self.settings)}.") from error
        verifiers.find(task.verifier, found.folder)
        return task, found

    @property
    def outside(self) -> dict[str, Found]:
        """Its `task` and its `verifier`, where they are not built in."""
        if self.task in tasks.TASKS and "verifier" not in self.settings:
            return {}  # without importing it
        task, found = self._made()
        both = {"task": found, "verifier": verifiers.find(task.verifier, found.folder)}
        return {kind: one for kind, one in both.items() if one.source is not None}

    @property
    def code(self) -> dict[str, str]:
        """Hashes of the code of a built-in task and verifier, by file. `asked` has those of others."""
        found = self._made()[1]
        return {**({} if found.source is not None else found.code), **self.verifier_code}

    @property
    def verifier_code(self) -> dict[str, str]:
        """The verifier's part of `code`."""
        task, found = self._made()
        verifier = verifiers.find(task.verifier, found.folder)
        return {} if verifier.source is not None else verifier.code

    @property
    def asked(self) -> dict[str, Any]:
        """Its keys as they are compared and hashed (`suites/outside.py`)."""
        return hashed(self.model_dump(mode="json"), self.outside, self.local_data)

    @property
    def local_data(self) -> dict[str, str]:
        """Its settings that are paths of data -> the name that is there, and the hash of the problems in it."""
        paths = {key: self.settings[key] for key in self._path_settings() if self.settings.get(key) is not None}
        if not paths:
            return {}
        digest = problems_digest(type(self), self.model_dump_json())
        return {key: f"{Path(str(path)).name}@{digest}" for key, path in paths.items()}

    def _path_settings(self) -> tuple[str, ...]:
        return tuple(tasks.find(self.task).made_by.PATHS) if self.settings else ()

    def located(self, folder: Path) -> Self:
        """Returns it with whole paths in place of paths that are relative to `folder`."""
        here = self.model_copy(update={"task": whole_path(self.task, folder)})
        changed = {key: whole_path(self.settings[key], folder) for key in ("verifier",) if key in self.settings}
        changed |= {
            key: whole_data(self.settings[key], folder) for key in here._path_settings() if key in self.settings
        }
        return here.model_copy(update={"settings": self.settings | changed})

    def load(self) -> list[Problem]:
        """Returns the problems in order. Raises UsageError for an unknown task or split, or if there are too few."""
        found = self.make_task().load(self.split)
        if self.problems is not None and len(found) < self.problems:
            raise UsageError(
                f"split '{self.split}' of task '{self.task}' has {len(found)} problems, not {self.problems}."
            )
        return found[: self.problems]


class TrainingDataset(Dataset):
    """Problems to train on."""

    split: str = "train"
    """A split of the task."""


def folder_of(info: ValidationInfo) -> Path:
    """What paths are relative to, while a suite is validated."""
    return (info.context or {}).get(FOLDER, Path())
