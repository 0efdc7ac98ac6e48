"""A suite whose training was edited uses the evaluation of the base that there is: it samples nothing again."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engines.pool import EnginePool
from benchmarks.records.schema import read_record
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.run_folder import Place
from benchmarks.suites import schema
from tests.benchmarks.micro import write

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}
EDITED = {**SCRIPTED, "training.learning_rate": 3.0e-4}


def base(folder: Path, out: Path, changes: dict[str, object]) -> CellRun:
    folder.mkdir(exist_ok=True)
    return CellRun(schema.load(str(write(folder, changes))), "base", 0, Place(out))


@pytest.fixture
def out(tmp_path) -> Path:
    """Runs that hold the base of the suite before it was edited."""
    base(tmp_path / "first", tmp_path / "runs", SCRIPTED).run()
    return tmp_path / "runs"


def written(cell: CellRun) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(cell.folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted((cell.folder / "eval").rglob("*"))
        if path.is_file()
    }


def test_an_edited_training_samples_no_base_again(tmp_path, out, monkeypatch):
    edited = base(tmp_path / "second", out, EDITED)
    first = base(tmp_path / "first", out, SCRIPTED)
    assert edited.folder != first.folder

    def no_engine(*_: object) -> None:
        raise AssertionError("it samples")

    monkeypatch.setattr(EnginePool, "submit", no_engine)
    record = edited.run()
    assert {name: text for name, (text, _) in written(edited).items()} == {
        name: text for name, (text, _) in written(first).items()
    }
    assert record.suite.hash == edited.suite.hash != first.suite.hash
    assert record.evaluations == read_record(first.folder / "record.json").evaluations
    assert not list(edited.folder.glob(".eval*")), "no draft is left"


@pytest.mark.parametrize(
    "changes", [{"evaluation.design": {"rounds": [3]}, "evaluation.k": 3}, {"prompt_template": "qwen-boxed"}]
)
def test_an_edited_evaluation_has_a_base_of_its_own(tmp_path, out, changes):
    first = base(tmp_path / "first", out, SCRIPTED)
    edited = base(tmp_path / "second", out, {**SCRIPTED, **changes})
    edited.run()
    assert edited.folder != first.folder
    assert {name: text for name, (text, _) in written(edited).items()} != {
        name: text for name, (text, _) in written(first).items()
    }


def test_an_unfinished_or_damaged_base_offers_nothing(tmp_path, out):
    first = base(tmp_path / "first", out, SCRIPTED)
    (first.folder / "record.json").write_text("{")
    edited = base(tmp_path / "second", out, EDITED)
    assert edited.run().evaluations["test"].n_problems == 4
    (first.folder / "record.json").unlink()
    third = base(tmp_path / "third", out, {**SCRIPTED, "training.learning_rate": 1.0e-5})
    (edited.folder / "spec.json").write_text("{")
    assert third.run().evaluations["test"].n_problems == 4
