"""ProRL: GRPO on groups with signal, under a KL penalty whose reference follows the policy in jumps.

Paper: ProRL, arXiv 2505.24864, section 2.     make bench ALGO=prorl

    advantage    GRPO's, on groups that are neither all correct nor all incorrect (as `dapo.py` refills them)
    clip range   0.2 below, 0.4 above (pinned)
    KL           to a reference that becomes the policy every `reset_every_steps` steps; the optimiser's state is
                 emptied with it (the coefficient is pinned, the penalty is in the loss)

Differences from the paper: 1. resets come at fixed steps, where the paper resets by hand when validation stagnates;
2. rollouts have the suite's temperature (1.2 in the paper); 3. no penalty for length, and the suite's one task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from algorithms.base import NeedsReferenceReset
from algorithms.dapo import MixedGroups
from algorithms.grpo import GRPO


@dataclass(frozen=True)
class ProRL(NeedsReferenceReset, MixedGroups, GRPO):
    """Prolonged reinforcement learning."""

    name: ClassVar[str] = "prorl"
    paper: ClassVar[str] = "arXiv 2505.24864, section 2"

    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.4
    refill_rounds: Annotated[int, Field(ge=0)] = 10
    kl_coefficient: Annotated[float, Field(gt=0)] = 1e-3
    reset_every_steps: Annotated[int, Field(ge=1)] = 20
    """Generation batches between two resets."""

    def pins(self) -> Mapping[str, Any]:
        """The asymmetric clip range, the token-level loss and the KL coefficient."""
        return {
            "clip_range": self.clip_low, "clip_range_high": self.clip_high, "loss": "token_mean",
            "kl_coefficient": self.kl_coefficient,
        }  # fmt: skip
