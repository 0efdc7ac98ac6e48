"""What goes wrong while a checkpoint is written is called by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

import algorithms
from algorithms.train import TrainSpec, train
from benchmarks.errors import Failure
from tests.algorithms import toy

FULL_DISK = "[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"
"""What torch.save says when the disk takes no more (tried with a limit on the size of files)."""


def train_and_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def save(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(GRPOTrainer, "_save_checkpoint", save)
    policy = toy.save_policy(toy.make_policy({(toy.GO,): {}}), tmp_path / "policy")
    settings = toy.make_settings(budget={"steps": 1}, prompts_per_step=2, group_size=2, mini_batches_per_step=1)
    train(
        TrainSpec(
            algorithm=algorithms.get("grpo"), settings=settings, model=str(policy), prompts=("go", "on"),
            verify=toy.Judge(), folder=tmp_path / "run", seed=0,
        )
    )  # fmt: skip


@pytest.mark.parametrize("error", [RuntimeError(FULL_DISK), OSError("No space left on device")])
def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(Failure, match="cannot write the training in"):
        train_and_fail(tmp_path, monkeypatch, error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.distributed.DistBackendError("NCCL error: unhandled system error"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
)
def test_an_accelerators_error_is_not_a_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        train_and_fail(tmp_path, monkeypatch, error)
    assert raised.value is error
