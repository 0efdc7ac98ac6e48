"""The batch that an advantage is computed from, and what an algorithm is.

Axes: P prompts, G completions of one prompt, B = P*G flattened group-major (rows i*G..i*G+G-1 share prompt i),
T completion tokens. A tensor's name ends in its axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from algorithms.settings import Settings
from benchmarks.errors import UsageError

WHITEN_EPSILON = 1e-8
NO_BOUND = 1e9
"""The clip range that TRL is told where there is none: it wants a number."""


@dataclass(frozen=True)
class Rollouts:
    """One generation batch, gathered over all processes."""

    rewards_B: Tensor
    """Verifier reward plus any shaping, float32."""
    mask_BT: Tensor
    """1 on completion tokens (EOS included), 0 on padding."""
    group_size: int
    """G."""
    greedy_rewards_P: Tensor | None = None
    """Reward of each prompt's greedy completion, NaN where its verifier failed (`NeedsGreedyBaseline`)."""
    values_BT: Tensor | None = None
    """The critic's values before each token (`NeedsCritic`)."""
    correct_B: Tensor | None = None
    """The verifier's verdicts, before shaping (what DAPO filters on)."""
    valid_B: Tensor | None = None
    """False where the verifier failed or the row is filler: out of statistics and loss. None: all valid."""

    def __post_init__(self) -> None:
        rows = self.rewards_B.shape[0]
        if self.rewards_B.ndim != 1 or self.mask_BT.ndim != 2 or self.mask_BT.shape[0] != rows:
            raise ValueError(
                f"rewards_B {tuple(self.rewards_B.shape)} and mask_BT {tuple(self.mask_BT.shape)} do not share B"
            )
        if self.group_size < 1 or rows % self.group_size:
            raise ValueError(f"{rows} rows are not whole groups of {self.group_size}")

    @property
    def rewards_PG(self) -> Tensor:
        """Rewards by group, 0 where the row is not valid."""
        return torch.where(self.valid_PG, self.rewards_B.float().view(-1, self.group_size), 0.0)

    @property
    def valid_PG(self) -> Tensor:
        """Which rows count, by group (bool)."""
        valid_B = torch.ones_like(self.rewards_B, dtype=torch.bool) if self.valid_B is None else self.valid_B.bool()
        return valid_B.view(-1, self.group_size)

    @property
    def valid_mask_BT(self) -> Tensor:
        """`mask_BT` without the rows that do not count, float32."""
        return self.mask_BT.float() * self.valid_PG.flatten()[:, None]

    def group_mean_P1(self) -> Tensor:
        """Mean reward of each group's valid rows, (P, 1); 0 where there is none."""
        return self.rewards_PG.sum(1, keepdim=True) / self.valid_PG.sum(1, keepdim=True).clamp(min=1)

    def deviations_PG(self) -> Tensor:
        """Each valid row's reward minus its group's mean, and exactly 0 where all valid rows of a group are equal.

        A mean of equal numbers can miss them by a rounding error, which a division by a small number would blow up.
        """
        highest_P1 = self.rewards_PG.masked_fill(~self.valid_PG, -torch.inf).amax(1, keepdim=True)
        lowest_P1 = self.rewards_PG.masked_fill(~self.valid_PG, torch.inf).amin(1, keepdim=True)
        differs_PG = self.valid_PG & (highest_P1 > lowest_P1)
        return torch.where(differs_PG, self.rewards_PG - self.group_mean_P1(), 0.0)

    def per_row(self, advantages_PG: Tensor) -> Tensor:
        """(P, G) -> (B,), zero where the row is not valid."""
        return torch.where(self.valid_PG, advantages_PG, 0.0).flatten()


_LOSS_TYPES = {"token_mean": "dapo", "sequence_mean": "grpo", "constant": "dr_grpo"}
"""TRL's names. Its "dapo" is the mean over the tokens of the whole batch; its "bnpo" is one of each process alone."""


