"""A run graded anew: its record follows its verdicts, the base goes first, and nothing is lost on the way."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import Record, read_record
from benchmarks.verifiers import Verdict
from benchmarks.verifiers.countdown import CountdownVerifier
from tests.benchmarks.micro import snapshot, write

MODEL = Path(__file__).parents[3] / "benchmarks" / "base_models" / "countdown"
SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.75}}}


@pytest.fixture
def cli(monkeypatch, capsys):
    """Calls the program in this process; returns (exit code, what was said)."""
    monkeypatch.setattr("benchmarks.cli.results.show", lambda *_: None)

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rlvr-gap", *map(str, arguments)])
        capsys.readouterr()
        code = program._run()
        return code, "".join(capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """runs/micro with a base and a model that is measured from it: 4 problems, rounds 2, 4, 8, a stop at 2."""
    folder = tmp_path_factory.mktemp("made")
    options = ["--suite", str(write(folder, SCRIPTED)), "--out", str(folder / "runs"), "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.cli.results.show", lambda *_: None)
        program.run(["bench", "--algo", "base", *options])
        program.run(["evaluate", str(MODEL), "--name", "x", *options])
    return folder


@pytest.fixture
def runs(made, tmp_path) -> Path:
    """The same, for one test to change."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "micro"


@pytest.fixture
def verifier(monkeypatch):
    """Another version of the verifier, which says the same of everything."""

    def change(says: Verdict) -> None:
        monkeypatch.setattr(CountdownVerifier, "VERSION", CountdownVerifier.VERSION + 1)
        monkeypatch.setattr(CountdownVerifier, "verify", lambda *_: says)

    return change


def record(folder: Path) -> Record:
    """The record, after a look at whether its counts are its own."""
    found = read_record(folder / "record.json")
    for evaluation in found.evaluations.values():
        read_evaluated(evaluation, folder)
    return found


def test_the_base_and_then_what_is_measured_from_it(cli, runs, verifier, tmp_path):
    """All are right now: every problem stops at 2 of 2, pass@8 of the base and pass@1 of the model are 1."""
    old, old_base = record(runs / "model-x"), record(runs / "base")
    verifier(Verdict.CORRECT)
    version = CountdownVerifier.VERSION
    before = snapshot(runs)
    code, said = cli("evaluate", runs / "model-x", "--regrade", "--quiet")
    assert code == 1 and f"the base was graded by version {version - 1}" in said and said.count("\n") == 1
    assert f"rlvr-gap evaluate {runs / 'base'} --regrade" in said
    assert snapshot(runs) == before

    code, said = cli("evaluate", runs / "base", "--regrade", "--quiet")
    assert code == 0 and f"test: {old_base.evaluations['test'].verdicts.wrong} verdicts changed" in said
    assert "gaps of these runs come from the old verdicts" in said and f"    {runs / 'model-x'}\n" in said
    base = record(runs / "base")
    assert base.evaluations["test"].verdicts.model_dump() == {"correct": 8, "wrong": 0, "truncated": 0, "error": 0}
    assert base.evaluations["test"].versions.verifier == version and base.gap is None
    assert (base.spec_hash, base.cell, base.suite) == (old_base.spec_hash, old_base.cell, old_base.suite)
    assert base.provenance.started == old_base.provenance.started
    assert base.settings["suite"] == old_base.settings["suite"] and "regraded" in base.settings

    assert cli("evaluate", runs / "model-x", "--regrade", "--quiet")[0] == 0
    new = record(runs / "model-x")
    assert new.gap is not None and (new.gap["test"].gap, new.gap["test"].base_pass_at_k) == (0, 1)
    assert old.gap is not None and new.gap["test"] != old.gap["test"]

    after = snapshot(runs)
    suite = tmp_path / "micro.yaml"
    assert cli("bench", "--algo", "base", "--suite", suite, "--out", tmp_path / "runs", "--quiet")[0] == 0
    assert snapshot(runs) == after, "the cell is done: its spec is what it was"


