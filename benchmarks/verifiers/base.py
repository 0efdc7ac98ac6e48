"""Defines a verifier, which maps (problem, completion) to a Verdict.

The same verifier gives training its reward and evaluation its counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

from benchmarks.tasks.base import Problem


class Verdict(StrEnum):
    """Four different outcomes, whose counts sum to n. Only CORRECT is success, and ERROR is never WRONG."""

    CORRECT = "correct"
    WRONG = "wrong"
    TRUNCATED = "truncated"
    """The completion hit the length limit without stating the right answer."""
    ERROR = "error"
    """The completion made the verifier crash or run out of time, so nothing is known of it.

    A verifier that cannot work here (it cannot start, import or write) raises Failure instead, which ends the run.
    """


class Verifier:
    """Judges completions. They are untrusted text, which is parsed but never evaluated.

    The evaluation stage calls a verifier from a single thread, which is not the main one: Python delivers no signals
    there.
    """

    name: ClassVar[str]
    VERSION: ClassVar[int]
    SOURCE: ClassVar[str | None] = None
    """Hash of the source of a verifier that is not built in. It is set when the verifier is loaded."""

    @classmethod
    def settings(cls, processes: int | None, seconds: float | None) -> dict[str, Any]:
        """Returns the constructor's arguments for so many processes and seconds a comparison; None: its own default.

        A verifier without processes of its own takes none of this.
        """
        return {}

    @property
    def version(self) -> int | str:
        """Its VERSION, with the hash of its source if it is not built in. Records hold it."""
        return self.VERSION if self.SOURCE is None else f"{self.VERSION}@{self.SOURCE}"

    def verify(self, problem: Problem, text: str, finished: bool = True) -> Verdict:
        """Returns the verdict on one completion. `finished` is False if the length limit cut it off."""
        raise NotImplementedError

    def verify_many(
        self, problems: Sequence[Problem], texts: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[Verdict]:
        """Returns the verdicts on `texts[i]` for `problems[i]`, in order. Raises ValueError for unequal lengths."""
        flags = [True] * len(texts) if finished is None else finished
        return [self.verify(*row) for row in zip(problems, texts, flags, strict=True)]

    @property
    def extracts(self) -> bool:
        """Whether it can tell the answer of a completion: it has an `extract` of its own."""
        return type(self).extract is not Verifier.extract

    def extract(self, problem: Problem, text: str) -> str | None:
        """Returns the answer that the completion states, which is what `verify` judges. None if it states none.

        It is stored with the completion and counts the votes of maj@k. Equal texts are equal answers.
        """
        return None

    @property
    def checks_chains(self) -> bool:
        """Whether it judges chains of thought at all: it has a `check_chain` of its own."""
        return type(self).check_chain is not Verifier.check_chain

    def check_chain(self, problem: Problem, text: str) -> bool | None:
        """Tells whether each step of the chain of thought holds. None if the task cannot say."""
        return None

    def close(self) -> None:
        """Ends the worker processes, if there are any."""


def probes(problem: Problem) -> tuple[str, ...]:
    """Returns completions that any working verifier can judge, right or wrong, without an error."""
    return "", problem.answer, f"\\boxed{{{problem.answer}}}"
