"""Dr. GRPO: GRPO without the two normalisations that bias it, by the group's standard deviation and by length.

Paper: Understanding R1-Zero-Like Training, arXiv 2503.20783, section 3.     make bench ALGO=dr_grpo

    A_i = r_i - mean(r)      over the G completions of one prompt
    loss                     sums over tokens divided by a constant, the length limit, and not by lengths (pinned)

Differences from the paper: 1. the token ratio is clipped at the suite's range, as for all algorithms. The nearest
sibling is `rloo.py`: its advantage is larger by G/(G-1), and its loss is the mean over tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from algorithms.base import Algorithm, Rollouts


@dataclass(frozen=True)
class DrGRPO(Algorithm):
    """GRPO done right: no division by the standard deviation, and none by lengths."""

    name: ClassVar[str] = "dr_grpo"
    paper: ClassVar[str] = "arXiv 2503.20783, section 3"

    def pins(self) -> Mapping[str, Any]:
        """The constant denominator."""
        return {"loss": "constant"}

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,). The mean is that of the group's valid rows."""
        return rollouts.per_row(rollouts.deviations_PG())
