"""What `sweep show` and `sweep export` make of synthetic studies whose answers are known."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.errors import Failure, UsageError
from benchmarks.records.study import Repeat, Setting, Span, StudySummary, Trial, read_summary
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.suites.preset import read as read_preset
from benchmarks.sweeps.finalists import judge
from benchmarks.sweeps.study_files import find_study
from benchmarks.sweeps.summary import summarise
from benchmarks.sweeps.tuned import tuned, tuned_preset
from leaderboards import study_words
from tests.benchmarks.cli.conftest import cli  # noqa: F401 (a fixture)
from tests.leaderboards.factory import draw_counts, write_run
from tests.sweeps.studies import BUDGET, GROUP, NAME, RATE, trial, write_repeats, write_study

PRUNED, FAILED = TrialState.PRUNED, TrialState.FAIL


def ended() -> list[Any]:
    """Twelve trials: nine complete ones, one pruned at 260 tokens, one diverged at 400, one killed twice at 40."""
    rates = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3]
    found = [trial(0.2 + 0.02 * i, rate, rungs={25: 0.1, 50: 0.15}) for i, rate in enumerate(rates)]
    found += [trial(None, state=PRUNED, rungs={25: 0.05}, tokens=260, reason="pruned at 25 %: below the median")]
    found += [trial(None, state=PRUNED, tokens=400, reason="diverged: the loss is not finite")]
    return [*found, trial(None, state=FAILED, tokens=40, reason="its worker died", attempts=[11])]


def test_states_and_cost(tmp_path):
    summary = summarise(write_study(tmp_path, ended()))
    assert [summary.count(state) for state in ("complete", "pruned", "diverged", "failed")] == [9, 1, 1, 1]
    # 9 whole budgets of 1000, and 260 + 400 + 40; saved: 1000 - 260 and 1000 - 400, and nothing for what was killed
    assert (summary.spent.trials, summary.spent.saved) == (9 * BUDGET + 700, 1340)
    assert summary.lucky is not None and summary.lucky.number == 8
    first = summary.trials[0]
    assert first.objective == Span(value=0.8 - 0.2, low=None, high=None), "no record, so no interval"
    assert (first.rungs, first.params) == (pytest.approx({25: 0.1, 50: 0.15}), {RATE: 1e-5, GROUP: 8})
    assert summary.trials[10].reason == "diverged: the loss is not finite" and summary.trials[10].score is None
    assert summary.selected is None and summary.best is None
    # the expected maximum of nine standard normals is 1.48501 (Harter, Biometrika 48, 1961)
    assert "best of 9 equally good settings looks 1.49 standard deviations" in study_words.luck(summary)
    assert study_words.states(summary) == "12 trials: 9 complete, 1 pruned, 1 diverged, 1 failed"


def test_a_summary_is_read_back_and_has_the_same_bytes(tmp_path):
    home = write_study(tmp_path, ended())
    summary = summarise(home)
    text = (home / "summary.json").read_bytes()
    assert read_summary(home / "summary.json") == summary
    summarise(home)
    assert (home / "summary.json").read_bytes() == text
    (home / "summary.json").write_bytes(text[:100])
    with pytest.raises(Failure, match="not a whole JSON file"):
        read_summary(home / "summary.json")


def test_importances_know_the_parameter_that_matters(tmp_path):
    """pass@1 follows the learning rate alone, over 40 trials; the group size is dealt out in turn."""
    trials = [trial(0.2 + 0.01 * i, 1e-5 * 10 ** (i / 20), [4, 8, 16][i % 3]) for i in range(40)]
    summary = summarise(write_study(tmp_path, trials))
    rate, group = summary.parameters
    assert (rate.name, group.name) == (RATE, GROUP) and rate.log and group.choices == ("4", "8", "16")
    assert (rate.importance or 0) > (rate.by_chance or 1) and (group.importance or 1) < (group.by_chance or 0)
    assert (rate.importance or 0) + (group.importance or 0) == pytest.approx(1)
    assert "No more than chance gives: group_size" in study_words.warning(summary)
    assert "few" not in study_words.warning(summary)


def test_few_trials_have_no_importances(tmp_path):
    summary = summarise(write_study(tmp_path, [trial(0.3), trial(0.4)]))
    assert summary.importance_quantile is None and {one.importance for one in summary.parameters} == {None}
    assert study_words.warning(summary) == "2 complete trials are too few for importances."


def test_a_trial_has_the_interval_of_its_record(tmp_path):
    base, counts = {"validation": draw_counts(0.2, 40, seed=1)}, {"validation": draw_counts(0.5, 40, seed=2)}
    gap = sampling_efficiency_gap(base["validation"], counts["validation"], 16)
    score = gap.trained_pass_at_1
    known = {"folder": "trials/trial-0000", "counts": "trials/trial-0000/eval/validation/counts.jsonl"}
    for objective in ("gap", "pass_at_1"):
        home = write_study(tmp_path / objective, [trial(score, objective=objective, **known)], objective)
        write_run(home / "trials", "grpo", counts, base, folder="trial-0000")
        found = summarise(home).trials[0].objective
        assert found is not None and found.low is not None and found.high is not None
        if objective == "gap":
            assert (found.value, found.low, found.high) == (gap.gap, gap.low, gap.high)
        else:
            # the t interval of 40 problems: mean +- 2.0227 (39 degrees of freedom) times sd / sqrt(40)
            share = counts["validation"].c_N / 16
            assert found.high - score == pytest.approx(2.0227 * share.std(ddof=1) / 40**0.5, rel=1e-4)


def test_a_journal_is_read_like_a_database(tmp_path):
    home = write_study(tmp_path, ended())
    stored = optuna.load_study(study_name=NAME, storage=f"sqlite:///{home / 'study.db'}")
    summary = summarise(home)
    storage = JournalStorage(JournalFileBackend(str(home / "study.journal")))
    copy = optuna.create_study(study_name=NAME, storage=storage, directions=stored.directions)
    for one in stored.get_trials():
        copy.add_trial(one)
    (home / "study.db").unlink()
    assert summarise(home) == summary


# ------------------------------------------------------------------------------------------------ fresh seeds


def setting(number: int | None, *scores: float | None) -> Setting:
    repeats = tuple(Repeat(seed=i, score=s, pass_at_k=None, gap=None if s is None else 0.8 - s, tokens=1)
                    for i, s in enumerate(scores))  # fmt: skip
    return Setting(trial=number, changes=(f"{RATE}=0.{number}",) if number else (), repeats=repeats, objective=None)


def scored(number: int, score: float) -> Trial:
    return Trial(number=number, state="complete", params={}, changes=(), seed=0, score=score, pass_at_k=None,
                 objective=None, rungs={}, tokens=1, steps=None, seconds=None, reason=None)  # fmt: skip


def test_fresh_seeds_decide_and_not_the_luckiest_trial() -> None:
    trials = {1: scored(1, 0.60), 2: scored(2, 0.50)}
    judged = judge("gap", setting(None, 0.30, 0.32), [setting(1, 0.31, 0.33), setting(2, 0.49, 0.51)], trials)
    assert judged.selected is not None and judged.selected.winner == 1 and judged.best == 2
    # Trial 1: 0.60 - 0.31 = 0.29 was seen, 0.32 - 0.31 = 0.01 remains, 0.28 was selection.
    found = judged.selected
    assert (found.seen, found.fresh.value, found.luck.value) == pytest.approx((0.29, 0.01, 0.28))
    # Every setting has the variance 0.0002, with 3 degrees of freedom: mean gap 0.8 - 0.5 = 0.3,
    # +- 3.18245 sqrt(0.0002 / 2) = 0.0318245
    objective = judged.finalists[1].objective
    assert objective is not None and objective.value == pytest.approx(0.3)
    assert (objective.high or 0) - 0.3 == pytest.approx(0.0318245, abs=1e-6)


def test_the_default_stays_where_it_is_not_beaten() -> None:
    trials = {1: scored(1, 0.60)}
    judged = judge("gap", setting(None, 0.20, 0.40), [setting(1, 0.25, 0.45)], trials)
    assert judged.selected is not None and judged.best is None


def test_a_setting_that_diverges_is_never_chosen() -> None:
    trials = {1: scored(1, 0.60), 2: scored(2, 0.50)}
    settings = [setting(1, 0.59, 0.61, None), setting(2, 0.49, 0.51)]
    judged = judge("gap", setting(None, 0.30, 0.32), settings, trials)
    assert judged.best == 2 and judged.finalists[0].diverged == 1 and judged.finalists[0].lead is None


def test_two_objectives_have_a_front_and_no_best(tmp_path):
    points = [(0.5, 0.6), (0.4, 0.7), (0.3, 0.65), (0.5, 0.5)]  # the third and the fourth are beaten
    trials = [trial(score, objective="pareto", at_k=at_k) for score, at_k in points]
    summary = summarise(write_study(tmp_path, trials, "pareto"))
    assert summary.front == (0, 1) and summary.best is None
    with pytest.raises(UsageError, match="two objectives"):
        tuned(summary)


# ------------------------------------------------------------------------------------------------ commands


@pytest.fixture
def decided(tmp_path):
    """A study whose trial 8 is far better than the default on fresh seeds."""
    home = write_study(tmp_path / "runs" / "countdown" / "sweeps", ended())
    write_repeats(home, None, [0.2, 0.21, 0.2])
    write_repeats(home, 8, [0.6, 0.62, 0.6])
    write_repeats(home, 7, [0.6, 0.6], diverged=[1])
    return home


def test_show(cli, decided):  # noqa: F811
    said = cli("sweep", "show", NAME, "--out", decided.parents[2], "--no-page")
    assert said.code == 0 and "Trial 8 replaces the default." in " ".join(said.out.split())
    assert "2 (1 diverged)" in said.out and "its worker died" in said.out
    assert not (decided / "index.html").exists() and (decided / "summary.json").exists()


def test_export(cli, decided, tmp_path):  # noqa: F811
    said = cli("sweep", "export", NAME, "--out", decided.parents[2])
    assert said.code == 0, said
    path = tmp_path / "runs" / "countdown" / "presets" / "tuned.yaml"
    entry = read_preset(path).algorithms["grpo"]
    assert entry.changes == (f"{RATE}=0.001", f"{GROUP}=8") and entry.trials == 12
    assert entry.validation is not None and entry.validation.seeds == 3
    summary = read_summary(decided / "summary.json")
    assert entry.tokens == summary.spent.trials + summary.spent.repeats > summary.spent.trials


def test_only_searched_keys_are_exported(decided):
    summary = summarise(decided)
    finalists = tuple(
        one.model_copy(update={"changes": (*one.changes, "training.budget.tokens=1000", "evaluation.k=2")})
        for one in summary.finalists
    )
    assert tuned(summary.model_copy(update={"finalists": finalists})).changes == (f"{RATE}=0.001", f"{GROUP}=8")


def test_what_cannot_be_exported(decided, tmp_path):
    summary = summarise(decided)
    with pytest.raises(UsageError, match="both of grpo"):
        tuned_preset([summary, summary])
    other = StudySummary.model_validate(summary.to_json() | {"suite": "other"})
    with pytest.raises(UsageError, match="a preset belongs to one suite"):
        tuned_preset([summary, other])
    with pytest.raises(UsageError, match="no fresh seeds"):
        tuned_preset([summarise(write_study(tmp_path / "bare", ended()))])
    going = write_study(tmp_path / "going", [*ended(), trial(None, state=TrialState.WAITING)])
    write_repeats(going, None, [0.2, 0.21])
    write_repeats(going, 8, [0.6, 0.62])
    with pytest.raises(UsageError, match="still has running or waiting trials"):
        tuned_preset([summarise(going)])


def test_names_and_storages(cli, decided):  # noqa: F811
    runs = decided.parents[2]
    assert f"Did you mean '{NAME}'?" in cli("sweep", "show", "grpo-gap-0123abc", "--out", runs).line(2)
    assert find_study(str(decided), runs) == decided
    (decided / "study.db").rename(decided / "moved.db")
    assert "--storage" in cli("sweep", "show", NAME, "--out", runs).line(2)
    said = cli("sweep", "show", NAME, "--out", runs, "--no-page", "--storage", f"sqlite:///{decided / 'moved.db'}")
    assert said.code == 0
    asked = json.loads((decided / "study.json").read_text())
    (decided / "study.json").write_text(json.dumps(asked | {"objective": "luck"}))
    assert "objective" in cli("sweep", "show", NAME, "--out", runs).line(1)
