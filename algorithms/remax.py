"""ReMax: each completion against the greedy completion of the same prompt.

Paper: arXiv 2310.10505, algorithm 1.     make bench ALGO=remax

    A_i = r_i - r(greedy completion of the prompt)

The greedy completions are one more rollout a prompt, generated in one batch, and counted as cost.

Differences from the paper: 1. G completions a prompt share one greedy baseline (the paper: one completion); 2. the
common clipped surrogate instead of plain REINFORCE; 3. no KL in the reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from algorithms.base import Algorithm, NeedsGreedyBaseline, Rollouts


@dataclass(frozen=True)
class ReMax(NeedsGreedyBaseline, Algorithm):
    """REINFORCE with the greedy completion's reward as baseline."""

    name: ClassVar[str] = "remax"
    paper: ClassVar[str] = "arXiv 2310.10505, algorithm 1"

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,). No greedy rewards: ValueError. A group whose greedy verdict is not known: 0."""
        if rollouts.greedy_rewards_P is None:
            raise ValueError("remax needs greedy_rewards_P")
        greedy_P1 = rollouts.greedy_rewards_P.float()[:, None]
        return rollouts.per_row(torch.nan_to_num(rollouts.rewards_PG - greedy_P1, nan=0.0))
