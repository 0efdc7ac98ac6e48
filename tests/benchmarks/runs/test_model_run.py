"""Evaluating a model that we did not train: what other datasets gave stays, and nothing is measured twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import Failure
from benchmarks.records.schema import read_record
from benchmarks.runs.model_run import ModelRun
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import BASE_MODELS, parse
from tests.benchmarks.micro import data

BASE = str(BASE_MODELS / "countdown")
TWO = {
    "engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}},
    "evaluation.datasets.other": {"task": "countdown", "split": "validation", "problems": 4},
}


def evaluate(out: Path, *datasets: str, **changes: object) -> ModelRun:
    run = ModelRun(parse(data(TWO | changes)), BASE, Place(out), name="own", datasets=datasets)
    run.run()
    return run


def test_another_dataset_joins_the_record(tmp_path):
    run = evaluate(tmp_path, "test")
    first = read_record(run.folder / "record.json").evaluations["test"]
    evaluate(tmp_path, "other")
    evaluations = read_record(run.folder / "record.json").evaluations
    assert set(evaluations) == {"test", "other"} and evaluations["test"] == first


def test_a_finished_record_is_left_as_it_is(tmp_path):
    run = evaluate(tmp_path)
    before = (run.folder / "record.json").read_bytes()
    evaluate(tmp_path, "test")
    assert (run.folder / "record.json").read_bytes() == before


def test_another_suite_in_the_same_folder_is_refused(tmp_path):
    evaluate(tmp_path)
    with pytest.raises(Failure, match="another suite or model"):
        evaluate(tmp_path, **{"evaluation.sampling.temperature": 0.5})
