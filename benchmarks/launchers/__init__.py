"""How commands run: here, in processes of their own, or on a cluster. Add one: a file here, and a line in the table.

A launcher gets tasks, which are commands of `rlvr-gap` with what must come before them. It runs them, or submits them,
and tells a watcher what happens. It knows nothing of what the commands mean.
"""

from __future__ import annotations

from benchmarks.launchers.base import Launcher
from benchmarks.registry import lookup

__all__ = ["LAUNCHERS", "Launcher", "get"]

LAUNCHERS = {
    "inprocess": "benchmarks.launchers.inprocess:InProcess",
    "local": "benchmarks.launchers.local:Local",
    "slurm": "benchmarks.launchers.slurm:Slurm",
}


def get(name: str) -> Launcher:
    """Returns the launcher called `name`. UsageError for an unknown name, which lists the known ones."""
    launcher: Launcher = lookup(LAUNCHERS, name, "launcher")()
    return launcher
