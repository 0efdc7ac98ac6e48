"""GSPO: GRPO's advantage under the ratio of the whole sequence instead of that of each token.

Paper: Group Sequence Policy Optimization, arXiv 2507.18071, equations 5 to 7 and section 5.1.     make bench ALGO=gspo

    w_i   = (pi(completion) / pi_sampled(completion)) ^ (1 / length)      the geometric mean of the token ratios
    J     = mean over completions of min(w_i A_i, clip(w_i, 1 - 3e-4, 1 + 4e-4) A_i)

The ratio's level, the clip range and the mean over completions are pinned. The range is tiny because a mean over many
tokens moves far less than a single token's ratio does; on short completions it clips more than in the paper.

Differences from the paper: none in the objective; batch, mini-batches and learning rate are the suite's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from algorithms.grpo import GRPO


@dataclass(frozen=True)
class GSPO(GRPO):
    """Group sequence policy optimisation."""

    name: ClassVar[str] = "gspo"
    paper: ClassVar[str] = "arXiv 2507.18071"

    clip_low: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    clip_high: Annotated[float, Field(gt=0)] = 4e-4

    def pins(self) -> Mapping[str, Any]:
        """The sequence's ratio, its clip range, and the mean over completions."""
        return {
            "ratio": "sequence", "loss": "sequence_mean",
            "clip_range": self.clip_low, "clip_range_high": self.clip_high,
        }  # fmt: skip
