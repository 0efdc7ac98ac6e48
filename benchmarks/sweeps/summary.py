"""Reads a study from Optuna's storage and its folder into a `StudySummary`, and writes summary.json.

    rlvr-gap sweep show STUDY

The trials come from the storage; runs with fresh seeds come from `repeats/*/record.json`. A study may be read while it
runs. The same storage and files give the same summary.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import Failure
from benchmarks.records.schema import Record, read_record
from benchmarks.records.study import (
    FILE,
    Objective,
    Repeat,
    Setting,
    Span,
    Spent,
    State,
    StudySummary,
    Trial,
    write_summary,
)
from benchmarks.statistics.counts import read_counts
from benchmarks.statistics.intervals import mean_interval
from benchmarks.sweeps.finalists import judge
from benchmarks.sweeps.importances import parameters_of
from benchmarks.sweeps.study_files import Asked, folder_number, open_study, read_asked, waits_again

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

REPEATS, RECORD = "repeats", "record.json"
_REPEAT = re.compile(r"(?:default|trial-(?P<trial>\d+))-s(?P<seed>\d+)")


def summarise(folder: Path, storage: str = "") -> StudySummary:
    """Returns the summary of the study in the folder, and writes it to summary.json there.

    `storage`: the Optuna storage, where the folder holds none. Raises UsageError or Failure where it cannot be read.
    """
    asked = read_asked(folder)
    study = open_study(folder, asked, storage)
    attempts = {folder_number(one): one for one in study.get_trials(deepcopy=False)}
    frozen = list(attempts.values())  # of each trial the last attempt, if a worker died or was interrupted
    trials = tuple(_trial(one, asked, folder) for one in frozen)
    default, finalists = _settings(folder, asked, trials)
    judged = judge(asked.objective, default, finalists, {trial.number: trial for trial in trials})
    quantile, parameters = parameters_of(study, asked)
    attributes = [one.user_attrs for one in frozen]
    summary = StudySummary(
        study=asked.study,
        suite=asked.suite.name,
        suite_hash=asked.suite.hash,
        algorithm=asked.algorithm,
        objective=asked.objective,
        k=asked.k,
        n_problems=_first(attributes, "n_problems"),
        base_pass_at_k=_first(attributes, "base_pass_at_k"),
        budget_tokens=asked.budget.amount if asked.budget else None,
        asked_trials=asked.trials,
        parameters=parameters,
        importance_quantile=quantile,
        trials=trials,
        default=judged.default,
        finalists=judged.finalists,
        selected=judged.selected,
        best=judged.best,
        front=_front(trials) if asked.objective == "pareto" else (),
        spent=_spent(asked, trials, [one for one in (default, *finalists) if one]),
    )
    write_summary(folder / FILE, summary)
    return summary


def _first(attributes: Sequence[Mapping[str, Any]], key: str) -> Any:
    return next((one[key] for one in attributes if one.get(key) is not None), None)


# ------------------------------------------------------------------------------------------------ trials


def _trial(frozen: FrozenTrial, asked: Asked, folder: Path) -> Trial:
    known = frozen.user_attrs
    state = _state(frozen)
    complete = state == "complete"
    return Trial(
        number=folder_number(frozen),
        state=state,
        params=dict(frozen.params),
        changes=tuple(known.get("changes", ())),
        seed=known.get("seed"),
        score=known.get("pass_at_1") if complete else None,
        pass_at_k=known.get("pass_at_k") if complete else None,
        objective=_objective(known, asked.objective, folder) if complete else None,
        rungs=_rungs(frozen, asked.objective),
        tokens=known.get("tokens", 0),
        steps=known.get("steps"),
        seconds=known.get("seconds"),
        reason=known.get("reason"),
        worker=known.get("worker"),
        retry_of=known.get("retry_of"),
    )


def _rungs(frozen: FrozenTrial, objective: Objective) -> dict[int, float]:
    """Percent of the budget -> pass@1 there. A study of the gap has stored the gap, which Optuna prunes by."""
    base = frozen.user_attrs.get("base_pass_at_k", 0.0) if objective == "gap" else None
    found = {
        int(step): value if base is None else base - value for step, value in sorted(frozen.intermediate_values.items())
    }
    return {step: value for step, value in found.items() if -1e-9 <= value <= 1}


def _state(frozen: FrozenTrial) -> State:
    """A trial that diverged is pruned as far as Optuna knows; its reason tells the two apart. One that failed waits if
    it is owed another attempt.
    """
    name = frozen.state.name
    if waits_again(frozen):
        return "waiting"
    if name == "PRUNED":
        return "diverged" if "diverge" in str(frozen.user_attrs.get("reason", "")).lower() else "pruned"
    names: dict[str, State] = {"COMPLETE": "complete", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
    return names[name]


def _objective(known: Mapping[str, Any], objective: Objective, folder: Path) -> Span | None:
    """The trial's own value with its interval over problems; without one where its files are not there."""
    score, base = known.get("pass_at_1"), known.get("base_pass_at_k")
    if score is None or (objective == "gap" and base is None):
        return None
    with contextlib.suppress(Failure):
        if objective == "gap":
            return _gap(read_record(folder / known.get("folder", "") / RECORD))
        if "counts" in known:
            found = mean_interval(read_counts(folder / known["counts"]).pass_at_k(1), level=True).within(0, 1)
            return Span(value=score, low=found.low, high=found.high)
    return Span(value=base - score if objective == "gap" else score, low=None, high=None)


