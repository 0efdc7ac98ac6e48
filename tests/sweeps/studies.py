"""Synthetic studies, written with Optuna and the project's own writers, as a sweep leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from tests.leaderboards.factory import draw_counts, write_run

RATE, GROUP = "training.learning_rate", "training.group_size"
SPACE = {RATE: FloatDistribution(1e-5, 1e-3, log=True), GROUP: CategoricalDistribution([4, 8, 16])}
DIRECTIONS = {"gap": ["minimize"], "pass_at_1": ["maximize"], "pareto": ["maximize", "maximize"]}
BASE_AT_K, BUDGET = 0.8, 1000
NAME = "grpo-gap-0123abcd"


def write_study(folder: Path, trials: Sequence[Any], objective: str = "gap", **changes: Any) -> Path:
    """study.json and study.db with the trials (`trial`), in folder/NAME."""
    home = folder / NAME
    home.mkdir(parents=True)
    asked = {
        "schema": 1, "study": NAME, "suite": {"name": "countdown", "hash": "aaaaaaaaaaaaaaaa"}, "algorithm": "grpo",
        "objective": objective, "k": 16, "trials": len(trials), "budget": {"unit": "tokens", "amount": BUDGET},
        "default": {RATE: 1e-4, GROUP: 8}, "rungs": [25, 50],
    }  # fmt: skip
    (home / "study.json").write_text(json.dumps(asked | changes))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=NAME, storage=f"sqlite:///{home / 'study.db'}", directions=DIRECTIONS[objective]
    )
    for one in trials:
        study.add_trial(one)
    return home


def trial(
    score: float | None,
    rate: float = 1e-4,
    group: int = 8,
    objective: str = "gap",
    state: TrialState = TrialState.COMPLETE,
    rungs: Mapping[int, float] | None = None,
    at_k: float = 0.7,
    attempts: Sequence[int] = (),
    **known: Any,
) -> Any:
    """A finished trial with the attributes that a sweep sets. `attempts`: the numbers of those that failed before."""
    values = None
    if state == TrialState.COMPLETE and score is not None:
        values = {"gap": [BASE_AT_K - score], "pass_at_1": [score], "pareto": [score, at_k]}[objective]
    attributes: dict[str, Any] = {
        "seed": 0, "changes": [f"{RATE}={rate}", f"{GROUP}={group}"], "tokens": BUDGET, "completions": 30, "steps": 4,
        "seconds": 2.5, "k": 16, "n_problems": 40, "base_pass_at_k": BASE_AT_K, "worker": "node1:7",
    }  # fmt: skip
    if score is not None:
        attributes |= {"pass_at_1": score, "pass_at_k": at_k, "standard_error": 0.01}
    return create_trial(
        state=state, values=values, params={RATE: rate, GROUP: group}, distributions=SPACE,
        user_attrs=attributes | known, system_attrs={"retry_history": list(attempts)},
        intermediate_values={step: _stored(score, objective) for step, score in (rungs or {}).items()},
    )  # fmt: skip


def _stored(score: float, objective: str) -> float:
    """What a sweep reports at a rung: the value of its objective there."""
    return BASE_AT_K - score if objective == "gap" else score


def write_repeats(home: Path, of: int | None, rates: Sequence[float], diverged: Sequence[int] = ()) -> list[Path]:
    """Fresh runs of a trial's setting, or of the default, each with about the given pass@1."""
    base = {"validation": draw_counts(0.2, 40, seed=1)}
    paths = []
    for number, rate in enumerate(rates):
        name = f"{'default' if of is None else f'trial-{of:04d}'}-s{101 + number}"
        if number in diverged:
            training = {"diverged": True, "diverged_because": "the loss is not finite"}
            path = write_run(home / "repeats", "grpo", {}, {}, seed=number, folder=name, training_changes=training)
        else:
            counts = {"validation": draw_counts(rate, 40, seed=100 * number + (of or 0))}
            path = write_run(home / "repeats", "grpo", counts, base, seed=number, folder=name)
        paths.append(path)
    return paths
