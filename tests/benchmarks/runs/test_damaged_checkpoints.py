"""A checkpoint that was damaged is set aside, and training goes on from the one before, to the same end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.runs.cell_run import CellRun
from benchmarks.tasks.countdown import SIZES
from tests.benchmarks.micro import cell

pytestmark = pytest.mark.slow
THREE = {"training.budget": {"steps": 3}}
"""Two updates a step, and a checkpoint after each step: at updates 2, 4 and 6, the last two of which are kept."""


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> CellRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "train", 64)
        run = cell(tmp_path_factory.mktemp("trained"), changes=THREE)
        run.training.run()
    return run


@pytest.mark.parametrize(
    "name, damage",
    [
        ("model.safetensors", one_bit),
        ("model.safetensors", truncated),
        ("optimizer.pt", one_bit),
        ("scheduler.pt", Path.unlink),
        ("rlvr_state.json", truncated),
        ("checksums.json", truncated),
    ],
)
def test_the_one_before_is_used(monkeypatch, trained, tmp_path, name: str, damage: Callable[[Path], None]):
    monkeypatch.setitem(SIZES, "train", 64)
    expected = trained.training.train_folder
    assert sorted(path.name for path in expected.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    run = cell(tmp_path / "runs", changes=THREE)
    folder = run.training.train_folder
    shutil.copytree(expected, folder)
    shutil.rmtree(folder / "final")
    (folder / "result.json").unlink()
    damage(folder / "checkpoint-6" / name)
    run.training.run()
    assert (folder / "damaged-0-checkpoint-6").is_dir()
    for same in ("final/model.safetensors", "log.jsonl"):
        assert (folder / same).read_bytes() == (expected / same).read_bytes(), same


def test_without_any_that_is_in_order_training_begins_anew(monkeypatch, trained, tmp_path):
    monkeypatch.setitem(SIZES, "train", 64)
    run = cell(tmp_path / "runs", changes=THREE)
    folder = run.training.train_folder
    shutil.copytree(trained.training.train_folder, folder)
    shutil.rmtree(folder / "final")
    (folder / "result.json").unlink()
    for checkpoint in ("checkpoint-4", "checkpoint-6"):
        truncated(folder / checkpoint / "model.safetensors")
    run.training.run()
    assert len(list(folder.glob("damaged-*"))) == 2
    final = "final/model.safetensors"
    assert (folder / final).read_bytes() == (trained.training.train_folder / final).read_bytes()
