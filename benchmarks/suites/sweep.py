"""The section `sweep` of a suite: how algorithms are tuned on it. No result of the suite itself depends on it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from algorithms.space import Axis
from benchmarks.settings import Fraction, Positive, Strict
from benchmarks.suites.datasets import Dataset

Share = Annotated[float, Field(gt=0, lt=1)]


class Pruning(Strict):
    """Which trials end before their budget is used up."""

    by: Literal["asha", "median", "none"] = "asha"
    """`asha`: at each rung the best share of the trials goes on; `median`: those above the median of earlier trials."""
    keep: Annotated[int, Field(ge=2)] = 2
    """ASHA keeps 1 of so many trials at each rung."""


class SweepSettings(Strict):
    """How algorithms are tuned. Every one gets as many trials, and each trial generates as many tokens."""

    tokens: Positive
    """Tokens that a trial generates in training, with discarded and greedy ones."""
    trials: Positive = 12
    """Trials of an algorithm."""
    dataset: Dataset | None = None
    """What settings are chosen on; null: up to 128 problems of the training task's split `validation`."""
    samples: Positive = 16
    """Completions of each of its problems, and the largest k of the objective."""
    rungs: tuple[Share, ...] = (0.25, 0.5)
    """Shares of the budget after which a trial is evaluated, and may be pruned."""
    pruning: Pruning = Pruning()
    """Which trials end at a rung."""
    random_trials: Positive = 5
    """So many trials are drawn at random before the sampler (TPE) learns from them."""
    repeats: Annotated[int, Field(ge=2)] = 3
    """Fresh seeds of the default setting, which measure the noise of one run."""
    finalists: Positive = 2
    """So many of the best trials are run again with fresh seeds."""
    resolve: Fraction = 0.02
    """Finalists get as many seeds as let two settings be compared to within this, up to `most_seeds`."""
    most_seeds: Annotated[int, Field(ge=2)] = 4
    """The most fresh seeds of a finalist."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the training of all trials, and of the sampler."""
    spaces: dict[str, dict[str, Axis | None]] = {}
    """By algorithm, or `all`: key -> range or choices, in place of the algorithm's own; null takes a key out."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.rungs) != sorted(set(self.rungs)):
            raise ValueError(f"rungs must ascend, got {list(self.rungs)}")
        if len({round(100 * rung) for rung in self.rungs} - {0, 100}) < len(self.rungs):
            raise ValueError(f"rungs must be different whole percents, got {list(self.rungs)}")
        return self
