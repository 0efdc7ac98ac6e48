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

    `sound`: the share of right answers that are given under a chain of thought that holds; the others have none.
    `spread`: a problem's probability is then p * 2 * u, u uniform in 0..1 by the prompt's hash (0.5 in the mean).
    `delay_s`: seconds a chunk takes. `crash_on`, `kill_on`: a prompt that raises, or kills the process.
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
        sound: float = 0.0,
        delay_s: float = 0.0,
        crash_on: str | None = None,
        kill_on: str | None = None,
    ) -> None:
        for name, value in (("p", p), ("sound", sound)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name} must be in 0..1, got {value}.")
        self.p, self.spread, self.sound, self.delay_s = p, spread, sound, delay_s
        self.crash_on, self.kill_on = crash_on, kill_on

    @classmethod
    def identify(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> ModelRef:
        """The settings that decide what it says."""
        decisive = [settings.get("p", 0.3), settings.get("spread", False), settings.get("sound", 0.0)]
        return ModelRef(model_path, revision, content_hash(decisive))

    @classmethod
    def installed_version(cls) -> str:
        """The version of its rules."""
        return "1"

    @classmethod
    def load_tokenizer(cls, model_path: str, revision: str | None) -> Any:
        """It has none."""
        raise UsageError("engine 'scripted' has no tokenizer: choose a prompt template with a text.")

    @property
    def description(self) -> str:
        """The engine with its version."""
        return f"{self.name} {self.installed_version()}"

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
        if rng.random() < p:
            text = answer(prompt, with_chain=rng.random() < self.sound)
        else:
            text = f"{rng.random()}\n\\boxed{{{rng.randrange(1000)}}}"
        return Completion(text[:limit], min(len(text) + 1, limit), len(text) < limit)


@functools.lru_cache(maxsize=4096)
def answer(prompt: str, with_chain: bool = False) -> str:
    r"""A right completion of a Countdown prompt ("3 7 12:24\n"), with its chain or without; empty: there is none."""
    numbers, _, target = prompt.strip().partition(":")
    try:
        terms = [(int(number), number) for number in numbers.split()]
        found = _search(terms, int(target))
    except ValueError:
        return ""
    if found is None:
        return ""
    expression, chain = found
    return f"{chain if with_chain else ''}\\boxed{{{expression}}}"


def _search(terms: list[tuple[int, str]], target: int) -> tuple[str, str] | None:
    """An expression over all terms whose value is the target, by whole numbers alone, and the lines that lead to it."""
    if len(terms) == 1:
        return (terms[0][1], "") if terms[0][0] == target else None
    for i, j in itertools.permutations(range(len(terms)), 2):
        (a, left), (b, right) = terms[i], terms[j]
        rest = [term for place, term in enumerate(terms) if place not in (i, j)]
        values = [(a + b, "+"), (a - b, "-"), (a * b, "*")] + ([(a // b, "/")] if b and a % b == 0 else [])
        for value, operator in values:
            found = _search([*rest, (value, f"({left}{operator}{right})")], target)
            if found:
                return found[0], f"{a}{operator}{b}={value}\n{found[1]}"
    return None
