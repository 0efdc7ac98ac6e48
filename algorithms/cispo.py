"""CISPO: GRPO's advantage with the importance weight capped and detached, so that no token ever loses its gradient.

Papers: MiniMax-M1, arXiv 2506.13585, equations 4 and 5; the cap of 5: arXiv 2510.13786.     make bench ALGO=cispo

    gradient = mean over tokens of min(w, cap) A grad log pi(token)      w = pi / pi_sampled, not differentiated

PPO's clip removes the gradient of a token once its ratio has left the range. Here only the weight is bounded. There is
no clip range: a suite that sets one is refused.

Differences from the paper: 1. the weight has no lower bound, which is what the paper's own runs use; 2. the mean over
tokens is taken over the batch and not within each group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from algorithms.grpo import GRPO


@dataclass(frozen=True)
class CISPO(GRPO):
    """Clipped importance-sampling weights."""

    name: ClassVar[str] = "cispo"
    paper: ClassVar[str] = "arXiv 2506.13585; the cap: 2510.13786"

    weight_cap: Annotated[float, Field(gt=0)] = 5.0
    """The largest importance weight of a token. It is the cap itself, and not a distance from 1."""

    def pins(self) -> Mapping[str, Any]:
        """The capped weight in the place of a clip range, and the mean over tokens."""
        return {"weight_cap": self.weight_cap, "clip_range": None, "loss": "token_mean"}
