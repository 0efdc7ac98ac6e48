"""What a launcher gets and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.launchers.resources import Resources

PROGRAM_FILE = str(Path(__file__).resolve().parents[2] / "rlvr_gap" / "__main__.py")
"""What a process that the project starts runs, by its path: the same copy of the project, in any working directory."""
USAGE_ERROR, INTERRUPTED = 2, 130
"""Exit codes of the program: wrong input, which no second try mends, and a stop by a signal."""


@dataclass(frozen=True)
class Task:
    """One command of `rlvr-gap`."""

    name: str
    command: tuple[str, ...]
    log: Path
    """Gets everything that the command prints."""
    after: tuple[str, ...] = ()
    """Names of tasks that must have ended well before."""


@dataclass(frozen=True)
class Options:
    """How tasks are run."""

    jobs: int | None = None
    """Tasks side by side on this machine; None: as many as it has accelerators, or else cores."""
    retry: int = 0
    """How often a task that failed is tried again."""
    resources: Resources = field(default_factory=Resources)
    folder: Path = Path()
    """For a cluster's own files."""
    submitted: Mapping[str, str] = field(default_factory=dict)
    """Task -> number of its job, for tasks that wait in the cluster's queue already."""


class Watch(Protocol):
    """Is told what happens. All calls come from the thread that called the launcher."""

    def is_busy(self, task: Task) -> bool:
        """Whether somebody else works on the task, so that it would only wait."""

    def started(self, task: Task) -> None:
        """The task runs."""

    def queued(self, task: Task, job: str) -> None:
        """The task waits for a cluster, under this number; an empty one just before it is submitted."""

    def ended(self, task: Task, reason: str | None) -> None:
        """The task has ended well (None), or failed for a reason of one line."""

    def tick(self) -> None:
        """Time has passed."""

    def stopping(self, tasks: int) -> None:
        """So many tasks were told to save what they have and to end."""


class Launcher(Protocol):
    """Runs or submits tasks."""

    waits: bool
    """Whether `run` returns only when all tasks have ended."""

    def run(self, tasks: Sequence[Task], options: Options, watch: Watch) -> None:
        """Every task is run once all that it comes after have ended well. A failed one stops nothing else."""


def lacking(task: Task, ended: Mapping[str, str | None]) -> str | None:
    """Why the task cannot run any more: one that it comes after has failed. None if nothing is known against it."""
    failed = [name for name in task.after if ended.get(name) is not None]
    return f"it needs {failed[0]}, which failed" if failed else None


BEGINS = "$ rlvr-gap "
"""What a line of a log begins with that says which command was started."""


def last_line(log: Path) -> str:
    """The last line that a task printed, or that there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:300] if lines and not lines[-1].startswith(BEGINS) else "it printed nothing"
