"""Trimmed micro-batches: what a network says of a token does not change, and each row keeps its place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from algorithms.padding import group_by_length, score_in_micro_batches, score_trimmed, unused_columns

MASK_BL = torch.tensor(
    [  # prompt | completion
        [0, 0, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
    ]
)
IDS_BL = torch.arange(18).view(3, 6) * MASK_BL
COMPLETION = 3


@pytest.mark.parametrize(
    ("rows", "left", "expected"),
    [
        ([0, 1, 2], True, (1, 1)),
        ([0], True, (2, 2)),
        ([0, 2], True, (2, 1)),
        ([0, 1, 2], False, (0, 1)),
    ],
)
def test_unused_columns(rows: list[int], left: bool, expected: tuple[int, int]) -> None:
    assert unused_columns(MASK_BL[rows], COMPLETION, left) == expected


def test_a_column_of_each_part_stays() -> None:
    """The first completion token is predicted at the prompt's last; a batch of masked rows still has a shape."""
    assert unused_columns(torch.zeros(2, 5, dtype=torch.long), 2) == (2, 1)


def score(ids_BL: Tensor, mask_BL: Tensor, completion: int) -> tuple[Tensor, None, Tensor]:
    """Of each completion token: itself and the one before it; and a scalar, as an auxiliary loss is."""
    shifted_BL = ids_BL.float() + 100 * ids_BL.roll(1, dims=1).float()
    return shifted_BL[:, -completion:] * mask_BL[:, -completion:], None, ids_BL.float().mean()


def test_scores_of_tokens_stay() -> None:
    whole_BT = score(IDS_BL, MASK_BL, COMPLETION)[0]
    for rows in (1, 2, 3):
        found_BT, nothing, scalar = score_in_micro_batches(score, IDS_BL, MASK_BL, COMPLETION, rows, True)
        assert found_BT is not None and torch.equal(found_BT, whole_BT)
        assert nothing is None and scalar is not None and scalar.ndim == 0


def test_widths() -> None:
    """Longest first, and each micro-batch as wide as its own rows need."""
    seen: list[tuple[int, int]] = []

    def note(ids_BL: Tensor, mask_BL: Tensor, completion: int) -> tuple[Tensor]:
        seen.append((ids_BL.shape[1], completion))
        return (mask_BL[:, -completion:].float(),)

    score_in_micro_batches(note, IDS_BL, MASK_BL, COMPLETION, 1, True)
    assert seen == [(4, 2), (3, 2), (2, 1)]
    seen.clear()
    score_trimmed(note, IDS_BL, MASK_BL, COMPLETION, False)
    assert seen == [(5, 2)]


def micro_batches() -> list[dict[str, Any]]:
    """Eight rows of lengths 5 1 3 4 | 2 6 1 3 in micro-batches of two, two of which are a mini-batch."""
    lengths = [5, 1, 3, 4, 2, 6, 1, 3]
    mask_BT = (torch.arange(6) < torch.tensor(lengths)[:, None]).long()
    rows = {
        "prompt_mask": torch.ones(8, 1, dtype=torch.long), "completion_mask": mask_BT,
        "advantages": torch.arange(8.0), "num_items_in_batch": torch.tensor(25),
    }  # fmt: skip
    return [{key: tensor[i : i + 2] if tensor.ndim else tensor for key, tensor in rows.items()} for i in range(0, 8, 2)]


def test_rows_of_like_length_are_put_together_within_a_mini_batch() -> None:
    found = group_by_length(micro_batches(), window=2)
    assert [batch["advantages"].tolist() for batch in found] == [[0, 3], [2, 1], [5, 7], [4, 6]]
    assert [batch["completion_mask"].sum(1).tolist() for batch in found] == [[5, 4], [3, 1], [6, 3], [2, 1]]
    assert all(batch["num_items_in_batch"] == 25 for batch in found)
    alone = group_by_length(micro_batches(), window=1)
    assert [sorted(batch["advantages"].tolist()) for batch in alone] == [[0, 1], [2, 3], [4, 5], [6, 7]]
