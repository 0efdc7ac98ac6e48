"""The batches that an algorithm is checked on: drawn at random from fixed seeds, with rows that are not valid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from algorithms.base import Algorithm, NeedsCritic, NeedsGreedyBaseline, Rollouts

P, G, T = 3, 8, 6
B = P * G
SEEDS = range(5)


def batch(seed: int, group_size: int = G, **changes: Any) -> Rollouts:
    """Draws a batch with everything that any algorithm needs.

    Some rows of it are not valid, one of them is empty, and for odd seeds a greedy completion was not judged.
    """
    rows = P * group_size
    draw = torch.Generator().manual_seed(seed)
    lengths_B = torch.randint(1, T + 1, (rows,), generator=draw)
    valid_B = torch.rand(rows, generator=draw) < 0.8
    lengths_B[0], valid_B[0], valid_B[1] = 0, False, True
    correct_B = torch.rand(rows, generator=draw) < 0.4
    greedy_rewards_P = (torch.rand(P, generator=draw) < 0.4).float()
    if seed % 2:
        greedy_rewards_P[1] = torch.nan
    parts = {
        "rewards_B": correct_B.float(),
        "mask_BT": (torch.arange(T) < lengths_B[:, None]).long(),
        "group_size": group_size,
        "greedy_rewards_P": greedy_rewards_P,
        "values_BT": torch.randn(rows, T, generator=draw),
        "correct_B": correct_B,
        "valid_B": valid_B,
    }
    return Rollouts(**{**parts, **changes})


def for_algorithm(algorithm: Algorithm, rollouts: Rollouts) -> Rollouts:
    """Returns the batch as the trainer would make it: without what the algorithm does not say that it needs."""
    greedy = rollouts.greedy_rewards_P if isinstance(algorithm, NeedsGreedyBaseline) else None
    values = rollouts.values_BT if isinstance(algorithm, NeedsCritic) else None
    return replace(rollouts, greedy_rewards_P=greedy, values_BT=values)


def batches(algorithm: Algorithm, **changes: Any) -> Iterator[Rollouts]:
    """Draws a batch for each of `SEEDS`, with what the algorithm needs."""
    return (for_algorithm(algorithm, batch(seed, **changes)) for seed in SEEDS)


def tensors(rollouts: Rollouts) -> dict[str, Tensor]:
    """Returns the tensors of a batch by name."""
    values = {field.name: getattr(rollouts, field.name) for field in fields(rollouts)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same numbers; NaN is the same as NaN."""
    return first.shape == second.shape and torch.equal(first.nan_to_num(7e7), second.nan_to_num(7e7))


def per_token(advantages: Tensor) -> Tensor:
    """Returns (B, T) of what may be (B,)."""
    return advantages if advantages.ndim == 2 else advantages[:, None].expand(-1, T)
