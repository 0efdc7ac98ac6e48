"""Checkpoints that a suite names are evaluated: points of the cell's record, at no second training."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from benchmarks.errors import Failure, UsageError
from benchmarks.records.schema import read_record
from benchmarks.records.training_log import read_training_log
from benchmarks.runs.grid_plan import plan
from benchmarks.runs.regrade_run import RunFolder
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import load, parse
from tests.benchmarks.micro import cell, data, snapshot

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_problems")]


def test_points_of_the_record(tmp_path):
    run = cell(tmp_path, changes=SCRIPTED | {"training.budget": {"steps": 4}, "evaluation.checkpoints": [1, 3]})
    record = run.run()
    assert list(record.points) == [1, 3] and record == read_record(run.folder / "record.json")
    for step, point in record.points.items():
        evaluation = point.evaluations["test"]
        assert evaluation.counts.path == f"points/step-{step}/eval/test/counts.jsonl"
        assert (run.folder / evaluation.counts.path).exists() and point.gap["test"].k == 8
    kept = {path.name for path in run.training.train_folder.glob("checkpoint-*")}
    assert kept == {"checkpoint-2", "checkpoint-6", "checkpoint-8"}

    trained = snapshot(run.folder / "train")
    (run.folder / "record.json").unlink()
    shutil.rmtree(run.folder / "points" / "step-3")
    again = run.run()
    assert snapshot(run.folder / "train") == trained
    for step in (1, 3):
        assert again.points[step].gap == record.points[step].gap
    first = run.folder / "points/step-1/eval/test/result.json"
    assert first.stat().st_mtime < (run.folder / "points/step-3/eval/test/result.json").stat().st_mtime

    graded = RunFolder.read(run.folder).regrade(run.place).record
    assert {s: p.gap for s, p in graded.points.items()} == {s: p.gap for s, p in record.points.items()}


def test_points_are_no_part_of_the_question():
    asked = {"training.budget": {"steps": 4}}
    assert parse(data(asked)).hash == parse(data(asked | {"evaluation.checkpoints": [1, 3]})).hash
    assert load("countdown").hash == "4688df2f7985dbcc"  # that of all published records


def test_a_finished_cell_gets_points_without_training_again(tmp_path):
    """Only the newest checkpoints were kept. That step 1 has none is said before anything is done."""
    four = SCRIPTED | {"training.budget": {"steps": 4}}
    first = cell(tmp_path, changes=four)
    before, trained = first.run(), snapshot(first.folder / "train")
    assert not before.points

    gone = cell(tmp_path, changes=four | {"evaluation.checkpoints": [1, 3]})
    with pytest.raises(Failure, match=r"checkpoint-2 is not there .* has step 1, .* were kept are: 3, 4\. Name one"):
        gone.run()
    assert not (first.folder / "points").exists() and read_record(first.folder / "record.json") == before
    with pytest.raises(UsageError, match=r"has step 9, but training\.budget ends after step 4"):
        cell(tmp_path, changes=four | {"evaluation.checkpoints": [9]}).run()

    asked = four | {"evaluation.checkpoints": [3]}
    (planned,) = (one for one in plan(parse(data(asked)), ["grpo"], ["0"], Place(tmp_path)) if one.name == "grpo-s0")
    assert not planned.is_done
    after = cell(tmp_path, changes=asked).run()
    assert planned.is_done and snapshot(first.folder / "train") == trained
    log = read_training_log(first.folder)
    assert after.points[3].tokens == log[2]["cost/tokens"] < log[3]["cost/tokens"] == before.training.tokens
    assert after.points[3].completions == 3 * 8  # 2 prompts a step, 4 completions of each
    assert after.points[3].provenance is not None
    assert after.settings["suite"]["evaluation"]["checkpoints"] == [3]
    changed = {"points": {}, "settings": before.settings}
    assert after.model_copy(update=changed) == before and after == read_record(first.folder / "record.json")

    again = snapshot(first.folder)
    assert cell(tmp_path, changes=asked).run() == after == first.run()
    assert {file: one for file, one in snapshot(first.folder).items() if file != "spec.json"} == {
        file: one for file, one in again.items() if file != "spec.json"
    }


def test_a_step_that_training_never_reaches(tmp_path):
    run = cell(tmp_path, changes=SCRIPTED | {"evaluation.checkpoints": [1, 3]})
    with pytest.raises(UsageError, match=r"evaluation\.checkpoints has step 3, but training\.budget ends after step 2"):
        run.run()
    assert not (tmp_path / "micro").exists()


def test_sigterm_saves_a_checkpoint_and_the_same_run_goes_on(monkeypatch, tmp_path):
    """Nothing would be saved before the end otherwise; the end is that of a run which was left alone."""
    from algorithms import pause
    from algorithms.train import StepCallback

    longer = SCRIPTED | {"training.budget": {"steps": 4}, "training.save_every_steps": 1000}
    stopped, whole = cell(tmp_path / "stopped", changes=longer), cell(tmp_path / "whole", changes=longer)
    on_step_end = StepCallback.on_step_end

    def terminate(self, args, state, control, **rest):
        if state.global_step == 3:  # in the middle of the second step
            os.kill(os.getpid(), signal.SIGTERM)
        on_step_end(self, args, state, control, **rest)

    with pause.on_sigterm(), monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StepCallback, "on_step_end", terminate)
        stopped.training.run()
    folder = stopped.training.train_folder
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-4"]
    assert not (folder / pause.FILE).exists() and not (folder / "result.json").exists()
    for run in (stopped, whole):
        run.training.run()
    for same in ("final/model.safetensors", "log.jsonl"):
        assert (folder / same).read_bytes() == (whole.training.train_folder / same).read_bytes(), same


def test_sigterm_outside_of_training_interrupts():
    from algorithms import pause

    with pause.on_sigterm(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
