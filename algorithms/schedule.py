"""The learning rate over a budget, whatever its unit: this also serves an algorithm that discards rollouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def rate_factor(schedule: str, warmup_share: float, used_before: float, used_after: float) -> float:
    """The learning rate of one step as a share of its peak, 0 to 1.

    `used_before` and `used_after` are the shares of the budget that were used before and after the step's rollouts
    were generated. The warm-up looks at the latter and the decay at the former, so that no step has the rate 0.
    """
    if used_after < warmup_share:
        return used_after / warmup_share
    decayed = max(0.0, used_before - warmup_share) / (1 - warmup_share) if warmup_share < 1 else 0.0
    return {"constant": 1.0, "linear": 1 - decayed, "cosine": (1 + math.cos(math.pi * decayed)) / 2}[schedule]


class BudgetSchedule(LambdaLR):
    """Sets every group's learning rate to its peak times `factor()`, at each call of `step`.

    The Trainer calls `step` after an update. Our trainer also calls it once the rollouts of a step are there, since
    these use up the budget: the rate would otherwise be that of the step before.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[[], float]) -> None:
        super().__init__(optimizer, lambda _: factor())

    def step(self, epoch: Any = None) -> None:
        """Sets the rates now; how often it is called does not matter."""
        for group, peak, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = peak * factor(0)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
