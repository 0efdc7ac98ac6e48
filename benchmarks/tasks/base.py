"""Defines a task: a deterministic list of problems for each of its splits, and the name of its verifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from benchmarks.errors import unknown


@dataclass(frozen=True)
class Problem:
    """One problem. `problem_id` is unique within its task and split, and stable over versions of this code."""

    problem_id: str
    prompt: str
    answer: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the verifier needs beyond the answer, as JSON values."""


class Task:
    """A family of problems. Subclasses are frozen, and their constructor arguments are their only settings."""

    name: ClassVar[str]
    VERSION: ClassVar[int]
    """Increased when the meaning of a split changes. Numbers of two versions never share a table."""
    SOURCE: ClassVar[str | None] = None
    """Hash of the source of a task that is not built in. It is set when the task is loaded."""
    verifier: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]

    @property
    def version(self) -> int | str:
        """Its VERSION, with the hash of its source if it is not built in. Records hold it."""
        return self.VERSION if self.SOURCE is None else f"{self.VERSION}@{self.SOURCE}"

    @property
    def data_revision(self) -> str | None:
        """The commit of the published data that it loads. None for tasks without such data, and for local copies."""
        return None

    def reference(self, problem: Problem) -> str | None:
        """Returns a completion that its verifier must judge correct, or None if the task knows none."""
        return None

    def load(self, split: str) -> list[Problem]:
        """Returns all problems of `split`, always in the same order. Raises ValueError for an unknown split."""
        if split not in self.splits:
            raise unknown(f"split of task '{self.name}'", split, self.splits)
        return self._load(split)

    def _load(self, split: str) -> list[Problem]:
        raise NotImplementedError
