"""Runs a command in this very process: for tests and for a debugger."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import Failure, UsageError

PROGRAM = "benchmarks.__main__"
"""The program that the command is for: known by its name alone, as it is to a launcher that starts a process."""


def launch(command: Sequence[str], log: Path) -> str | None:
    """None, or the failure's one line. Ctrl-C, and what nobody foresaw, end the caller as well."""
    try:
        importlib.import_module(PROGRAM).run(command)
    except (Failure, UsageError, OSError) as error:
        return str(error)
    return None
