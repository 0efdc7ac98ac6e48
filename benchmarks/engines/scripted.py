"""A fake engine for tests and benchmarks. It has no model and no torch; prompt, seed and index decide what it says.

It can slow rows down, crash on them, or kill its process, so that everything around an engine can be tested. It finds
right answers to Countdown prompts by search and gives them with a probability that can be set.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from benchmarks.engines.base import Chunk, Completion, Engine
from benchmarks.engines.identity import ModelRef
from benchmarks.errors import UsageError
from benchmarks.files import content_hash
from benchmarks.seeds import derive
from benchmarks.settings import Sampling


class ScriptedEngine(Engine):
    r"""Answers Countdown prompts correctly with probability `p`, which varies by problem if `spread` is set.

    With `spread`, a problem's probability is p * 2 * u, where the prompt's hash gives u, uniform in 0..1 (0.5 on
    average). `delay_s` is the time that a chunk takes. A prompt in `crash_on` raises, and one in `kill_on` kills the
    process.
    """

    name: ClassVar[str] = "scripted"
    uses_accelerators: ClassVar[bool] = False

    def __init__(
        self,
        model_path: str = "scripted",
        revision: str | None = None,
        *,
        p: float = 0.3,
        spread: bool = False,
        delay_s: float = 0.0,
        crash_on: str | None = None,
        kill_on: str | None = None,
    ) -> None:
        if not 0 <= p <= 1:
            raise UsageError(f"p must be in 0..1, got {p}.")
        self.p, self.spread, self.delay_s = p, spread, delay_s
        self.crash_on, self.kill_on = crash_on, kill_on

    @classmethod
    def identify(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> ModelRef:
        """Returns an identity made of the settings that decide what the engine says."""
        return ModelRef(model_path, revision, content_hash([settings.get("p", 0.3), settings.get("spread", False)]))

    @property
    def description(self) -> str:
        """The engine with its version."""
        return "scripted 1"

    def sample(self, chunk: Chunk, sampling: Sampling) -> list[list[Completion]]:
        """Samples as `Engine.sample` does. One character is one token."""
        time.sleep(self.delay_s)
        return [
            [self._completion(prompt, place, index, chunk.seed, sampling.max_new_tokens) for index in range(chunk.n)]
            for place, prompt in enumerate(chunk.prompts)
        ]

    def _completion(self, prompt: str, place: int, index: int, seed: int, limit: int) -> Completion:
        if prompt == self.crash_on:
            raise RuntimeError(f"scripted to crash on {prompt!r}")
        if prompt == self.kill_on:
            os.kill(os.getpid(), signal.SIGKILL)
        rng = random.Random(derive("scripted", prompt, place, seed, index))
        p = self.p * (2 * random.Random(derive("scripted", prompt)).random() if self.spread else 1)
        text = answer(prompt) if rng.random() < p else f"{rng.random()}\n\\boxed{{{rng.randrange(1000)}}}"
        return Completion(text[:limit], min(len(text) + 1, limit), len(text) < limit)


@functools.lru_cache(maxsize=4096)
def answer(prompt: str) -> str:
    r"""Returns a right completion of a Countdown prompt ("3 7 12:24\n") without a chain, or "" if there is none."""
    numbers, _, target = prompt.strip().partition(":")
    try:
        terms = [(int(number), number) for number in numbers.split()]
        found = _search(terms, int(target))
    except ValueError:
        return ""
    return f"\\boxed{{{found}}}" if found else ""


def _search(terms: list[tuple[int, str]], target: int) -> str | None:
    """Returns an expression over all terms whose value is the target, using only whole numbers."""
    if len(terms) == 1:
        return terms[0][1] if terms[0][0] == target else None
    for i, j in itertools.permutations(range(len(terms)), 2):
        (a, left), (b, right) = terms[i], terms[j]
        rest = [term for place, term in enumerate(terms) if place not in (i, j)]
        values = [(a + b, "+"), (a - b, "-"), (a * b, "*")] + ([(a // b, "/")] if b and a % b == 0 else [])
        for value, operator in values:
            found = _search([*rest, (value, f"({left}{operator}{right})")], target)
            if found:
                return found
    return None
