"""Where dynamic sampling takes fresh prompts from: a stream of its own, so that refills do not move the first batches.

All algorithms thus see the same prompts in the first batch of each step, whether they refill or not.
"""

from __future__ import annotations

import random


class PromptStream:
    """An endless sequence of seeded shuffles of the training set, shared out between processes."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.cursor = 0
        """How many prompts all processes have taken so far; a checkpoint holds it."""
        self._shuffled: tuple[int, list[int]] = (-1, [])

    def take(self, count: int, process: int, processes: int) -> list[int]:
        """Indices of this process's next `count` problems. Every process must ask for the same number."""
        start = self.cursor + count * process
        self.cursor += count * processes
        return [self._at(position) for position in range(start, start + count)]

    def _at(self, position: int) -> int:
        epoch, offset = divmod(position, self.size)
        if self._shuffled[0] != epoch:
            order = list(range(self.size))
            random.Random(f"refill {self.seed} {epoch}").shuffle(order)
            self._shuffled = epoch, order
        return self._shuffled[1][offset]
