"""The families of problems. To add one, add a file here and a line in `TASKS`."""

from __future__ import annotations

from benchmarks.registry import lookup
from benchmarks.tasks.base import Problem, Task

__all__ = ["TASKS", "Problem", "Task", "get"]

TASKS = {
    "countdown": "benchmarks.tasks.countdown:Countdown",
    "math500": "benchmarks.tasks.math_sets:Math500",
    "omni-math-rule": "benchmarks.tasks.math_sets:OmniMathRule",
    "aime24": "benchmarks.tasks.math_sets:Aime24",
    "gsm8k": "benchmarks.tasks.math_sets:Gsm8k",
    "amc23": "benchmarks.tasks.math_sets:Amc23",
    "minerva": "benchmarks.tasks.math_sets:Minerva",
    "olympiadbench": "benchmarks.tasks.math_sets:OlympiadBench",
    "jsonl": "benchmarks.tasks.jsonl:JsonlTask",
}


def get(name: str, **settings: object) -> Task:
    """Returns the task `name` with its settings, such as `data_dir`. Raises ValueError for an unknown name."""
    return lookup(TASKS, name, "task")(**settings)
