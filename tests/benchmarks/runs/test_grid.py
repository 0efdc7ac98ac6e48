"""The grid: which cells run, and what is said of one that fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.records.schema import read_record
from tests.benchmarks.micro import snapshot, write

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}


def grid(monkeypatch, tmp_path: Path, launcher: str, algorithms: str) -> int:
    suite = write(tmp_path, SCRIPTED | {"training.algorithms": {"rloo": {"nonsense": 1}}})
    arguments = ["--suite", suite, "--out", tmp_path / "runs", "--launcher", launcher, "--algos", algorithms]
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "grid", "--quiet", *map(str, arguments)])
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
    assert f"failed: rloo-s0: exit code 2, {runs / 'rloo-s0.log'}: " in failed and "no setting 'nonsense'" in failed
    assert os.linesep not in failed and (runs / "base.log").read_text().startswith("$ rlvr-gap bench --algo base")
