"""The pre-training corpus of the embedded Countdown model: random solutions, many of which miss their target.

A miss shows a target that the numbers can reach and a sound solution of the same numbers that ends elsewhere. A model
trained on the mixture can do everything (write sound chains, reach most targets within many samples), but it rarely
hits the target at once, which is what a base model is to reinforcement learning with verifiable rewards.

Row i is a pure function of i. Nothing is stored, and any slice can be hashed.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from benchmarks.seeds import derive
from benchmarks.tasks.countdown import draw_numbers, draw_solution, make_problem

VERSION = 1
SHARE_OF_MISSES = 0.5
SIZES = (3, 4, 5)
SIZE_WEIGHTS = (0.35, 0.45, 0.20)
"""Problems with five numbers test transfer for the trained policy, but not for the base, which has seen their form."""


@dataclass(frozen=True)
class Trace:
    """One row. The prompt is context, and the completion is what the model learns."""

    prompt: str
    completion: str


def trace(index: int) -> Trace:
    """Returns row `index`. Its numbers come from the training share, so it shows no test set of three or four."""
    rng = random.Random(derive("countdown-corpus", VERSION, index))
    size = rng.choices(SIZES, SIZE_WEIGHTS)[0]
    numbers = draw_numbers(rng, "train", size)
    shown = draw_solution(rng, numbers)
    asked = draw_solution(rng, numbers) if rng.random() < SHARE_OF_MISSES else shown
    return Trace(make_problem(numbers, asked.value).prompt, shown.text())


def corpus_hash(rows: int) -> str:
    """Returns the SHA-256 over the first `rows` rows, as hex."""
    digest = hashlib.sha256()
    for index in range(rows):
        row = trace(index)
        digest.update(f"{row.prompt}\x1e{row.completion}\x1e".encode())
    return digest.hexdigest()
