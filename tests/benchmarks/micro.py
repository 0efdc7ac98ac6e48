"""A suite of seconds on the embedded base model, as a YAML file that a test changes key by key."""

from __future__ import annotations

import copy
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import yaml

from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import parse

MICRO: dict[str, Any] = {
    "name": "micro",
    "description": "Seconds; its numbers mean nothing.",
    "base_model": "embedded:countdown",
    "prompt_template": "raw",
    "evaluation": {
        "datasets": {"test": {"task": "countdown", "split": "test", "problems": 4}},
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 48},
        "design": {"rounds": [2, 4, 8], "stop_after": 2},
        "k": 8,
    },
    "engine": {"name": "transformers", "workers": 1},
    "training": {
        "dataset": {"task": "countdown", "split": "train", "problems": 64},
        "budget": {"steps": 2},
        "prompts_per_step": 2,
        "group_size": 4,
        "mini_batches_per_step": 2,
        "learning_rate": 1e-3,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 48},
        "save_every_steps": 1,
    },
}
GONE = object()
"""As a change: the key is taken out."""


def data(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The suite as plain data; `changes`: {"training.group_size": 8}."""
    suite = copy.deepcopy(MICRO)
    for dotted, value in (changes or {}).items():
        *parents, last = dotted.split(".")
        place = suite
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is GONE:
            del place[last]
        else:
            place[last] = copy.deepcopy(value)
    return suite


def write(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """The suite as a file in `folder`."""
    path = folder / "micro.yaml"
    path.write_text(yaml.safe_dump(data(changes), sort_keys=False))
    return path


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """File -> (time of its last change, hash) of all files under `folder`."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def cell(folder: Path, algorithm: str = "grpo", seed: int = 0, changes: dict[str, Any] | None = None) -> CellRun:
    """A cell of the suite, with its runs in `folder`."""
    return CellRun(parse(data(changes)), algorithm, seed, Place(folder))


def train_and_die(folder: str, algorithm: str, changes: dict[str, Any], update: int) -> None:
    """Trains until this process gets SIGKILL at the end of that update."""
    from algorithms.train import StepCallback

    on_step_end = StepCallback.on_step_end

    def kill(self: StepCallback, args: Any, state: Any, control: Any, **rest: Any) -> None:
        on_step_end(self, args, state, control, **rest)
        if state.global_step == update:
            os.kill(os.getpid(), signal.SIGKILL)

    StepCallback.on_step_end = kill  # type: ignore[method-assign]
    cell(Path(folder), algorithm, changes=changes).training.train()
