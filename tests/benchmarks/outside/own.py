"""Algorithms, tasks and verifiers as users write them: files in a folder of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

ALGORITHM = '''
from dataclasses import dataclass
from typing import ClassVar
from torch import Tensor
from algorithms.base import Algorithm, Rollouts


@dataclass(frozen=True)
class Mine(Algorithm):
    """Reward minus the group's mean."""

    name: ClassVar[str] = "mine"
    paper: ClassVar[str] = "unpublished"
    scale: float = 1.0

    def advantages(self, rollouts: Rollouts) -> Tensor:
        return rollouts.per_row(self.scale * (rollouts.rewards_PG - rollouts.group_mean_P1()))
'''
TASK = '''
from typing import ClassVar
from benchmarks.tasks.countdown import Countdown


class MyTask(Countdown):
    """Countdown under another name."""

    name: ClassVar[str] = "my_task"
    verifier: ClassVar[str] = "my_verifier.py"
'''
VERIFIER = '''
from typing import ClassVar
from benchmarks.verifiers.countdown import CountdownVerifier


class MyVerifier(CountdownVerifier):
    """Countdown's under another name."""

    name: ClassVar[str] = "my_verifier"
'''


def write(folder: Path, name: str = "mine.py", text: str = ALGORITHM, **changes: str) -> Path:
    """Writes a file; `changes` replaces words in it, of which each must be there."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_task(folder: Path) -> Path:
    """Writes a task with its verifier beside it."""
    write(folder, "my_verifier.py", VERIFIER)
    return write(folder, "my_task.py", TASK)


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, entries: str, name: str = "rlvr-mine") -> None:
    """Puts a distribution with these entry points on Python's path, as installing it would."""
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(str(folder))
