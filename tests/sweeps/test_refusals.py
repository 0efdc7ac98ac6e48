"""Trials and storages that cannot work: each says why, and a study of nothing else still ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from algorithms.checkpoints import has_reached, last_checkpoint
from benchmarks.engines.identity import identify
from benchmarks.errors import Failure
from benchmarks.progress import Progress
from benchmarks.runs.run_folder import Place
from benchmarks.suites import schema
from benchmarks.sweeps.plan import StudyPlan
from benchmarks.sweeps.storage import open_storage
from benchmarks.sweeps.summary import summarise
from benchmarks.sweeps.worker import Worker, create_study
from tests.benchmarks.micro import cell
from tests.sweeps.tiny import suite


@pytest.fixture(autouse=True)
def few_problems(monkeypatch):
    from benchmarks.tasks.countdown import SIZES

    monkeypatch.setitem(SIZES, "train", 64)


@pytest.mark.slow
def test_a_study_whose_trials_are_all_refused_ends_and_says_why(tmp_path: Path):
    """Two prompts of four completions are not divided by 3 or 5 mini-batches."""
    spaces = {"all": {"group_size": None, "mini_batches_per_step": {"choices": [3, 5]}}}
    loaded = schema.load(str(suite(tmp_path, trials=2, tokens=300, spaces=spaces)))
    plan = StudyPlan(loaded, "grpo", Place(tmp_path / "runs", workers=1, progress=Progress(quiet=True)))
    Worker(plan, create_study(plan, "")).run()
    summary = summarise(plan.folder)
    assert [(trial.state, trial.tokens) for trial in summary.trials] == [("pruned", 0)] * 2
    assert all("refused: " in (trial.reason or "") and "\n" not in (trial.reason or "") for trial in summary.trials)
    assert summary.default is not None and summary.finalists == () and summary.selected is None


@pytest.mark.parametrize("host", ["127.0.0.1:1", "%2Fno%2Fsuch%2Fsocket"])
def test_a_database_that_cannot_be_reached_is_a_line_without_its_password(tmp_path: Path, host: str):
    pytest.importorskip("psycopg")
    with pytest.raises(Failure, match="cannot open postgresql") as error:
        open_storage(f"postgresql+psycopg://me:secret@{host}/none", tmp_path)
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_what_a_checkpoint_has_reached_is_its_share_of_the_tokens(tmp_path: Path):
    one = cell(tmp_path, changes={"training.budget": {"tokens": 1200}})
    one.folder.mkdir(parents=True)
    one.claim(one.question(identify(one.suite.base_path)))
    assert one.training.run(until=0.5) is None
    checkpoint = last_checkpoint(one.training.train_folder)
    tokens = one.training.so_far(None)[1].used("tokens")
    step = 2 * 4 * 48  # prompts, the group, the longest completion
    assert 600 <= tokens < 600 + step, "it paused at the end of the step that reached the share"
    settings, reached = one.training.spec(lambda share, metrics: None).settings, tokens / 1200
    assert has_reached(checkpoint, settings, reached) and has_reached(checkpoint, settings, 0.5)
    assert not has_reached(checkpoint, settings, reached + 1e-6) and not has_reached(checkpoint, settings, 1.0)
