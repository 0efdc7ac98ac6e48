"""Paths in a suite are relative to its own file, and nothing that is hashed depends on where that file is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.engines.identity import identify
from benchmarks.errors import UsageError
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.run_folder import Place, read_spec
from benchmarks.suites import schema as suite
from tests.benchmarks.micro import write

ROWS = [{"problem": f"{n} + 1", "answer": str(n + 1)} for n in range(8)]
MODEL = suite.BASE_MODELS / "countdown"


def put(folder: Path, name: str = "mine.jsonl", rows: list[dict[str, str]] = ROWS) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def jsonl(folder: Path, path: str = "mine.jsonl", **more: object) -> suite.Suite:
    """The micro suite in `folder`, with its test problems from the file."""
    return suite.load(
        str(write(folder, {"evaluation.datasets.test": {"task": "jsonl", "settings": {"path": path}}} | more))
    )


def test_data_are_found_beside_the_suite_from_anywhere(tmp_path, monkeypatch):
    put(tmp_path / "suites" / "data")
    monkeypatch.chdir(tmp_path)
    loaded = jsonl(tmp_path / "suites", "data/mine.jsonl")
    assert len(loaded.evaluation.datasets["test"].load()) == 8
    assert loaded.evaluation.datasets["test"].settings["path"] == str(tmp_path / "suites" / "data" / "mine.jsonl")


def test_a_folder_of_a_published_set(tmp_path):
    put(tmp_path / "problems", "math500.jsonl")
    dataset = {"task": "math500", "settings": {"data_dir": "problems"}}
    loaded = suite.load(str(write(tmp_path, {"evaluation.datasets.test": dataset})))
    assert len(loaded.evaluation.datasets["test"].load()) == 8


def test_a_base_model_beside_the_suite(tmp_path, monkeypatch):
    shutil.copytree(MODEL, tmp_path / "models" / "mine")
    for name in ("models/mine", "./models/mine", str(tmp_path / "models" / "mine")):
        loaded = suite.load(str(write(tmp_path, {"base_model": name})))
        assert loaded.base_path == str(tmp_path / "models" / "mine")
    for hub in ("Qwen/Qwen2.5-7B", "gpt2", "embedded:countdown"):
        assert suite.load(str(write(tmp_path, {"base_model": hub}))).base_model == hub


def test_the_hash_is_of_what_is_there_and_not_of_where(tmp_path):
    """Moved and renamed folders change nothing; another problem in the file is another suite."""
    for place in ("here", "there"):
        put(tmp_path / place)
        shutil.copytree(MODEL, tmp_path / place / "model")
    here, there = (jsonl(tmp_path / place, base_model="./model") for place in ("here", "there"))
    assert here.hash == there.hash and str(tmp_path) not in json.dumps(here.asked)
    put(tmp_path / "elsewhere", rows=[*ROWS[:-1], {"problem": "7 + 1", "answer": "9"}])
    shutil.copytree(MODEL, tmp_path / "elsewhere" / "model")
    assert jsonl(tmp_path / "elsewhere", base_model="./model").hash != here.hash


def test_data_that_is_not_there_can_still_be_named(tmp_path):
    loaded = jsonl(tmp_path)
    assert loaded.asked["evaluation"]["datasets"]["test"]["settings"]["path"] == "mine.jsonl@unreadable"
    with pytest.raises(UsageError, match=r"mine\.jsonl"):
        loaded.evaluation.datasets["test"].load()


def test_one_file_is_one_split(tmp_path):
    """What a policy is trained on is not what it is measured on, unless the suite says so by the same split."""
    put(tmp_path)
    train = {"task": "jsonl", "settings": {"path": "mine.jsonl"}}
    with pytest.raises(UsageError, match=r"one file and so one split.*'test' in evaluation.datasets.test and 'train'"):
        jsonl(tmp_path, **{"training.dataset": train})
    assert jsonl(tmp_path, **{"training.dataset": train | {"split": "test"}}).training.dataset.split == "test"
    put(tmp_path, "other.jsonl")
    assert jsonl(tmp_path, **{"training.dataset": {"task": "jsonl", "settings": {"path": "other.jsonl"}}})


def test_a_training_process_finds_what_a_path_names(tmp_path):
    """It reads spec.json, which must not depend on the machine, and beside it where things are on this one."""
    put(tmp_path / "here", "train.jsonl")
    changes = {"training.dataset": {"task": "jsonl", "settings": {"path": "train.jsonl"}}}
    run = CellRun(suite.load(str(write(tmp_path / "here", changes))), "grpo", 0, Place(tmp_path / "runs"))
    run.folder.mkdir(parents=True)
    run.claim(run.question(identify(run.suite.base_path)))
    assert str(tmp_path) not in json.dumps(read_spec(run.folder))
    again = CellRun.of_folder(run.folder, Place())
    assert len(again.suite.training.dataset.load()) == 8 and again.suite.hash == run.suite.hash
