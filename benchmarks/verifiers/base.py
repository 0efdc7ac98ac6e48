"""What a verifier is: (problem, completion) -> Verdict.

The same one gives training its reward and evaluation its counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from benchmarks.tasks.base import Problem


class Verdict(StrEnum):
    """Four different things. Their sum is n; only CORRECT is success, and ERROR is never WRONG."""

    CORRECT = "correct"
    WRONG = "wrong"
    TRUNCATED = "truncated"
    """Hit the length limit without stating the right answer."""
    ERROR = "error"
    """The verifier itself crashed or ran out of time: nothing is known of the completion."""


class Verifier:
    """Judges completions, which are untrusted text: parsed, never evaluated."""

    name: ClassVar[str]
    VERSION: ClassVar[int]

    def verify(self, problem: Problem, text: str, finished: bool = True) -> Verdict:
        """The verdict on one completion. `finished`: False where it was cut off by the length limit."""
        raise NotImplementedError

    def verify_many(
        self, problems: Sequence[Problem], texts: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[Verdict]:
        """The verdicts on `texts[i]` for `problems[i]`, in order. Unequal lengths: ValueError."""
        flags = [True] * len(texts) if finished is None else finished
        return [self.verify(*row) for row in zip(problems, texts, flags, strict=True)]

    @property
    def checks_chains(self) -> bool:
        """Whether it judges chains of thought at all: it has a `check_chain` of its own."""
        return type(self).check_chain is not Verifier.check_chain

    def check_chain(self, problem: Problem, text: str) -> bool | None:
        """Whether the chain of thought itself holds, step by step; None where the task cannot say."""
        return None

    def close(self) -> None:
        """Gives back worker processes, where there are any."""
