"""MaxRL: the deviation from the group's mean, in units of that mean, so that hard prompts weigh more.

Paper: Maximum Likelihood Reinforcement Learning, arXiv 2602.02710.     make bench ALGO=maxrl

    A_i = (r_i - mean(r)) / mean(r)      over the G completions of one prompt; 0 where no completion is correct

Its expectation is the gradient of a truncated series of log p(correct): where `grpo.py` divides by the standard
deviation, sqrt(p (1-p)), this divides by p. The lone correct completion of a group has the advantage G - 1.

Differences from the paper: 1. the common clipped surrogate and its mean over tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from algorithms.base import Algorithm, Rollouts


@dataclass(frozen=True)
class MaxRL(Algorithm):
    """Maximum likelihood reinforcement learning."""

    name: ClassVar[str] = "maxrl"
    paper: ClassVar[str] = "arXiv 2602.02710"

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,). The mean is that of the group's valid rows."""
        mean_P1 = rollouts.group_mean_P1()
        # Without a correct completion the mean is 0, and 0 / 1 is the 0 that the definition asks for.
        return rollouts.per_row(rollouts.deviations_PG() / torch.where(mean_P1 > 0, mean_P1, 1.0))
