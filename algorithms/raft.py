"""RAFT: rejection sampling. Keep the correct completions and raise their likelihood; the control for every RL method.

Papers: arXiv 2304.06767; with {0, 1} rewards and several completions a prompt: 2504.11343.     make bench ALGO=raft

    gradient = mean over tokens of r_i grad log pi(token)

There is no importance ratio and no clip range: a suite that sets one is refused. A group without a correct completion
gives nothing. `signed_reinforcement.py` has `psr`, which is the same under the common clipped surrogate; the two agree
on the first update after sampling, and part where a step makes several.

Differences from the papers: 1. rollouts are drawn anew at every step and used for one pass, where 2304.06767 alternates
long rounds of sampling and fine-tuning; 2. all correct completions are kept, and not the best one of a prompt; 3. the
mean is over the tokens of all completions, as for all algorithms, so the size of an update depends on accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from algorithms.base import Algorithm, Rollouts


@dataclass(frozen=True)
class RAFT(Algorithm):
    """The likelihood of the correct completions, and nothing else."""

    name: ClassVar[str] = "raft"
    paper: ClassVar[str] = "arXiv 2304.06767, 2504.11343"

    def pins(self) -> Mapping[str, Any]:
        """Plain likelihood: no ratio, and so nothing to clip."""
        return {"ratio": "none", "clip_range": None}

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,): 1 on correct completions, 0 on the others."""
        return rollouts.per_row(rollouts.rewards_PG)
