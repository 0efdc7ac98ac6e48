"""The grid: which cells run, and what is said of one that fails."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.records.schema import read_record
from benchmarks.runs import status
from benchmarks.runs.grid import GridRun, _Watch
from benchmarks.runs.grid_plan import plan
from benchmarks.runs.overview import overview
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import load
from tests.benchmarks.micro import snapshot, write

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}


def grid(monkeypatch, tmp_path: Path, launcher: str, algorithms: str, *more: str) -> int:
    suite = write(tmp_path, SCRIPTED | {"training.algorithms": {"rloo": {"nonsense": 1}}})
    arguments = ["--suite", suite, "--out", tmp_path / "runs", "--launcher", launcher, "--algos", algorithms]
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "grid", "--quiet", *map(str, arguments), *more])
    return program._run()


@pytest.mark.slow
def test_a_failing_cell_is_listed_and_the_others_go_on(monkeypatch, capsys, tmp_path):
    assert grid(monkeypatch, tmp_path, "inprocess", "rloo grpo") == 1
    said = capsys.readouterr()
    failed, last = said.err.splitlines()[-2:]
    assert failed.startswith("failed: rloo-s0: ") and "no setting 'nonsense'" in failed
    assert last == "rlvr-gap: 1 of 3 cells failed."
    runs = tmp_path / "runs" / "micro"
    assert {path.parent.name for path in runs.glob("*/record.json")} == {"base", "grpo-s0"}
    assert (runs / "index.html").exists() and "grpo" in said.out

    before = {name: snapshot(runs / name) for name in ("base", "grpo-s0")}
    assert grid(monkeypatch, tmp_path, "inprocess", "rloo grpo") == 1
    assert {name: snapshot(runs / name) for name in before} == before


@pytest.mark.slow
def test_cells_in_processes_of_their_own(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("benchmarks.cli.results.show", lambda *_: None)
    assert grid(monkeypatch, tmp_path, "local", "rloo") == 1
    runs = tmp_path / "runs" / "micro"
    assert read_record(runs / "base" / "record.json").valid
    failed = capsys.readouterr().err.splitlines()[-2]
    assert (
        f"failed: rloo-s0: exit code 2, {runs / 'logs' / 'rloo-s0.log'}: " in failed
        and "no setting 'nonsense'" in failed
    )
    assert os.linesep not in failed and (runs / "logs" / "base.log").read_text().startswith(
        "$ rlvr-gap bench --algo base"
    )


@pytest.mark.slow
def test_a_full_disk_fails_a_cell_and_the_same_command_goes_on(monkeypatch, capsys, tmp_path):
    """A file of more than a megabyte cannot be written: so no checkpoint can, but the base's samples can."""
    monkeypatch.setattr("benchmarks.cli.results.show", lambda *_: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        assert grid(monkeypatch, tmp_path, "inprocess", "grpo") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "failed: grpo-s0: cannot write the training in" in capsys.readouterr().err
    runs = tmp_path / "runs"
    assert {state.cell: state.state for state in overview(runs)} == {"base": "done", "grpo-s0": "failed"}
    assert grid(monkeypatch, tmp_path, "inprocess", "grpo") == 0
    assert {state.state for state in overview(runs)} == {"done"}


@pytest.mark.slow
def test_a_damaged_record_is_a_failed_cell(monkeypatch, capsys, tmp_path):
    assert grid(monkeypatch, tmp_path, "inprocess", "base") == 0
    path = tmp_path / "runs" / "micro" / "base" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"evaluations": 7}))
    capsys.readouterr()
    assert grid(monkeypatch, tmp_path, "inprocess", "base") == 1
    failed, last = capsys.readouterr().err.splitlines()[-2:]
    assert failed.startswith(f"failed: base: {path}") and last == "rlvr-gap: 1 of 1 cells failed."


