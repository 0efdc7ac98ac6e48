"""More samples for lost problems: which they are, that the run is not touched, interruption, and a larger bound."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation import completions
from benchmarks.runs import unsolved_run
from benchmarks.runs.regrade_run import RunFolder
from benchmarks.runs.run_folder import Place
from benchmarks.runs.unsolved_run import checkpoints, draw_for_unsolved, lost, upper_limit
from benchmarks.statistics.counts import Counts, read_counts
from benchmarks.statistics.designs import FixedDesign
from benchmarks.tasks.countdown import SIZES
from tests.benchmarks.micro import MICRO, cell, snapshot

HARD = {
    "evaluation.datasets.test.problems": 12,
    "evaluation.design": {"rounds": [4, 8], "stop_after": 1, "stop_on": "sound"},
    "evaluation.sampling.max_new_tokens": 64,
    "engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.1, "sound": 0.5}},
}
"""One sample in ten is right, one in twenty sound: the base solves what the trained model does not, by luck."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "train", MICRO["training"]["dataset"]["problems"])
        run = cell(tmp_path_factory.mktemp("hard"), changes=HARD)
        run.run()
    return run.folder


@pytest.fixture
def run(finished, tmp_path) -> RunFolder:
    shutil.copytree(finished.parent, tmp_path / "micro")
    return RunFolder.read(tmp_path / "micro" / finished.name)


def test_lost_problems():
    def side(c: list[int]) -> Counts:
        return Counts(tuple("abcd"), np.full(4, 8), np.array(c), FixedDesign(8))

    assert lost(side([1, 0, 8, 2]), side([0, 0, 3, 0])) == ["a", "d"]


def test_each_round_doubles_the_samples():
    assert list(checkpoints(256, 4096)) == [(256, 512), (512, 1024), (1024, 2048), (2048, 4096)]
    assert list(checkpoints(8, 20)) == [(8, 16), (16, 20)] and list(checkpoints(8, 8)) == []


def test_upper_limit_by_hand():
    assert upper_limit(1, 0.95) == pytest.approx(0.95)  # one wrong sample: 1 - p = 0.05
    assert (1 - upper_limit(3840, 0.95)) ** 3840 == pytest.approx(0.05)


@pytest.mark.parametrize("verdict", ["answer", "sound"])
def test_what_is_drawn_and_what_came_of_it(run, verdict):
    before = snapshot(run.folder)
    found = draw_for_unsolved(run, "test", 32, Place(), verdict)
    base, trained = (
        read_counts(folder / "eval/test/counts.jsonl").judged_by(verdict) for folder in (run.base_folder, run.folder)
    )
    asked = lost(base, trained)
    assert asked and sorted([*found.solved, *found.unsolved]) == sorted(asked)
    assert all(8 < at <= 32 for at in found.solved.values())
    for problem_id, at in found.solved.items():
        drawn = samples(run.folder / "unsolved" / verdict / "test", problem_id, verdict)
        assert drawn.index(True) + 9 == at
        assert len(drawn) == (8 if at <= 16 else 24)  # it stops at the end of the round that solved it
    for problem_id in found.unsolved:
        assert samples(run.folder / "unsolved" / verdict / "test", problem_id, verdict) == [False] * 24
    assert found.upper_limit == (pytest.approx(1 - 0.05 ** (1 / 24)) if found.unsolved else None)
    stored = json.loads((run.folder / "unsolved" / verdict / "test" / "unsolved.json").read_text())
    assert (stored["solved"], stored["unsolved"]) == (found.solved, list(found.unsolved))
    assert {name: state for name, state in snapshot(run.folder).items() if name in before} == before


def samples(folder: Path, problem_id: str, verdict: str) -> list[bool]:
    """Whether each further sample of the problem is correct, in their order."""
    found = []
    for file in (folder / f"to-{target}/completions.parquet" for target in (16, 32)):
        rows = [row for table in completions.read_tables(file) for row in table.to_pylist()] if file.exists() else []
        mine = [row for row in rows if row["problem_id"] == problem_id]
        found += [row["verdict"] == "correct" and (verdict == "answer" or row["chain"]) for row in mine]
    return found


def test_the_samples_are_new(run):
    """Not those of the evaluation again, whose stream has other seeds."""
    draw_for_unsolved(run, "test", 16, Place())
    files = run.folder / "eval/test/completions.parquet", run.folder / "unsolved/answer/test/to-16/completions.parquet"
    old, new = (
        {text for table in completions.read_tables(file) for text in table["text"].to_pylist()} for file in files
    )
    random = {
        text for text in new if text.startswith("0.")
    }  # wrong answers of the scripted engine hold a random number
    assert random and not random & old


def test_a_second_call_draws_nothing_and_a_larger_bound_goes_on(run, tmp_path):
    whole = draw_for_unsolved(RunFolder.read(copy(run, tmp_path)), "test", 32, Place(), "sound")
    first = draw_for_unsolved(run, "test", 16, Place(), "sound")
    before = snapshot(run.folder / "unsolved/sound/test/to-16")
    assert draw_for_unsolved(run, "test", 16, Place(), "sound") == first and first.unsolved
    assert draw_for_unsolved(run, "test", 32, Place(), "sound") == whole
    assert snapshot(run.folder / "unsolved/sound/test/to-16") == before


def test_an_interrupted_call_ends_as_one_that_was_not(run, tmp_path, monkeypatch):
    whole = draw_for_unsolved(RunFolder.read(copy(run, tmp_path)), "test", 32, Place())
    with monkeypatch.context() as patch:
        patch.setattr(unsolved_run, "_first_successes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            draw_for_unsolved(run, "test", 32, Place())
    assert not (run.folder / "unsolved/answer/test/unsolved.json").exists()
    assert draw_for_unsolved(run, "test", 32, Place()) == whole


def copy(run: RunFolder, tmp_path: Path) -> Path:
    shutil.copytree(run.folder.parent, tmp_path / "other")
    return tmp_path / "other" / run.folder.name


def test_a_regrade_and_the_page_do_not_see_it(run):
    draw_for_unsolved(run, "test", 16, Place())
    assert RunFolder.read(run.folder).regrade(Place()).record.evaluations == run.record.evaluations


def test_what_cannot_be_asked(run, tmp_path):
    with pytest.raises(UsageError, match="--up-to 4 is below the 8 samples"):
        draw_for_unsolved(run, "test", 4, Place())
    with pytest.raises(UsageError, match=r"unknown dataset of .* 'tset'\. Did you mean 'test'"):
        draw_for_unsolved(run, "tset", 16, Place())
    with pytest.raises(UsageError, match="expected the run of a trained model"):
        draw_for_unsolved(RunFolder.read(run.base_folder), "test", 16, Place())
    shutil.rmtree(run.base_folder)
    with pytest.raises(Failure, match="has no record of this suite"):
        draw_for_unsolved(run, "test", 16, Place())


def test_the_command(run, monkeypatch, capsys):
    found = draw_for_unsolved(run, "test", 16, Place())
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "unsolved", str(run.folder), "--up-to", "16", "--quiet"])
    assert program._run() == 0
    shown = capsys.readouterr().out.splitlines()
    total = len(found.solved) + len(found.unsolved)
    assert shown[0] == f"test: {total} problems solved by the base and not in 8 samples of {run.folder.name}"
    assert shown[1] == f"  solved within 16 samples: {len(found.solved)}"
    assert shown[2].startswith(f"  still unsolved after 16: {len(found.unsolved)}")
