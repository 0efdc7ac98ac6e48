"""Follows a training while it runs, in TensorBoard, Weights & Biases or trackio, by transformers' callbacks.

    --report-to tensorboard,wandb

A tracker only watches. It is no part of what a cell is asked for, so a run may be continued with another one or none.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.errors import UsageError, unknown

TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "trackio": ("trackio",)}
"""Name -> the packages of which it needs one, the usual one first."""
PROJECT = "rlvr-gap"


def parse(text: str) -> tuple[str, ...]:
    """Returns the trackers that `text` names, separated by commas or spaces.

    Raises UsageError for one that does not exist, or whose package is not installed.
    """
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        if not any(importlib.util.find_spec(package) for package in TRACKERS[name]):
            package = TRACKERS[name][0]
            raise UsageError(f"--report-to {name} needs the package {package}: pip install {package}.")
    return names


@contextlib.contextmanager
def following(names: Sequence[str], folder: Path) -> Iterator[None]:
    """Within the block, trackers write under `folder` (the training's), unless the environment says otherwise.

    TensorBoard's files are in folder/tensorboard, and those of Weights & Biases in folder/wandb.
    """
    places = {
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"), "WANDB_DIR": str(folder), "WANDB_PROJECT": PROJECT,
    }  # fmt: skip
    ours = {name: value for name, value in places.items() if names and name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        if "wandb" in names and "wandb" in sys.modules:
            sys.modules["wandb"].finish()  # the callback leaves it open, and the next training would add to it
