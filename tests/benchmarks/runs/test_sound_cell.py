"""A suite that rewards sound chains and stops on them: what training is told, the record, its re-grade, the gap."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.engines.scripted import answer
from benchmarks.errors import UsageError
from benchmarks.records.schema import read_record
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.model_run import adapted
from benchmarks.runs.regrade_run import RunFolder
from benchmarks.runs.run_folder import Place
from benchmarks.statistics.counts import read_counts
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.suites.schema import DesignSpec, parse, with_changes
from leaderboards.terminal import report
from tests.benchmarks.micro import cell, data

SOUND = {
    "training.reward": "sound",
    "evaluation.design.stop_on": "sound",
    "evaluation.base_design": {"rounds": [4, 16], "stop_after": 2, "stop_on": "sound"},
    "evaluation.sampling.max_new_tokens": 64,
    "engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5, "sound": 0.5}},
}
COUNTS = "eval/test/counts.jsonl"
pytestmark = pytest.mark.usefixtures("few_problems")


@pytest.fixture(scope="module")
def done(tmp_path_factory, few_problems) -> CellRun:
    run = cell(tmp_path_factory.mktemp("sound"), changes=SOUND)
    run.run()
    return run


@pytest.mark.parametrize(
    ("reward", "expected"), [("answer", [True, True, False, None]), ("sound", [True, False, False, None])]
)
def test_what_training_is_told(tmp_path, monkeypatch, reward, expected):
    """A right answer with its chain, one without, a wrong one, and one that crashes the verifier."""
    from benchmarks.verifiers.countdown import CountdownVerifier

    training = cell(tmp_path, changes={"training.reward": reward}).training
    problem, judge = training.suite.training.dataset.load()[0], CountdownVerifier.verify
    texts = [answer(problem.prompt, with_chain=True), answer(problem.prompt), "no", "crash"]
    monkeypatch.setattr(
        CountdownVerifier, "verify", lambda self, problem, text, finished=True: 1 / 0 if text == "crash"
        else judge(self, problem, text, finished),
    )  # fmt: skip
    assert training.spec(None).verify([0] * 4, texts, [True] * 4) == expected


def test_the_reward_and_the_stop_are_part_of_the_hash():
    suites = [parse(data(changes)) for changes in ({}, {"training.reward": "sound"}, SOUND)]
    assert len({suite.hash for suite in suites}) == 3
    assert with_changes(suites[1], ["training.reward=answer"]).hash == suites[0].hash


def test_another_design_stops_on_the_same():
    suite = parse(data(SOUND))
    found = adapted(suite, n=64).evaluation
    assert found.design == DesignSpec(rounds=(16, 32, 64), stop_after=4, stop_on="sound")
    assert found.base_design is None
    assert adapted(suite, design="fixed").evaluation.design == DesignSpec(rounds=(8,))


def test_the_record_has_the_gap_by_both_verdicts_and_each_side_its_design(done):
    record = read_record(done.folder / "record.json")
    base, trained = (read_counts(run.folder / COUNTS) for run in (done.base, done))
    assert (base.design.rounds, trained.design.rounds) == ((4, 16), (2, 4, 8))
    assert record.gap == {"test": sampling_efficiency_gap(base, trained, 8)}
    sound = sampling_efficiency_gap(base.judged_by("sound"), trained.judged_by("sound"), 8)
    assert record.sound_gap == {"test": sound} != record.gap
    assert record.evaluations["test"].sound.pass_at_k[8] == pytest.approx(sound.trained_pass_at_k)
    assert record.settings["suite"]["training"]["reward"] == "sound"
    assert read_record(done.base.folder / "record.json").sound_gap is None


def test_the_table_shows_both(done, capsys):
    from rich.console import Console

    Console(width=100).print(report([read_record(done.folder / "record.json")], {}))
    shown = capsys.readouterr().out
    assert shown.count("sampling efficiency gap") == 2 and "answers under a sound chain" in shown


def test_a_regrade_gives_the_same_record(done):
    before = read_record(done.folder / "record.json")
    after = RunFolder.read(done.folder).regrade(Place()).record
    assert (after.gap, after.sound_gap, after.evaluations) == (before.gap, before.sound_gap, before.evaluations)


def gap(monkeypatch, capsys, *sides: Path, verdict: str) -> tuple[int, str]:
    names = ["--base", str(sides[0]), "--trained", str(sides[1]), "--k", "8"]
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "gap", *names, "--verdict", verdict, "--json"])
    code = program._run()
    output = capsys.readouterr()
    return code, output.out or output.err


def test_the_command_gives_either(done, monkeypatch, capsys):
    sides, record = [done.base.folder / COUNTS, done.folder / COUNTS], read_record(done.folder / "record.json")
    for verdict, expected in (("answer", record.gap), ("sound", record.sound_gap)):
        code, shown = gap(monkeypatch, capsys, *sides, verdict=verdict)
        assert code == 0 and json.loads(shown) == expected["test"].to_json()
    code, shown = gap(monkeypatch, capsys, *sides, verdict="sond")
    assert code == 2 and "unknown verdict 'sond'. Did you mean 'sound'?" in shown


def test_the_command_says_which_file_does_not_tell(done, monkeypatch, capsys, tmp_path):
    plain = tmp_path / "plain.jsonl"
    plain.write_text("".join(f'{{"problem_id": "{i}", "n": 8, "correct": 1}}\n' for i in "ab"))
    code, shown = gap(monkeypatch, capsys, done.base.folder / COUNTS, plain, verdict="sound")
    assert code == 2 and f"{plain}: these counts do not tell sound chains apart" in shown


def test_a_task_without_chains_is_refused(tmp_path):
    wrong = {"training.reward": "sound", "training.dataset": {"task": "gsm8k", "split": "train"}}
    with pytest.raises(UsageError, match=r"training\.reward: expected answer, got 'sound': verifier 'math'"):
        cell(tmp_path, changes=wrong)
