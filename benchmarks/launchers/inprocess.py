"""Runs a command in this same process, for tests and for a debugger."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import Failure, UsageError

PROGRAM = "benchmarks.__main__"
"""The program to run. Only its name is known here, as in a launcher that starts a process."""


def launch(command: Sequence[str], log: Path) -> str | None:
    """Returns None, or the line of a failure. Ctrl-C and unforeseen errors end the caller as well."""
    try:
        importlib.import_module(PROGRAM).run(command)
    except (Failure, UsageError, OSError) as error:
        return str(error)
    return None
