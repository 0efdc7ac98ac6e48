"""Lite PPO: the deviation from the group's mean, over the standard deviation of the whole batch.

Paper: Part I: Tricks or Traps?, arXiv 2508.08221, section 5.     make bench ALGO=lite_ppo

    A_i = (r_i - mean of the group) / (std of all rewards of the batch + 1e-6)
    loss   the mean over tokens (pinned)

Differences from the paper: 1. the standard deviation is unbiased (ddof 1), as in `grpo.py`; 2. the common clip range.
The nearest siblings are `grpo.py`, which divides by the group's standard deviation, and `reinforce_pp.py`'s baseline
variant, which normalises the deviations over all tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm, Rollouts


@dataclass(frozen=True)
class LitePPO(Algorithm):
    """Group mean, batch standard deviation, token-level loss, and no critic."""

    name: ClassVar[str] = "lite_ppo"
    paper: ClassVar[str] = "arXiv 2508.08221, section 5"

    std_epsilon: Annotated[float, Field(gt=0)] = 1e-6

    def pins(self) -> Mapping[str, Any]:
        """The token-level loss."""
        return {"loss": "token_mean"}

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,). Mean and standard deviation are over valid rows; if all rewards of the batch are equal: 0."""
        valid_PG, rewards_PG = rollouts.valid_PG, rollouts.rewards_PG
        count = valid_PG.sum()
        centred_PG = (rewards_PG - rewards_PG.sum() / count.clamp(min=1)) * valid_PG
        std = (centred_PG.square().sum() / (count - 1).clamp(min=1)).sqrt()
        return rollouts.per_row(rollouts.deviations_PG() / (std + self.std_epsilon))
