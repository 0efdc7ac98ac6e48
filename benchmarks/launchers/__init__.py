"""How a command is run: here, in a process of its own, or on a cluster. Add one: a file here, and a line in the table.

A launcher is called with the arguments of `rlvr-gap` and a log file; it returns None, or in one line why it failed.
It knows nothing of what the command means.
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
    """The launcher called `name`. Unknown name: ValueError that lists the known ones."""
    return lookup(LAUNCHERS, name, "launcher")