def test_an_unknown_launcher_is_said_before_anything_is_done(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "grid", "--launcher", "slrum", "--out", str(tmp_path), "--dry-run"])
    assert program._run() == 2
    assert "unknown launcher 'slrum'. Did you mean 'slurm'?" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_finished_cell_has_no_status_whoever_finished_it(monkeypatch, capsys, tmp_path):
    assert grid(monkeypatch, tmp_path, "inprocess", "base") == 0
    suite = load(str(tmp_path / "micro.yaml"))
    run = GridRun(plan(suite, ["base"], ["0"], Place(tmp_path / "runs")), [], say=lambda line: None)
    (cell,) = run.cells
    assert cell.is_done
    watch = _Watch(run, {cell.name: cell}, {})  # somebody has finished it since this grid was planned
    watch.started(run.task(cell, []))
    assert not (cell.run.folder / status.FILE).exists()
    status.write_status(cell.run.folder, status.Status(status.RUNNING))  # its process was killed just before its end
    assert grid(monkeypatch, tmp_path, "inprocess", "base") == 0
    assert not (cell.run.folder / status.FILE).exists()


def test_jobs_are_the_array_limit_on_a_cluster(monkeypatch, capsys, tmp_path):
    arguments = ["--suite", str(write(tmp_path, SCRIPTED)), "--out", str(tmp_path / "runs"), "--launcher", "slurm"]
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "grid", *arguments, "--algos", "grpo", "--jobs", "3", "--dry-run"])
    assert program._run() == 0
    said = capsys.readouterr().out
    assert "array_parallelism=3" in said and "grpo-s0: after base" in said and not (tmp_path / "runs").exists()


def test_cells_are_told_settings_that_no_result_depends_on(monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr(GridRun, "run", lambda run, queue: (told.extend(run.options), ([], {}))[1])
    assert grid(monkeypatch, tmp_path, "inprocess", "grpo", "--set", "training.keep_steps=[1]") == 0
    assert told[-2:] == ["--set", "training.keep_steps=[1]"]


def test_a_folder_that_cannot_be_written(monkeypatch, capsys, tmp_path):
    (tmp_path / "runs").write_text("mine")
    assert grid(monkeypatch, tmp_path, "inprocess", "grpo") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and str(tmp_path / "runs") in said[0] and "Not a directory" in said[0]


@pytest.mark.slow
def test_variants_share_a_base_and_a_changed_suite_has_a_folder_of_its_own(monkeypatch, capsys, tmp_path):
    out = tmp_path / "runs"
    for in_suite, changes in ({}, ["training.learning_rate=2e-3,3e-3"]), ({"evaluation.k": 4}, []):
        suite = write(tmp_path, SCRIPTED | in_suite)
        arguments = ["--suite", suite, "--out", out, "--launcher", "inprocess", "--algos", "grpo"]
        arguments += [part for change in changes for part in ("--set", change)]
        monkeypatch.setattr(sys, "argv", ["rlvr-gap", "grid", *map(str, arguments)])
        assert program._run() == 0
        said = capsys.readouterr()
    (other,) = [path for path in out.iterdir() if path.name != "micro"]
    assert f"{out / 'micro'} belongs to another suite of this name: this one's runs go to {other}" in said.err
    cells = {path.parent.name: read_record(path) for path in (out / "micro").glob("*/record.json")}
    assert set(cells) == {"base", "grpo-s0-learning_rate-2e-3", "grpo-s0-learning_rate-3e-3"}
    assert {record.suite.hash for record in cells.values()} == {cells["base"].suite.hash}
    assert {record.cell.variant for record in cells.values()} == {None, "learning_rate-2e-3", "learning_rate-3e-3"}
    assert {path.parent.name for path in other.glob("*/record.json")} == {"base", "grpo-s0"}
    assert read_record(other / "base" / "record.json").suite.hash != cells["base"].suite.hash
    assert "Kept apart" not in (out / "micro" / "index.html").read_text()
