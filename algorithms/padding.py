"""Less padding in forward and backward passes: columns that no row of a micro-batch uses, and rows of like length.

TRL pads a whole generation batch to its longest row, and every micro-batch of it keeps that width. Nothing here
changes what is computed for a token, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

Score = Callable[[Tensor, Tensor, int], Sequence[Tensor | None]]
"""(ids_BL, mask_BL, completion columns) -> tensors (B, T) of the completion, None, or a scalar of the batch."""


def has_rotary_positions(config: Any) -> bool:
    """Whether a model's positions are relative, so that padding on the left may go: others count it."""
    return getattr(config, "rope_parameters", None) is not None


def unused_columns(mask_BL: Tensor, completion: int, left: bool = True) -> tuple[int, int]:
    """How many columns at the left (of the prompt) and right (of the `completion` last) no row has a token in.

    One column of each part stays. `left` False: those of the prompt stay.
    """
    used = mask_BL.any(0).tolist()
    prompt = len(used) - completion
    at_left = next((column for column in range(prompt - 1) if used[column]), max(prompt - 1, 0)) if left else 0
    at_right = next((column for column in range(completion - 1) if used[-1 - column]), max(completion - 1, 0))
    return at_left, at_right


def score_trimmed(score: Score, ids_BL: Tensor, mask_BL: Tensor, completion: int, left: bool) -> list[Tensor | None]:
    """What `score` says without the unused columns; 0 in those of the completion."""
    at_left, at_right = unused_columns(mask_BL, completion, left)
    columns = slice(at_left, ids_BL.shape[1] - at_right)
    found = score(ids_BL[:, columns], mask_BL[:, columns], completion - at_right)
    return [pad(one, (0, at_right)) if one is not None and one.ndim == 2 else one for one in found]


def score_in_micro_batches(
    score: Score, ids_BL: Tensor, mask_BL: Tensor, completion: int, rows: int, left: bool
) -> list[Tensor | None]:
    """`score_trimmed` of `rows` rows at a time, those of like length together; the result is in the given order."""
    order_B = by_length(mask_BL)
    parts = [score_trimmed(score, ids_BL[some], mask_BL[some], completion, left) for some in order_B.split(rows)]
    back_B = torch.argsort(order_B)
    return [_joined(list(kind), back_B) for kind in zip(*parts, strict=True)]


def _joined(parts: list[Tensor | None], back_B: Tensor) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    if not tensors:
        return None
    return torch.cat(tensors)[back_B] if tensors[0].ndim == 2 else torch.stack(tensors).mean()


def by_length(mask_BL: Tensor) -> Tensor:
    """Row numbers, longest first: what does not fit into memory fails at once."""
    return torch.argsort(mask_BL.sum(1), descending=True, stable=True)


def group_by_length(micro_batches: list[dict[str, Any]], window: int) -> list[dict[str, Any]]:
    """The same micro-batches with rows of like length together, within every `window` of them (a mini-batch)."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(micro_batches), window):
        found += _regrouped(micro_batches[start : start + window])
    return found


def _regrouped(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mask_BL = torch.cat([torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1) for batch in batches])
    order_B = by_length(mask_BL)
    shares = order_B.split(len(mask_BL) // len(batches))

    def rows(key: str, share: Tensor) -> Any:
        values = [batch[key] for batch in batches]
        is_of_rows = isinstance(values[0], Tensor) and values[0].ndim > 0
        return torch.cat(values)[share] if is_of_rows else values[0]

    return [{key: rows(key, share) for key in batches[0]} for share in shares]
