"""The Python API of RLVR Gap: results as tidy tables, figures, and the functions that users rely on.

    import rlvr_gap as rg

    runs = rg.load("runs")
    runs.table()                        # the leaderboard: a row for each algorithm
    rg.plot.curves(runs)                # pass@k of the base and of every algorithm

docs/api.md lists everything. Names are imported when they are first used, so that importing the package is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rlvr_gap._rooms import claim

if TYPE_CHECKING:
    import algorithms
    from algorithms.base import Algorithm, Rollouts
    from benchmarks import tasks, verifiers
    from benchmarks.statistics.counts import Counts, read_counts
    from benchmarks.statistics.gap import Gap, sampling_efficiency_gap
    from benchmarks.statistics.passk import SequentialDesign, pass_at_k
    from benchmarks.tasks.base import Problem, Task
    from benchmarks.verifiers.base import Verdict, Verifier
    from rlvr_gap import plot
    from rlvr_gap.runs import Runs, gap, load

claim()

_HOMES = {
    "algorithms": ("algorithms",),
    "algorithms.base": ("Algorithm", "Rollouts"),
    "benchmarks.statistics.counts": ("Counts", "read_counts"),
    "benchmarks.statistics.gap": ("Gap", "sampling_efficiency_gap"),
    "benchmarks.statistics.passk": ("SequentialDesign", "pass_at_k"),
    "benchmarks.tasks": ("tasks",),
    "benchmarks.tasks.base": ("Problem", "Task"),
    "benchmarks.verifiers": ("verifiers",),
    "benchmarks.verifiers.base": ("Verdict", "Verifier"),
    "rlvr_gap.plot": ("plot",),
    "rlvr_gap.runs": ("Runs", "gap", "load"),
}
"""Module -> the names that it hands on here. A module of such a name is handed on itself."""
__all__ = [
    "Algorithm", "Counts", "Gap", "Problem", "Rollouts", "Runs", "SequentialDesign", "Task", "Verdict", "Verifier",
    "algorithms", "gap", "load", "pass_at_k", "plot", "read_counts", "sampling_efficiency_gap", "tasks", "verifiers",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            module = importlib.import_module(home)
            found = module if home.rpartition(".")[2] == name else getattr(module, name)
            globals()[name] = found
            return found
    raise AttributeError(f"module 'rlvr_gap' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
