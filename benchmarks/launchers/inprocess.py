"""Runs commands one after another in this very process: for tests and for a debugger."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchmarks.errors import Failure, UsageError
from benchmarks.launchers.base import Options, Task, Watch, lacking

PROGRAM = "benchmarks.__main__"
"""The program that the commands are for. It is known by name only, as to a launcher that starts a process."""


class InProcess:
    """Ctrl-C, and what nobody foresaw, end the caller as well."""

    waits = True

    def run(self, tasks: Sequence[Task], options: Options, watch: Watch) -> None:
        """Runs the tasks in their order, each after those that it comes after."""
        ended: dict[str, str | None] = {}
        for task in tasks:
            reason = lacking(task, ended)
            if reason is None:
                watch.started(task)
                reason = _try(task, options.retry)
            ended[task.name] = reason
            watch.ended(task, reason)


def _try(task: Task, retry: int) -> str | None:
    reason = None
    for _ in range(retry + 1):
        try:
            importlib.import_module(PROGRAM).run(task.command)
            return None
        except UsageError as error:
            return str(error)
        except (Failure, OSError) as error:
            reason = str(error)
    return reason
