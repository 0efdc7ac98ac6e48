"""Stops a training at the end of a step, with a checkpoint, when this process gets SIGTERM: on a cluster, or before a
reboot. A second SIGTERM, or one outside of training, interrupts at once, like Ctrl-C.

The signal leaves a file beside the checkpoints, so that the training may run in other processes than the one that got
it. The first of them reads the file and tells the others, and all stop after the same step.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = "pause"
_training: list[Path] = []
"""Folders of the trainings that this process waits for, the innermost last."""


@contextlib.contextmanager
def on_sigterm() -> Iterator[None]:
    """Within the block SIGTERM pauses a training. In a thread other than the main one, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def training_in(folder: Path, first: bool = True) -> Iterator[None]:
    """Within the block, a training runs in the folder, here or in processes that this one started.

    Of several machines that train together, only the first one removes the file.
    """
    if first:
        (folder / FILE).unlink(missing_ok=True)
    _training.append(folder)
    try:
        yield
    finally:
        _training.pop()
        if first:
            (folder / FILE).unlink(missing_ok=True)


def was_asked(folder: Path) -> bool:
    """Whether the training in the folder was told to stop."""
    return (folder / FILE).exists()


def is_asked(folder: Path, accelerator: Any) -> bool:
    """The same for all training processes together, as the first one sees it. All of them must call it."""
    asked = accelerator.is_main_process and was_asked(folder)
    if accelerator.num_processes == 1:
        return asked
    import torch

    flag = torch.tensor([float(asked)], device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum").item() > 0)


def _handle(number: int, frame: object) -> None:
    if not _training or was_asked(_training[-1]):
        raise KeyboardInterrupt
    try:
        (_training[-1] / FILE).touch()
    except OSError:
        raise KeyboardInterrupt from None
