"""Which parameters of a search space mattered, and what importance a parameter has by chance.

PED-ANOVA (arXiv 2304.10255), as Optuna has it: how much the distribution of a parameter among the best trials differs
from that among all complete ones. It has no random part. With few trials any parameter looks important, so values are
dealt out to the trials at random `DEALS` times, and the importance that is exceeded in 1 of 20 deals stands beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.records.study import Parameter
from benchmarks.sweeps.study_files import Asked

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

DEALS = 100
FEWEST = 8
"""With fewer complete trials there are no importances."""
_BEST = 5
"""Optuna advises at least this many trials among the best."""


def parameters_of(study: Study, asked: Asked) -> tuple[float | None, tuple[Parameter, ...]]:
    """Returns the share of trials that count as the best (null where they are too few), and all parameters."""
    from optuna.trial import TrialState

    complete = [one for one in study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
    space: dict[str, BaseDistribution] = {}
    for trial in study.get_trials(deepcopy=False):
        space |= trial.distributions
    found, chance, quantile = dict[str, float](), dict[str, float](), None
    if len(complete) >= FEWEST and space:
        quantile = min(0.5, max(0.1, _BEST / len(complete)))
        losses = {one.number: _loss(one, asked) for one in complete}
        found, chance = _importances(study, losses, quantile)
    parameters = (
        Parameter(
            name=name,
            log=bool(getattr(distribution, "log", False)),
            default=asked.default.get(name),
            range=_range(distribution),
            choices=tuple(map(str, choices)) if (choices := getattr(distribution, "choices", None)) else None,
            importance=found.get(name),
            by_chance=chance.get(name),
        )
        for name, distribution in space.items()
    )
    return quantile, tuple(sorted(parameters, key=lambda one: (-(one.importance or 0.0), one.name)))


def _loss(trial: FrozenTrial, asked: Asked) -> float:
    """Lower is better; of two objectives, the first (pass@1)."""
    return float(trial.values[0]) if asked.objective == "gap" else -float(trial.values[0])


def _importances(study: Study, losses: dict[int, float], quantile: float) -> tuple[dict[str, float], dict[str, float]]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    def measure(target: Callable[[Any], float]) -> dict[str, float]:
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile, region_quantile=1.0, evaluate_on_local=True)
        return get_param_importances(study, evaluator=evaluator, target=target)

    rng, numbers = np.random.default_rng(0), list(losses)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna says that low values are the good ones; they are
        found = measure(lambda trial: losses[trial.number])
        dealt = []
        for _ in range(DEALS):
            values = dict(zip(numbers, rng.permutation(list(losses.values())).tolist(), strict=True))
            dealt.append(measure(lambda trial, values=values: values[trial.number]))  # type: ignore[misc]
    chance = {name: float(np.quantile([one.get(name, 0.0) for one in dealt], 0.95)) for name in found}
    return {name: float(value) for name, value in found.items()}, chance


def _range(distribution: Any) -> str:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return ", ".join(map(str, choices))
    return f"{distribution.low:g} to {distribution.high:g}{' (log)' if distribution.log else ''}"
