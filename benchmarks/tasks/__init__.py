"""The families of problems. To add one, add a file here and a line in `TASKS`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.outside import Found, Kind
from benchmarks.outside import find as find_outside
from benchmarks.tasks.base import Problem, Task

__all__ = ["KIND", "TASKS", "Problem", "Task", "find", "get"]

TASKS = {
    "countdown": "benchmarks.tasks.countdown:Countdown",
    "math500": "benchmarks.tasks.math_sets:Math500",
    "omni-math-rule": "benchmarks.tasks.math_sets:OmniMathRule",
    "aime24": "benchmarks.tasks.math_sets:Aime24",
    "aime25": "benchmarks.tasks.math_sets:Aime25",
    "gpqa-diamond": "benchmarks.tasks.gpqa:GpqaDiamond",
    "gsm8k": "benchmarks.tasks.math_sets:Gsm8k",
    "amc23": "benchmarks.tasks.math_sets:Amc23",
    "minerva": "benchmarks.tasks.math_sets:Minerva",
    "olympiadbench": "benchmarks.tasks.math_sets:OlympiadBench",
    "jsonl": "benchmarks.tasks.jsonl:JsonlTask",
}
KIND = Kind("task", TASKS, "benchmarks.tasks.base:Task", "rlvr_gap.tasks", needs=("VERSION", "verifier", "splits"))


def find(reference: str, folder: Path | None = None) -> Found:
    """Returns the class of a task by its name, its file (relative to `folder`) or `package.module:Class`."""
    return find_outside(KIND, reference, folder)


def get(reference: str, **settings: object) -> Task:
    """Returns the task that `reference` names, with its settings, such as `data_dir`. UsageError if there is none."""
    found = find(reference)
    if found.source is not None:
        found.made_by.SOURCE = found.source.sha256[:16]
    task: Task = found.made_by(**settings)
    return task