def test_nothing_changed_is_nothing_stale(cli, runs):
    before = record(runs / "base").evaluations["test"]
    code, said = cli("evaluate", runs / "base", "--regrade", "--quiet")
    assert (code, said) == (0, "test: 0 verdicts changed\n")
    assert record(runs / "base").evaluations["test"].verdicts == before.verdicts


def test_more_samples_where_the_verdicts_ask_for_them(cli, runs, verifier):
    """Nothing is right now, so every problem goes on to 8: the base draws from its own model."""
    sampled = record(runs / "base").evaluations["test"].completions
    assert sampled < 32 > record(runs / "model-x").evaluations["test"].completions
    verifier(Verdict.WRONG)
    code, said = cli("evaluate", runs / "base", "--regrade", "--quiet")
    assert code == 0 and f"{32 - sampled} more drawn" in said
    assert record(runs / "base").evaluations["test"].verdicts.wrong == 32

    before = snapshot(runs / "model-x")
    code, said = cli("evaluate", runs / "model-x", "--regrade", "--quiet")
    assert code == 1 and "more samples of" in said and "choose a --model" in said
    assert snapshot(runs / "model-x") == before
    assert cli("evaluate", runs / "model-x", "--regrade", "--quiet", "--model", MODEL)[0] == 0
    assert record(runs / "model-x").evaluations["test"].verdicts.wrong == 32


def test_killed_before_the_record(cli, runs, verifier, monkeypatch):
    """The old record stays; what reads its counts says that they are not its own; the same command goes on."""
    verifier(Verdict.CORRECT)
    old = (runs / "base" / "record.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.runs.regrade_run.write_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli("evaluate", runs / "base", "--regrade", "--quiet")[0] == 130
    assert (runs / "base" / "record.json").read_bytes() == old
    assert cli("evaluate", runs / "model-x", "--regrade", "--quiet")[0] == 1
    assert cli("evaluate", runs / "base", "--regrade", "--quiet")[0] == 0
    assert record(runs / "base").evaluations["test"].verdicts.correct == 8


def test_damage_is_said_before_anything_is_changed(cli, runs, verifier):
    verifier(Verdict.CORRECT)
    counts = runs / "base" / "eval" / "test" / "counts.jsonl"
    counts.write_text(counts.read_text().replace('"n": ', '"n": 1'))
    before = snapshot(runs)
    code, said = cli("evaluate", runs / "base", "--regrade", "--quiet")
    assert code == 1 and f"{counts} is damaged" in said
    assert snapshot(runs) == before


def test_what_is_no_run(cli, runs, tmp_path):
    def refused(*arguments: object) -> str:
        code, said = cli("evaluate", *arguments, "--regrade", "--quiet")
        assert said.count("\n") == 1
        return f"{code} {said}"

    assert refused(MODEL).startswith("2 ") and "is not the folder of a run" in refused(MODEL)
    assert "2 " in refused(runs / "base", "--n", 8) and "keep their design" in refused(runs / "base", "--n", 8)
    assert "Did you mean 'test'" in refused(runs / "base", "--dataset", "tset")
    shutil.copytree(runs / "base", tmp_path / "copy")
    (tmp_path / "copy" / "record.json").unlink()
    assert refused(tmp_path / "copy").startswith("1 ") and "finish the run first" in refused(tmp_path / "copy")
    data = json.loads((runs / "base" / "record.json").read_text())
    data["imported"] = {"source": "arXiv:0", "format": "counts"}
    (tmp_path / "copy" / "record.json").write_text(json.dumps(data))
    assert "2 " in refused(tmp_path / "copy") and "no completions to grade" in refused(tmp_path / "copy")


def test_the_base_is_gone(cli, runs):
    shutil.rmtree(runs / "base")
    code, said = cli("evaluate", runs / "model-x", "--regrade", "--quiet")
    assert code == 1 and "no record of this suite to measure the gap from" in said
