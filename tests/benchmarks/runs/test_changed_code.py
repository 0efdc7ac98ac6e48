"""What a cell does when code has changed since it began, and how it starts afresh."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.errors import Failure, UsageError
from benchmarks.files import write_json_atomic
from benchmarks.progress import Progress
from benchmarks.records.schema import read_record
from benchmarks.runs import training_code
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.regrade_run import RunFolder
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import parse
from tests.benchmarks.micro import cell, data, snapshot, write

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}
pytestmark = pytest.mark.usefixtures("few_problems")


@pytest.fixture(scope="module")
def done(tmp_path_factory, few_problems) -> CellRun:
    run = cell(tmp_path_factory.mktemp("done"), changes=SCRIPTED)
    run.run()
    return run


@pytest.fixture
def copied(done, tmp_path) -> CellRun:
    """The same in a folder of its own, to be changed."""
    shutil.copytree(done.place.out, tmp_path / "runs")
    return cell(tmp_path / "runs", changes=SCRIPTED)


def began_with_other_code(folder: Path, file: str) -> None:
    """Makes the spec say that the cell's numbers come from other code of the file."""
    spec = json.loads((folder / "spec.json").read_text())
    assert file in spec["asked"]["source"]
    spec["asked"]["source"][file] = "0" * 16
    write_json_atomic(folder / "spec.json", spec)


@pytest.mark.parametrize(
    "file", ["algorithms/grpo.py", "algorithms/base.py", "benchmarks/tasks/countdown.py",
             "benchmarks/verifiers/expression.py"],
)  # fmt: skip
def test_other_code_is_refused_by_name(copied, file):
    began_with_other_code(copied.folder, file)
    before = snapshot(copied.place.out)
    with pytest.raises(Failure, match=rf"other code of {file} \(0{{16}} there, \w{{16}} now\): .* bench --fresh"):
        copied.run()
    assert snapshot(copied.place.out) == before


def test_the_base_does_not_depend_on_the_algorithm(copied):
    assert not any(file.startswith("algorithms/") for file in copied.base.source()["source"])


def test_fresh_runs_the_cell_again_and_keeps_what_there_was(copied):
    began_with_other_code(copied.folder, "algorithms/grpo.py")
    old, base = snapshot(copied.folder), snapshot(copied.base.folder)
    record = copied.run(fresh=True)
    assert read_record(copied.folder / "record.json") == record and copied.run() == record
    (kept,) = (copied.folder.parent / ".replaced").iterdir()
    assert kept.name.startswith("grpo-s0-")
    moved = snapshot(kept)
    assert {name: digest for name, (_, digest) in moved.items()} == {
        name: digest for name, (_, digest) in old.items() if not name.startswith(".")
    }
    assert snapshot(copied.base.folder) == base
    assert (copied.folder / "train/final/model.safetensors").read_bytes() == (
        kept / "train/final/model.safetensors"
    ).read_bytes(), "the code was the same in truth"


def test_a_finished_cell_says_so(tmp_path, done, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(Progress, "say", lambda self, text: said.append(text))
    done.run()
    record = read_record(done.folder / "record.json")
    at = f" at {record.provenance.commit[:7]}" if record.provenance.commit else ""
    changed = " with changes" if record.provenance.dirty else ""
    assert said == [f"grpo-s0: finished {record.provenance.finished:%Y-%m-%d}{at}{changed}, nothing run."]


def test_a_spec_alone_stands_in_nobodys_way(copied):
    for name in ("record.json", "train", "eval"):
        path = copied.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    began_with_other_code(copied.folder, "algorithms/grpo.py")
    assert copied.run() == read_record(copied.folder / "record.json")


def test_a_command_that_cannot_work_writes_nothing(tmp_path):
    suite = parse(data({"engine": {"name": "transformers", "settings": {"dtipe": "float16"}}}))
    with pytest.raises(UsageError, match="dtipe"):
        CellRun(suite, "grpo", 0, Place(tmp_path / "runs")).run()
    assert not (tmp_path / "runs").exists()


# ------------------------------------------------------------------------------------------------ the trainer's code


def interrupted(run: CellRun) -> Path:
    """Makes the finished training one that was interrupted after its first checkpoint; returns its folder."""
    folder = run.training.train_folder
    (run.folder / "record.json").unlink()
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "final")
    return folder


def test_a_training_does_not_go_on_under_another_trainer(copied):
    folder = interrupted(copied)
    noted = json.loads((folder / training_code.FILE).read_text())
    assert "algorithms/trainer.py" in noted["code"] and "algorithms/grpo.py" not in noted["code"]
    noted["code"]["algorithms/trainer.py"] = "0" * 16
    write_json_atomic(folder / training_code.FILE, noted | {"commit": "abcdef1234567890"})
    words = r"began at commit abcdef123456 with other code of algorithms/trainer\.py: go on with that code, or start"
    with pytest.raises(Failure, match=words):
        copied.run()


def test_a_training_goes_on_under_the_same(copied, done):
    interrupted(copied)
    copied.run()
    assert (copied.folder / "train/final/model.safetensors").read_bytes() == (
        done.folder / "train/final/model.safetensors"
    ).read_bytes()


def test_a_finished_training_does_not_become_another_by_a_later_change(copied):
    path = copied.training.train_folder / training_code.FILE
    noted = json.loads(path.read_text())
    write_json_atomic(path, noted | {"code": {}})
    (copied.folder / "record.json").unlink()
    shutil.rmtree(copied.folder / "eval")
    copied.run()


# ------------------------------------------------------------------------------------------------ re-grading


def test_a_regrade_puts_the_verifiers_code_into_the_spec(copied):
    for folder in (copied.base.folder, copied.folder):
        began_with_other_code(folder, "benchmarks/verifiers/countdown.py")
        RunFolder.read(folder).regrade(Place())
    assert copied.run() == read_record(copied.folder / "record.json")


# ------------------------------------------------------------------------------------------------ variants


def test_two_rates_in_one_table_with_one_base(tmp_path):
    path = str(write(tmp_path, SCRIPTED))
    out = ["--suite", path, "--out", str(tmp_path / "runs"), "--quiet"]
    program.run(["bench", "--algo", "grpo", *out])
    base = snapshot(tmp_path / "runs/micro/base")
    program.run(["bench", "--algo", "grpo", *out, "--set", "training.learning_rate=3e-4"])
    program.run(["bench", "--algo", "grpo", *out, "--set", "training.group_size=2", "--name", "pairs"])
    program.run(["bench", "--algo", "grpo", *out, "--set", "training.save_every_steps=2"])
    assert sorted(path.parent.name for path in (tmp_path / "runs").glob("*/*/record.json")) == [
        "base", "grpo-s0", "grpo-s0-learning_rate-3e-4", "grpo-s0-pairs",
    ]  # fmt: skip
    assert snapshot(tmp_path / "runs/micro/base") == base
    page = (tmp_path / "runs/micro/index.html").read_text()
    assert page.count("learning_rate-3e-4") and page.count("pairs")
