"""A study from its first trial to its presets, in one process; and a training that pauses at a share of its budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engines.identity import identify
from benchmarks.files import file_sha256
from benchmarks.progress import Progress
from benchmarks.runs.run_folder import Place
from benchmarks.suites import schema
from benchmarks.sweeps.plan import StudyPlan
from benchmarks.sweeps.summary import summarise
from benchmarks.sweeps.worker import Worker, create_study
from tests.benchmarks.micro import cell
from tests.sweeps.tiny import suite

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_problems")]


@pytest.fixture(scope="module")
def few_problems():
    from benchmarks.tasks.countdown import SIZES

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "train", 64)
        yield


@pytest.fixture(scope="module")
def plan(tmp_path_factory, few_problems) -> StudyPlan:
    folder = tmp_path_factory.mktemp("study")
    loaded = schema.load(str(suite(folder, trials=3, tokens=900)))
    made = StudyPlan(loaded, "grpo", Place(folder / "runs", workers=1, progress=Progress(quiet=True)))
    Worker(made, create_study(made, "")).run()
    return made


def test_a_study_is_complete_and_a_second_worker_finds_nothing_to_do(plan):
    summary = summarise(plan.folder)
    assert (len(summary.trials), summary.count("complete") + summary.count("pruned")) == (3, 3)
    assert summary.default is not None and len(summary.default.repeats) == 2 and len(summary.finalists) == 1
    before = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("record.json")}
    Worker(plan, create_study(plan, "")).run()
    assert {path: path.stat().st_mtime_ns for path in plan.folder.rglob("record.json")} == before


def test_every_trial_has_the_same_budget_and_what_it_spent_is_known(plan):
    summary = summarise(plan.folder)
    assert summary.budget_tokens == 900
    one_step = 2 * 16 * 48  # prompts, the largest group, the longest completion
    for trial in summary.trials:
        assert set(trial.rungs) <= {25, 50} and trial.tokens > 0 and trial.seed == 0
        if trial.state == "complete":
            assert 900 <= trial.tokens < 900 + one_step, "a budget ends with the step that reaches it"


def test_settings_of_a_trial_follow_from_its_number(plan):
    import optuna

    study = optuna.load_study(study_name=plan.name, storage=f"sqlite:///{plan.folder / 'study.db'}")
    drawn = [trial.params for trial in study.get_trials()]
    assert len({str(sorted(one.items())) for one in drawn}) == 3, "no two of them are the same"
    assert set(drawn[0]) == set(plan.axes)


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_a_training_that_pauses_ends_as_one_that_does_not(tmp_path, algorithm):
    changes = {"training.budget": {"steps": 4}}
    straight, paused = (cell(tmp_path / name, algorithm, changes=changes) for name in ("straight", "paused"))
    for one in (straight, paused):
        one.folder.mkdir(parents=True)
        one.claim(one.question(identify(one.suite.base_path)))
    straight.training.run()
    for share in (0.25, 0.5, 0.25):  # the last one is behind it already
        assert paused.training.run(until=share) is None
    log = paused.training.train_folder / "log.jsonl"
    assert len(log.read_text().splitlines()) == 2, "it paused in the middle"
    assert paused.training.run() is not None
    for name in ("final/model.safetensors", "log.jsonl"):
        files = [one.training.train_folder / name for one in (straight, paused)]
        assert file_sha256(files[0]) == file_sha256(files[1]), name


def test_the_policy_so_far_is_the_checkpoint_where_it_paused(tmp_path: Path):
    one = cell(tmp_path, changes={"training.budget": {"steps": 4}})
    one.folder.mkdir(parents=True)
    one.claim(one.question(identify(one.suite.base_path)))
    policy, cost = one.training.so_far(one.training.run(until=0.5))
    assert (policy.name, cost.steps) == ("checkpoint-4", 2)  # two updates a step
