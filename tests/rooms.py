"""The house: which room may import which, and what must not be known where. `test_architecture.py` checks it.

`ROOMS` lists the rooms from the ground up, each with the rooms that it may import: these stand above it in the list, so
that there is no circle and no arrow upwards. `RULES` adds what must not be reached through others either, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

TORCH = ("torch", "trl", "transformers", "accelerate", "peft", "deepspeed", "vllm", "tokenizers", "safetensors")
GROUND = tuple(
    f"benchmarks.{name}"
    for name in ("errors", "files", "outside", "progress", "registry", "seeds", "settings", "stops", "strict_yaml")
)
"""What everybody may use."""
MEASURING = tuple(
    f"benchmarks.{name}"
    for name in ("statistics", "records", "suites", "evaluation", "runs", "cli", "sweeps", "analysis", "launchers")
)

ROOMS: dict[str, set[str]] = {
    # the ground floor: tools that everybody above may use
    "errors": set(),
    "seeds": set(),
    "progress": set(),
    "strict_yaml": {"errors"},
    "files": {"errors"},
    "registry": {"errors"},
    "outside": {"errors", "registry"},
    "settings": {"errors"},
    "stops": {"settings"},
    # what a problem, a verdict and a number are
    "tasks": {"errors", "files", "outside", "seeds", "settings"},
    "verifiers": {"errors", "outside", "tasks"},
    "statistics": {"errors", "files", "settings"},
    "records": {"errors", "files", "settings", "statistics"},
    # what trains, what samples, what reads
    "algorithms": {"errors", "files", "outside", "seeds", "settings", "stops"},
    "engines": {"errors", "files", "registry", "seeds", "settings", "stops"},
    "launchers": {"errors", "registry", "settings", "strict_yaml"},
    "importers": {"errors", "files", "registry", "statistics", "verifiers"},
    "base_models": {"seeds", "tasks"},
    # what puts them together
    "suites": {
        *("errors", "files", "outside", "settings", "strict_yaml", "tasks", "verifiers", "statistics", "algorithms"),
        *("engines", "launchers"),
    },
    "evaluation": {
        *("errors", "files", "outside", "progress", "seeds", "settings", "stops", "tasks", "verifiers"),
        *("statistics", "records", "engines"),
    },
    "leaderboards": {"errors", "files", "settings", "strict_yaml", "tasks", "statistics", "records", "evaluation"},
    "runs": {
        *("errors", "files", "outside", "progress", "seeds", "settings", "tasks", "verifiers", "statistics", "records"),
        *("algorithms", "engines", "launchers", "importers", "suites", "evaluation"),
    },
    "sweeps": {
        "errors",
        "files",
        "outside",
        "progress",
        "seeds",
        "statistics",
        "records",
        "algorithms",
        "engines",
        "launchers",
        "suites",
        "evaluation",
        "runs",
    },
    "perf": {
        *("errors", "files", "progress", "seeds", "settings", "tasks", "verifiers", "statistics", "records"),
        *("algorithms", "engines", "base_models", "launchers", "suites", "evaluation", "runs"),
    },
    # the command line
    "cli": {
        *("errors", "outside", "progress", "settings", "tasks", "verifiers", "statistics", "records", "algorithms"),
        *("engines", "launchers", "importers", "suites", "runs", "sweeps", "leaderboards"),
    },
    "__main__": {"errors", "cli"},
    # what users import, and what starts the program
    "rlvr_gap": {"errors", "tasks", "verifiers", "statistics", "records", "algorithms", "leaderboards", "__main__"},
}
"""Room, without `benchmarks.` -> the rooms that it may import. From the ground up."""


@dataclass(frozen=True)
class Rule:
    """No module of `who` reaches one of `never` (all by the start of their dotted names)."""

    name: str
    who: tuple[str, ...]
    never: tuple[str, ...]
    why: str
    through: bool = True
    """Not by its own imports, nor by those of what it imports; False: by its own alone."""
    but: tuple[str, ...] = ()
    """Allowed all the same, and not looked behind."""


RULES = [
    Rule(
        "numbers and pages know no torch",
        (*GROUND, "benchmarks.statistics", "benchmarks.records", "leaderboards"),
        (*TORCH, "algorithms"),
        "everything after sampling runs without an accelerator, on counts that came from anywhere",
    ),
    Rule(
        "evaluation knows no algorithm",
        ("benchmarks.evaluation", "benchmarks.engines"),
        ("algorithms", "trl"),
        "base, trained, distilled and foreign models are measured by the same code",
        but=("algorithms.settings",),  # a part of a suite's schema: what is common to all, and no algorithm
    ),
    Rule(
        "training knows nothing of what is measured",
        ("algorithms",),
        (*MEASURING, "benchmarks.engines", "leaderboards"),
        "an algorithm gets problems and a reward function; what it cannot see it cannot be tuned to",
    ),
    Rule(
        "verifiers know no engine and no trainer",
        ("benchmarks.verifiers",),
        (*TORCH, "algorithms", "benchmarks.engines", "benchmarks.evaluation"),
        "a verdict depends on the problem and the text alone; stored text is graded without a model",
    ),
    Rule(
        "launchers know a command and nothing of what it means",
        ("benchmarks.launchers",),
        (
            *TORCH,
            *(module for module in MEASURING if module != "benchmarks.launchers"),
            "algorithms",
            "leaderboards",
            "benchmarks.engines",
            "benchmarks.tasks",
            "benchmarks.verifiers",
        ),
        "the same cell runs in this process, on this machine, and on a cluster",
    ),
    Rule(
        "tasks know no model",
        ("benchmarks.tasks",),
        (*TORCH, *MEASURING, "algorithms", "benchmarks.engines"),
        "a problem is the same for whoever answers it",
    ),
]
