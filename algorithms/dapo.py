"""DAPO: GRPO's advantage with clip-higher, token-level loss, dynamic sampling and a soft overlong penalty.

Paper: arXiv 2503.14476, equations 7 to 13, section 4.1.     make bench ALGO=dapo

    advantage        GRPO's, on rewards +1 (correct) and -1, minus the overlong penalty
    clip range       0.2 below, 0.28 above
    loss             mean over the tokens of the batch
    dynamic sampling groups with no or only correct completions are replaced by fresh prompts, for at most
                     `refill_rounds` rounds; it looks at verdicts, never at shaped rewards
    overlong penalty 0 up to limit - buffer, then falling linearly to -1 at the limit

Differences from the paper: 1. after the last refill round it trains on what there is, with a logged warning, where the
source stops with an error; 2. a refill round generates as many groups as the share of groups with signal so far in the
step lets expect to be needed, where the source generates a whole batch; what is left over is dropped in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from algorithms.base import NeedsRefill
from algorithms.grpo import GRPO


class MixedGroups(NeedsRefill):
    """Keeps groups with both correct and incorrect completions (2503.14476 eq. 11)."""

    def has_signal(self, correct_PG: Tensor, valid_PG: Tensor) -> Tensor:
        """(P,) bool: groups whose valid rows are neither all correct nor all incorrect."""
        right_P = (correct_PG.bool() & valid_PG).sum(1)
        return (right_P > 0) & (right_P < valid_PG.sum(1))


@dataclass(frozen=True)
class DAPO(MixedGroups, GRPO):
    """Decoupled clip and dynamic sampling policy optimisation."""

    name: ClassVar[str] = "dapo"
    paper: ClassVar[str] = "arXiv 2503.14476"

    space: ClassVar[Mapping[str, Any]] = {
        "clip_low": (0.1, 0.3), "clip_high": (0.2, 0.5), "overlong_share": [0.0, 0.1, 0.2, 0.4],
    }  # fmt: skip

    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.28
    refill_rounds: Annotated[int, Field(ge=0)] = 10
    overlong_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The buffer of the overlong penalty as a share of the length limit (source: 4,096 of 20,480). 0: no penalty."""

    def pins(self) -> Mapping[str, Any]:
        """Clip-higher, the token-level loss, and no KL term."""
        return {
            "clip_range": self.clip_low, "clip_range_high": self.clip_high, "loss": "token_mean", "kl_coefficient": 0.0,
        }  # fmt: skip

    def shape(self, rewards_B: Tensor, lengths_B: Tensor, limit: int) -> Tensor:
        """{0, 1} -> {-1, +1}, minus up to 1 for completions in the last `overlong_share` of the limit (eq. 13)."""
        signed_B = 2 * rewards_B - 1
        buffer = self.overlong_share * limit
        if buffer == 0:
            return signed_B
        return signed_B + ((limit - buffer - lengths_B) / buffer).clamp(min=-1, max=0)
