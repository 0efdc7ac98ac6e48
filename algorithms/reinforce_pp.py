"""REINFORCE++ and its -baseline variant: advantages normalised over all tokens of the whole batch.

Paper: arXiv 2501.03262.     make bench ALGO=reinforce_pp     make bench ALGO=reinforce_pp_baseline

    reinforce_pp            R_t = r_i at every token of completion i (gamma 1)
    reinforce_pp_baseline   R_t = r_i - mean(r of i's group)
    both                    A_t = (R_t - mean(R)) / sqrt(var(R) + 1e-8)   over all completion tokens of the batch

Mean and unbiased variance weigh tokens, not completions, and span all processes. Normalised per group, this would be
GRPO; over completions instead of tokens, a third thing.

Differences from the paper: no KL in the reward; mini-batches and clipping are the common surrogate's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from algorithms.base import Algorithm, Rollouts, whiten


@dataclass(frozen=True)
class ReinforcePP(Algorithm):
    """REINFORCE++: no groups needed, a batch-wide baseline."""

    name: ClassVar[str] = "reinforce_pp"
    paper: ClassVar[str] = "arXiv 2501.03262"

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B, T)."""
        returns_BT = rollouts.rewards_PG.flatten()[:, None].expand_as(rollouts.mask_BT)
        return whiten(returns_BT, rollouts.valid_mask_BT)


@dataclass(frozen=True)
class ReinforcePPBaseline(Algorithm):
    """REINFORCE++ after subtracting the group's mean."""

    name: ClassVar[str] = "reinforce_pp_baseline"
    paper: ClassVar[str] = "arXiv 2501.03262, the -baseline variant"

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B, T)."""
        centred_B = rollouts.per_row(rollouts.deviations_PG())
        return whiten(centred_B[:, None].expand_as(rollouts.mask_BT), rollouts.valid_mask_BT)
