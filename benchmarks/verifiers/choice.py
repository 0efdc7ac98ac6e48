r"""Judges multiple choice: the letter of the last `\boxed{}` or `<answer>`, which is found as `math` finds an answer.

The letter may stand in `\text{}` or in parentheses, after "Option" or "Answer", and before the option's own text: `B`,
`(B)`, `\text{B}`, `B. 5 cm` and `Option B` all choose B. A lower-case letter counts only if it stands alone. Two
letters (`A, B`) choose nothing. An answer that is not one of the problem's letters (`Problem.data["letters"]`) is
WRONG.
"""

from __future__ import annotations

import re
from typing import ClassVar

from benchmarks.tasks.base import Problem
from benchmarks.verifiers.base import Verdict, Verifier
from benchmarks.verifiers.math import extract_answer

_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm)\s*\{([^{}]*)\}|[$*]|\\[()]")
_NAMED = re.compile(r"(?:the\s+)?(?:option|answer|choice)\s*(?:is)?\s*:?\s*", re.IGNORECASE)
_LETTER = re.compile(r"\(?\s*([A-Z])\s*\)?(?:[.:]|\s|$)(.*)", re.DOTALL)
_ALONE = re.compile(r"\(?([a-z])\)?\.?")
_SECOND = re.compile(r"(?:[,;/&]|and\b|or\b|\(?[A-Z]\)?$)")
"""What follows a letter if a second one is chosen."""


class ChoiceVerifier(Verifier):
    """Judges by the rule at the top of this file, in this process and in linear time."""

    name: ClassVar[str] = "choice"
    VERSION: ClassVar[int] = 1

    def verify(self, problem: Problem, text: str, finished: bool = True) -> Verdict:
        """Returns CORRECT for the gold letter, even if the completion was cut off later, else WRONG or TRUNCATED."""
        if self.extract(problem, text) == problem.answer:
            return Verdict.CORRECT
        return Verdict.WRONG if finished else Verdict.TRUNCATED

    def extract(self, problem: Problem, text: str) -> str | None:
        """Returns the chosen letter, or None if none of the problem's letters is chosen."""
        answer = extract_answer(text)
        letter = "" if answer is None else chosen(answer)
        return letter if letter and letter in problem.data.get("letters", "ABCD") else None


def chosen(answer: str) -> str:
    """Returns the letter that an answer chooses, or "" if it chooses none or more than one."""
    plain = _WRAPPED.sub(lambda match: match[1] or "", answer[:1_000]).strip()
    if alone := _ALONE.fullmatch(plain):
        return alone[1].upper()
    if named := _NAMED.match(plain):
        plain = plain[named.end() :]
    match = _LETTER.match(plain)
    if match is None or _SECOND.match(match[2].strip()):
        return ""
    return match[1]
