"""What a step logs of its rollouts: statistics of the whole generation batch, the same on every process."""

from __future__ import annotations

from torch import Tensor

from algorithms.base import Rollouts, masked_mean


def advantage_metrics(advantages: Tensor, rollouts: Rollouts) -> dict[str, float]:
    """Mean and spread of the advantages that are really used, (B,) or (B, T), over the tokens that count."""
    per_token_BT = advantages if advantages.ndim == 2 else advantages[:, None].expand_as(rollouts.mask_BT)
    mean = masked_mean(per_token_BT, rollouts.valid_mask_BT)
    variance = masked_mean((per_token_BT - mean).square(), rollouts.valid_mask_BT)
    return {"advantage/mean": float(mean), "advantage/std": float(variance.sqrt())}


def verdict_metrics(rollouts: Rollouts) -> dict[str, float]:
    """How many completions are correct, how many do not count, and in how many groups all verdicts are the same."""
    assert rollouts.correct_B is not None and rollouts.valid_B is not None
    valid_B = rollouts.valid_B
    correct_PG = (rollouts.correct_B & valid_B).view(-1, rollouts.group_size)
    right_P, size_P = correct_PG.sum(1), rollouts.valid_PG.sum(1)
    return {
        "accuracy": float(masked_mean(rollouts.correct_B.float(), valid_B.float())),
        "invalid_rows": int((~valid_B).sum()),
        "groups_without_signal": int(((right_P == 0) | (right_P == size_P)).sum()),
    }
