"""What counts as diverged, and that it is recorded and never scored."""

from __future__ import annotations

import json

import pytest

from benchmarks.errors import Failure
from benchmarks.records.schema import Record, read_record
from benchmarks.runs.divergence import collapse, not_finite
from benchmarks.runs.overview import DIVERGED, state_of
from benchmarks.tasks.countdown import SIZES
from tests.benchmarks.micro import cell, snapshot

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}


@pytest.mark.parametrize(
    "accuracies, rows, collapsed",
    [
        ([0.25] * 10 + [0.0] * 10, 8, True),  # 20 expected of 80, none seen
        ([0.25] * 10 + [0.0] * 9 + [0.01], 8, False),  # one right one
        ([0.25] * 10 + [0.0] * 10, 7, False),  # 17.5 expected: too few to tell
        ([0.25] * 9 + [0.0] * 10, 800, False),  # the windows overlap
        ([0.0] * 40, 800, False),  # it never solved anything
        ([0.3] * 40, 800, False),
    ],
)
def test_collapse(accuracies, rows, collapsed):
    assert (collapse(accuracies, rows) is not None) == collapsed


def test_a_note_that_is_damaged(tmp_path):
    (tmp_path / "diverged.json").write_text("{}")
    with pytest.raises(Failure, match=r"diverged\.json is damaged"):
        not_finite(tmp_path)


@pytest.mark.slow
def test_numbers_that_are_not_finite(monkeypatch, tmp_path):
    monkeypatch.setitem(SIZES, "train", 64)
    run = cell(tmp_path, changes=SCRIPTED | {"training.learning_rate": 1e30})
    record = run.run()
    assert record == read_record(run.folder / "record.json")
    assert record.training is not None and record.diverged and not record.valid
    assert (record.evaluations, record.gap, record.training.stopped_by) == ({}, {}, "diverged")
    assert "not finite" in (record.training.diverged_because or "") or "nan" in (record.training.diverged_because or "")
    assert record.training.steps > 0 and record.training.tokens > 0
    state = state_of(run.folder)
    assert state.state == DIVERGED and state.said == record.training.diverged_because
    before = snapshot(tmp_path)
    assert run.run() == record and snapshot(tmp_path) == before, "it is not tried again"


@pytest.mark.slow
def test_a_collapsed_policy(monkeypatch, tmp_path):
    """Its log says so; nothing is evaluated."""
    monkeypatch.setitem(SIZES, "train", 64)
    run = cell(tmp_path, changes=SCRIPTED)
    run.base.run()
    run.training.run()
    lines = [{"step": i + 1, "accuracy": 0.9 if i < 10 else 0.0} for i in range(20)]
    (run.folder / "train" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = run.run()
    assert record.diverged and not record.evaluations and not (run.folder / "eval").exists()
    assert "none of the last 80 completions is right" in (record.training.diverged_because or "")
    assert record.training.steps == 2


@pytest.mark.slow
def test_a_diverged_record_has_no_score(monkeypatch, tmp_path):
    monkeypatch.setitem(SIZES, "train", 64)
    run = cell(tmp_path, algorithm="base", changes=SCRIPTED)
    base = run.run()
    trained = {"steps": 1, "updates": 1, "completions": 1, "tokens": 1, "seconds": {}, "peak_memory_bytes": None}
    spent = {"completions": 0, "tokens": 0}
    data = base.to_json() | {
        "cell": {**base.to_json()["cell"], "algorithm": "grpo", "seed": 0}, "gap": {},
        "training": {**trained, "discarded": spent, "greedy": spent, "diverged": True},
    }  # fmt: skip
    with pytest.raises(ValueError, match="a training that diverged is not scored"):
        Record.model_validate(data)
