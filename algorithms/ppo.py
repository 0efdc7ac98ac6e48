"""PPO: advantages from a learned critic by generalised advantage estimation.

Papers: arXiv 1707.06347 (PPO), 1506.02438 (GAE).     make bench ALGO=ppo

    delta_t = r_t + gamma V_{t+1} - V_t      the reward is on the last token, the value after it is 0
    A_t     = sum over l of (gamma lambda)^l delta_{t+l}, then (A - mean) / sqrt(var + 1e-8) over all tokens
    target  = A_t before that normalisation + V_t

The critic is a network of its own (the base with a scalar head), with its own optimiser and clipping: `critic.py`.
With lambda = gamma = 1, the default and the source's, A_t = r - V_t.

Differences from the paper: 1. advantages are normalised over the batch; 2. no entropy bonus; 3. no KL in the reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm, CriticSettings, NeedsCritic, Rollouts, whiten
from algorithms.critic import gae


@dataclass(frozen=True)
class PPO(NeedsCritic, Algorithm):
    """Proximal policy optimisation with a separate critic."""

    name: ClassVar[str] = "ppo"
    paper: ClassVar[str] = "arXiv 1707.06347; GAE: 1506.02438"

    space: ClassVar[Mapping[str, Any]] = {
        "critic_learning_rate_factor": (0.3, 30, "log"), "gae_lambda": [0.95, 0.99, 1.0], "critic_warmup_steps": [0, 2],
    }  # fmt: skip

    gamma: Annotated[float, Field(ge=0, le=1)] = 1.0
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 1.0
    critic_learning_rate_factor: Annotated[float, Field(gt=0)] = 1.0
    """The critic's learning rate in units of the policy's; chosen on Countdown's validation split."""
    critic_clip_range: Annotated[float, Field(gt=0)] = 0.5
    """How far a value may move from the one at sampling time before its loss is clipped."""
    critic_warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Generation batches at the start on which the critic alone learns."""

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B, T). No values: ValueError."""
        return whiten(self._raw(rollouts), rollouts.valid_mask_BT)

    def value_targets(self, rollouts: Rollouts) -> Tensor:
        """(B, T): what the critic learns to predict. No values: ValueError."""
        advantages_BT = self._raw(rollouts)
        assert rollouts.values_BT is not None
        return (advantages_BT + rollouts.values_BT) * rollouts.valid_mask_BT

    def critic(self) -> CriticSettings:
        """How the critic learns."""
        return CriticSettings(self.critic_learning_rate_factor, self.critic_clip_range, self.critic_warmup_steps)

    def _raw(self, rollouts: Rollouts) -> Tensor:
        if rollouts.values_BT is None:
            raise ValueError("ppo needs values_BT")
        rewards_B = rollouts.rewards_PG.flatten()
        return gae(rewards_B, rollouts.values_BT, rollouts.valid_mask_BT, self.gamma, self.gae_lambda)
