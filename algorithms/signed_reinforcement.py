"""PSR, NSR and W-REINFORCE: reinforcement from the correct completions, from the incorrect ones, or a weighted sum.

Paper: The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning, arXiv 2506.01347, section 3.
    make bench ALGO=psr        make bench ALGO=nsr        make bench ALGO=w_reinforce

                     correct    incorrect
    psr              +1         0
    nsr              0          -1
    w_reinforce      +lambda    -1            lambda = 0.1

These advantages do not sum to zero over a group, so the size of an update depends on accuracy. The gradient's norm is
clipped, which hides it: watch `grad_norm`, which is logged before clipping. Under `nsr` alone no completion is ever
made likelier for its own sake, so watch `entropy` and the lengths as well.

Differences from the paper: 1. the common clipped surrogate and its mean over tokens. `psr` differs from `raft.py` by
that surrogate alone: RAFT follows the likelihood of the correct completions, with no ratio and no clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm, Rollouts


@dataclass(frozen=True)
class PSR(Algorithm):
    """Positive sample reinforcement: only correct completions move the policy."""

    name: ClassVar[str] = "psr"
    paper: ClassVar[str] = "arXiv 2506.01347, section 3"

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,): 1 on correct completions, 0 on the others."""
        return rollouts.per_row(rollouts.rewards_PG)


@dataclass(frozen=True)
class NSR(Algorithm):
    """Negative sample reinforcement: only incorrect completions move the policy."""

    name: ClassVar[str] = "nsr"
    paper: ClassVar[str] = "arXiv 2506.01347, section 3"

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,): -1 on incorrect completions, 0 on the others."""
        return rollouts.per_row(rollouts.rewards_PG - 1)


@dataclass(frozen=True)
class WReinforce(Algorithm):
    """Weighted REINFORCE: the incorrect completions in full, the correct ones with a small weight."""

    name: ClassVar[str] = "w_reinforce"
    paper: ClassVar[str] = "arXiv 2506.01347, section 5"

    positive_weight: Annotated[float, Field(ge=0)] = 0.1
    """The advantage of a correct completion (the paper's lambda)."""

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,): `positive_weight` on correct completions, -1 on the others."""
        rewards_PG = rollouts.rewards_PG
        return rollouts.per_row(torch.where(rewards_PG > 0, self.positive_weight * rewards_PG, rewards_PG - 1))