@dataclass(frozen=True)
class Surrogate:
    """The objective that all algorithms share, except for what an algorithm pins: PPO's clipped ratio for each token.

    J = mean over tokens of min(w A, clip(w, 1 - clip_range, 1 + clip_range) A) - kl_coefficient * KL,
    where w is the ratio of the policy's probability of the token to the sampler's (1707.06347 eq. 7).
    """

    clip_range: float | None = 0.2
    """None: the ratio is not clipped."""
    kl_coefficient: float = 0.0
    loss: str = "token_mean"
    """`token_mean`: every token of the batch has the same weight; `sequence_mean`: every completion has; `constant`:
    sums over tokens are divided by the length limit, whatever the lengths are."""
    mask_truncated: bool = False
    # A suite cannot set what follows; an algorithm pins it.
    clip_range_high: float | None = None
    """The clip range above 1. None: the same as below."""
    ratio: Literal["token", "sequence", "none"] = "token"
    """`sequence`: w is the geometric mean of the completion's token ratios. `none`: w is 1, so that the gradient is
    that of the log-likelihood, weighted by the advantage."""
    weight_cap: float | None = None
    """Instead of clipping: w is capped at this value and detached, and multiplies the log-probability's gradient. TRL
    has this with the mean over tokens alone."""

    def trl_config(self) -> dict[str, Any]:
        """Every field of GRPOConfig that defines the objective: TRL's own defaults are never relied on.

        Raises UsageError for a cap on weights under another loss than `token_mean`.
        """
        if self.weight_cap is not None and self.loss != "token_mean":
            raise UsageError(f"weight_cap needs the loss token_mean, but the loss is {self.loss}: pin it too.")
        nothing_to_clip = self.weight_cap is not None or self.ratio == "none"
        low = NO_BOUND if self.clip_range is None or nothing_to_clip else self.clip_range
        high = low if self.clip_range_high is None or nothing_to_clip else self.clip_range_high
        return {
            "loss_type": "cispo" if self.weight_cap is not None else _LOSS_TYPES[self.loss],
            "epsilon": low,
            "epsilon_high": high if self.weight_cap is None else self.weight_cap,
            "delta": None,
            "beta": self.kl_coefficient,
            "use_bias_correction_kl": False,
            "sync_ref_model": False,
            "importance_sampling_level": "sequence" if self.ratio == "sequence" else "token",
            "mask_truncated_completions": self.mask_truncated,
            # Algorithm.advantages replaces TRL's own advantages, so these three only shape what TRL logs.
            "scale_rewards": "none",
            "multi_objective_aggregation": "sum_then_normalize",
            "reward_weights": None,
            "top_entropy_quantile": 1.0,
            "entropy_coef": 0.0,
            "use_adaptive_entropy": False,
            "off_policy_mask_threshold": None,
            "vllm_importance_sampling_correction": False,
        }


@dataclass(frozen=True)
class Algorithm:
    """One way to turn rewards into advantages. It is pure: it holds settings and no state.

    Subclasses are frozen dataclasses whose fields are the algorithm's own settings. An algorithm that needs more than
    rewards also inherits from one of the capabilities below, for example `class PPO(NeedsCritic, Algorithm)`.
    """

    name: ClassVar[str]
    paper: ClassVar[str]

    space: ClassVar[Mapping[str, Any]] = {}
    """Over what its own settings are tuned (`space.py`): (low, high), (low, high, "log") or a list of choices."""

    surrogate: Surrogate = Surrogate()
    """The objective that the suite asks for."""

    def pins(self) -> Mapping[str, Any]:
        """The parts of the common objective that define this algorithm: a field of `Surrogate` -> its value.

        They hold whatever the suite says. A suite that sets one of them to another value is refused.
        """
        return {}

    @property
    def objective(self) -> Surrogate:
        """The suite's objective with this algorithm's pins."""
        return replace(self.surrogate, **self.pins())

    def trl_config(self) -> dict[str, Any]:
        """Every GRPOConfig field that defines the objective."""
        return self.objective.trl_config()

    def check(self, settings: Settings) -> None:
        """Raises UsageError for a suite with which the algorithm cannot work. It runs before any model is loaded."""

    def shape(self, rewards_B: Tensor, lengths_B: Tensor, limit: int) -> Tensor:
        """Training rewards from the verifier's {0, 1}; evaluation never sees them. By default they are the same.

        `lengths_B` counts completion tokens, EOS included; `limit` is the largest length that is possible.
        """
        return rewards_B

    def advantages(self, rollouts: Rollouts) -> Tensor:
        """(B,) or (B, T); zero on rows that are not valid and, if (B, T), on padding. It has no side effects."""
        raise NotImplementedError


# ------------------------------------------------------------------------------------------------ capabilities


class NeedsGreedyBaseline:
    """The trainer supplies `Rollouts.greedy_rewards_P`, at the cost of one greedy completion per prompt."""


@dataclass(frozen=True)
class CriticSettings:
    """How a critic learns; the algorithm decides all of it."""

    learning_rate_factor: float
    """The critic's learning rate in units of the policy's."""
    clip_range: float
    """How far a value may move from the one at sampling time before its loss is clipped."""
    warmup_steps: int
    """Generation batches at the start on which the critic alone learns."""


class NeedsCritic(ABC):
    """The trainer supplies `Rollouts.values_BT` from a critic, a network of its own that learns beside the policy."""

    @abstractmethod
    def critic(self) -> CriticSettings:
        """How the critic learns."""

    @abstractmethod
    def value_targets(self, rollouts: Rollouts) -> Tensor:
        """(B, T): what the critic learns to predict."""


class NeedsRefill(ABC):
    """The trainer replaces groups without signal by the groups of fresh prompts, for at most `refill_rounds` rounds."""

    refill_rounds: int

    @abstractmethod
    def has_signal(self, correct_PG: Tensor, valid_PG: Tensor) -> Tensor:
        """(P,) bool: which groups are kept. Both arguments are bool: the verdicts, and which rows count."""


class NeedsReferenceReset:
    """The trainer makes the policy the reference of the KL term, and empties the optimiser, every so many steps."""

    reset_every_steps: int


# ------------------------------------------------------------------------------------------------ arithmetic


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is 1; 0 where it nowhere is."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-8) over all tokens under the mask; unbiased variance; 0 elsewhere.

    One token (or none) has no variance: the result is 0.
    """
    count = mask_BT.sum()
    centred_BT = (values_BT - masked_mean(values_BT, mask_BT)) * mask_BT
    variance = centred_BT.square().sum() / (count - 1).clamp(min=1)
    return centred_BT * torch.rsqrt(variance + WHITEN_EPSILON)