def _gap(record: Record) -> Span:
    for gap in (record.gap or {}).values():
        return Span(value=gap.gap, low=gap.low, high=gap.high)
    raise Failure("the record has no gap.")


def _front(trials: Sequence[Trial]) -> tuple[int, ...]:
    """Trials that no other one equals or beats in both pass@1 and pass@k, and beats in one."""
    points = {t.number: (t.score, t.pass_at_k) for t in trials if t.score is not None and t.pass_at_k is not None}
    return tuple(
        number
        for number, (a, b) in points.items()
        if not any(c >= a and d >= b and (c, d) != (a, b) for c, d in points.values())
    )


# ------------------------------------------------------------------------------------------------ fresh seeds


def _settings(folder: Path, asked: Asked, trials: Sequence[Trial]) -> tuple[Setting | None, tuple[Setting, ...]]:
    """The default and the finalists with their fresh runs: those whose record can be read."""
    found: dict[int | None, list[Repeat]] = {}
    for path in sorted((folder / REPEATS).glob(f"*/{RECORD}")):
        if (match := _REPEAT.fullmatch(path.parent.name)) is None:
            continue
        number = int(match["trial"]) if match["trial"] else None
        found.setdefault(number, []).append(_repeat(read_record(path), int(match["seed"]), asked.k))
    changes = {trial.number: trial.changes for trial in trials}
    settings = {
        number: Setting(trial=number, changes=changes.get(number, ()) if number is not None else (),
                        repeats=tuple(repeats), objective=None)
        for number, repeats in found.items()
    }  # fmt: skip
    default = settings.pop(None, None)
    return default, tuple(settings[number] for number in sorted(one for one in settings if one is not None))


def _repeat(record: Record, seed: int, k: int) -> Repeat:
    gap = next(iter((record.gap or {}).values()), None)
    cost = record.training
    tokens = cost.tokens + cost.discarded.tokens + cost.greedy.tokens if cost else 0
    if gap is None or record.diverged:
        return Repeat(seed=seed, score=None, pass_at_k=None, gap=None, tokens=tokens)
    trained_at_k = gap.trained_pass_at_k if gap.k == k else None
    return Repeat(seed=seed, score=gap.trained_pass_at_1, pass_at_k=trained_at_k, gap=gap.gap, tokens=tokens)


def _spent(asked: Asked, trials: Sequence[Trial], settings: Sequence[Setting]) -> Spent:
    budget = asked.budget.amount if asked.budget else 0
    early = [trial for trial in trials if trial.state in ("pruned", "diverged")]
    return Spent(
        trials=sum(trial.tokens for trial in trials),
        repeats=sum(repeat.tokens for setting in settings for repeat in setting.repeats),
        saved=sum(max(budget - trial.tokens, 0) for trial in early),
    )
