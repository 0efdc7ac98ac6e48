"""What is searched, on what, and what is refused before anything runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import algorithms
from algorithms.space import Choice, Range, space_of
from benchmarks.errors import UsageError
from benchmarks.runs.run_folder import Place
from benchmarks.suites import schema
from benchmarks.sweeps.plan import StudyPlan
from benchmarks.sweeps.space import axes_of, changes_of, defaults
from benchmarks.sweeps.storage import open_storage, shown
from tests.benchmarks.micro import write
from tests.sweeps.tiny import suite

COUNTDOWN = schema.load("countdown")
SEVEN = ("ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo", "reinforce_pp_baseline")


def drawn(axes, rng: random.Random) -> dict[str, object]:
    return {
        path: rng.choice(axis.choices) if isinstance(axis, Choice) else rng.uniform(axis.low, axis.high)
        for path, axis in axes.items()
    }


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_every_algorithm_has_a_space_around_its_defaults_that_its_suite_accepts(name):
    found = algorithms.find(name)
    axes = axes_of(COUNTDOWN, found)
    for path, value in defaults(COUNTDOWN, found, axes).items():
        axis = axes[path]
        inside = value in axis.choices if isinstance(axis, Choice) else axis.low <= value <= axis.high
        assert inside, f"{path} = {value} lies outside of {axis}"
    rng = random.Random(0)
    for _ in range(20):
        changed = schema.with_changes(COUNTDOWN, changes_of(drawn(axes, rng)))
        assert changed.hash != COUNTDOWN.hash
        algorithms.get(name, **changed.trained.algorithms.get(name, {}))


def test_what_an_algorithm_pins_is_not_searched():
    common, own = space_of(algorithms.find("dapo").made_by)
    assert "clip_range" not in common and "kl_coefficient" not in common
    assert set(own) == {"clip_low", "clip_high", "overlong_share"}


def test_a_sweep_is_no_part_of_what_a_suite_asks():
    assert COUNTDOWN.sweep is not None
    assert COUNTDOWN.hash == COUNTDOWN.model_copy(update={"sweep": None}).hash == "4688df2f7985dbcc"


def test_budgets_are_the_same_for_all_algorithms():
    plans = [StudyPlan(COUNTDOWN, name, Place()) for name in SEVEN]
    assert {(plan.tuned.trained.budget.tokens, plan.n_trials) for plan in plans} == {(210_000, 12)}
    assert len({plan.name for plan in plans}) == len(SEVEN)
    assert {plan.dataset.split for plan in plans} == {"validation"}


def test_another_question_is_another_study(tmp_path):
    def name(**changes: object) -> str:
        return StudyPlan(schema.load(str(suite(tmp_path, **changes))), "grpo", Place()).name

    assert len({name(), name(tokens=1201), name(rungs=[0.5]), name(seed=1)}) == 4
    assert name() == name()


def test_a_suite_may_change_a_space(tmp_path):
    spaces = {
        "all": {"kl_coefficient": None, "learning_rate": {"low": 1e-6, "high": 1e-5, "log": True}},
        "ppo": {"gae_lambda": {"choices": [0.9, 1.0]}},
    }
    loaded = schema.load(str(suite(tmp_path, spaces=spaces)))
    axes = axes_of(loaded, algorithms.find("ppo"))
    assert "training.kl_coefficient" not in axes
    assert axes["training.learning_rate"] == Range(low=1e-6, high=1e-5, log=True)
    assert axes["training.algorithms.ppo.gae_lambda"] == Choice(choices=(0.9, 1.0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spaces": {"grpo": {"learning_rte": None}}}, "learning_rate"),
        ({"dataset": {"task": "countdown", "split": "train"}}, "neither trained on nor reported"),
        ({"dataset": {"task": "countdown", "split": "test"}}, "neither trained on nor reported"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, changes, reason):
    loaded = schema.load(str(suite(tmp_path, **changes)))
    with pytest.raises(UsageError, match=reason) as error:
        StudyPlan(loaded, "grpo", Place()).asked  # noqa: B018
    assert "\n" not in str(error.value)


def test_a_suite_without_the_section_is_told_what_to_add(tmp_path):
    with pytest.raises(UsageError, match="add `sweep:"):
        StudyPlan(schema.load(str(write(tmp_path))), "grpo", Place()).n_trials  # noqa: B018


def test_unknown_names_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="pass_at_1"):
        StudyPlan(COUNTDOWN, "grpo", Place(), "pass_at_2")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="journal"):
        open_storage("jurnal", tmp_path)


def test_a_password_is_not_shown():
    assert shown("postgresql+psycopg://me:secret@host/name") == "postgresql+psycopg://me:***@host/name"
