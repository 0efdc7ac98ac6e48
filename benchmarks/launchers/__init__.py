"""Launchers run a command here, in its own process, or on a cluster. To add one, add a file and a line in the table.

A launcher is called with the arguments of `rlvr-gap` and a log file. It returns None, or one line that says why the
command failed. It knows nothing of what the command means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.registry import lookup

Launch = Callable[[Sequence[str], Path], str | None]

LAUNCHERS = {
    "inprocess": "benchmarks.launchers.inprocess:launch",
    "local": "benchmarks.launchers.local:launch",
}


def get(name: str) -> Launch:
    """Returns the launcher `name`. Raises ValueError with all known names for an unknown one."""
    return lookup(LAUNCHERS, name, "launcher")
