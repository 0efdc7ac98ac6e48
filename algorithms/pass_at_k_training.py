"""Pass@k training: the advantage of a completion as a member of all sets of k that can be drawn from its group.

Paper: Pass@k Training, arXiv 2508.10751, analytic derivation.     make bench ALGO=pass_at_k_training

N completions of one prompt, N- of them incorrect. A set of k is worth 1 if any of its members is correct:

    R         = 1 - C(N-, k) / C(N, k)                                   mean over all sets
    sigma     = sqrt(R (1 - R))                                          their standard deviation
    correct     (1 - R) / sigma                                          every set that holds it is worth 1
    incorrect   (1 - R - C(N- - 1, k - 1) / C(N - 1, k - 1)) / sigma     mean over the sets that hold it
    all       0 where sigma = 0: no completion is correct, or every set of k holds a correct one

With k = 1 this is GRPO's advantage with the population's standard deviation.

Differences from the paper: 1. where verifiers failed, N is the number of the group's valid rows, and a group with fewer
than k of them gives nothing; 2. the common clipped surrogate and its mean over tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from algorithms.base import Algorithm, Rollouts
from algorithms.settings import Settings
from benchmarks.errors import UsageError


@dataclass(frozen=True)
class PassAtKTraining(Algorithm):
    """Maximises the chance that one of k completions is correct."""

    name: ClassVar[str] = "pass_at_k_training"
    paper: ClassVar[str] = "arXiv 2508.10751, analytic derivation"

    k: Annotated[int, Field(ge=1)] = 4
    """The size of the sets; at most the suite's `group_size`. With k equal to it there is one set, and no signal."""

    def check(self, settings: Settings) -> None:
        """Raises UsageError where a group is smaller than k."""
        if self.k > settings.group_size:
            raise UsageError(
                f"pass_at_k_training has k = {self.k}, but training.group_size is {settings.group_size}; "
                f"expected a k of at most {settings.group_size}."
            )

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,). A row counts as correct where its reward is above 0."""
        correct_PG = rollouts.rewards_PG > 0
        total_P = rollouts.valid_PG.sum(1).tolist()
        right_P = (correct_PG & rollouts.valid_PG).sum(1).tolist()
        pairs_P2 = torch.tensor([self.of_group(n, c) for n, c in zip(total_P, right_P, strict=True)])
        pairs_P2 = pairs_P2.to(rollouts.rewards_B.device)
        return rollouts.per_row(torch.where(correct_PG, pairs_P2[:, :1], pairs_P2[:, 1:]))

    def of_group(self, n: int, c: int) -> tuple[float, float]:
        """The advantages of a correct and of an incorrect completion where c of n are correct."""
        sets = comb(n, self.k)
        failing = comb(n - c, self.k)
        if sets == 0 or failing in (0, sets):
            return 0.0, 0.0
        share = failing / sets  # 1 - R
        sigma = sqrt(share * (1 - share))
        # Of the sets that hold a given incorrect completion, the share without any correct one.
        failing_with_it = comb(n - c - 1, self.k - 1) / comb(n - 1, self.k - 1)
        return share / sigma, (share - failing_with_it) / sigma
