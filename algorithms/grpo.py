"""GRPO: each completion against its group, in units of the group's standard deviation.

Paper: DeepSeekMath, arXiv 2402.03300, section 4.1.     make bench ALGO=grpo

    A_i = (r_i - mean(r)) / (std(r) + 1e-6)     over the G completions of one prompt; 0 if all rewards are equal

Differences from the paper: 1. the loss is a mean over tokens, not over sequences; 2. no KL term. Both are the common
surrogate, held equal for all algorithms. The nearest sibling is `rloo.py`, which does not divide by std.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm, Rollouts


@dataclass(frozen=True)
class GRPO(Algorithm):
    """Group-relative policy optimisation with outcome rewards."""

    name: ClassVar[str] = "grpo"
    paper: ClassVar[str] = "arXiv 2402.03300, section 4.1"

    std_epsilon: Annotated[float, Field(gt=0)] = 1e-6

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,). Unbiased standard deviation (ddof 1) over the group's valid rows; fewer than two: 0."""
        deviations_PG = rollouts.deviations_PG()
        count_P1 = rollouts.valid_PG.sum(1, keepdim=True)
        std_P1 = (deviations_PG.square().sum(1, keepdim=True) / (count_P1 - 1).clamp(min=1)).sqrt()
        return rollouts.per_row(deviations_PG / (std_P1 + self.std_epsilon))
