"""The completions of one process for one generation batch, before anything is padded.

The trainer arranges greedy baselines and refills on these lists. Rows are in group-major order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass
class Row:
    """One completion of one prompt, with its verdict."""

    prompt: str
    problem: int
    """Index of the problem in the training set."""
    prompt_ids: list[int]
    completion_ids: list[int]
    text: str
    verdict: bool | None
    """Correct, not correct, or None where the verifier failed."""
    filler: bool = False
    """The row only keeps the shape of the batch: it is left out of statistics and loss."""

    @property
    def valid(self) -> bool:
        """Whether the row counts: it was judged, and is no filler."""
        return self.verdict is not None and not self.filler


def tokens(rows: Iterable[Row]) -> int:
    """Completion tokens of all rows."""
    return sum(len(row.completion_ids) for row in rows)


def loss_mask(rows: Sequence[Row], left_out: Sequence[bool]) -> list[list[int]] | None:
    """For each row and token, 0 where the row does not count or is left out; None if all rows count."""
    counts = [row.valid and not out for row, out in zip(rows, left_out, strict=True)]
    if all(counts):
        return None
    return [[int(count)] * len(row.completion_ids) for row, count in zip(rows, counts, strict=True)]


def slice_rows(tensor: Tensor, process: int, rows: int, tokens: int) -> Tensor:
    """This process's rows of a gathered (B,) or (B, T) tensor, cut back to its own number of tokens."""
    local = tensor[process * rows : (process + 1) * rows]
    return local if local.ndim == 1 else local[:, :tokens]
