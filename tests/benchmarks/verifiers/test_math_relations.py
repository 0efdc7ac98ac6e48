"""An answer that contradicts itself is not right, whatever stands behind its last equals sign."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict
from benchmarks.verifiers.math import MathVerifier

HOLDS = [
    ("5", "x=5"),
    ("5", "f(x) = 5"),
    ("5", "a=b=5"),
    ("5", "S_n = n^2 = 5"),
    ("5", "2+3=5"),
    ("5", "x=2+3=5"),
    ("5", "5=5=5"),
    ("5", r"\sqrt{25}=5"),
    ("5", r"\binom{5}{1}=5"),
    ("5", r"17 \equiv 5 \mod 12"),
    ("1, 2", r"x=1 \text{ or } x=2"),  # a list: x is not both at once
    ("(1,2)", "x=1, y=2"),
    ("0.333", r"\frac{1}{3}=0.333"),  # a decimal may be rounded
    ("y=2x+1", "y=2x+1"),
    ("1=2", "1=2"),  # the gold answer itself, character for character
    ("5", r"\approx 5"),
    ("5", "≈ 5"),
    ("5", r"x \approx 5"),
    (r"\frac{\pi}{4}", r"\frac{\pi}{4} \approx 0.785"),
]
CONTRADICTS = [
    ("5", "3=5"),
    ("5", "3==5"),
    ("5", "6/2=5"),
    ("5", "x=3=5"),
    ("5", "3=x=5"),
    ("5", "3=4=5"),
    ("5", "x=2+2=5"),
    ("5", r"\sqrt{24}=5"),
    ("5", r"0 \cdot x=5"),
    ("5", "x-x=5"),
    ("5", r"\infty=5"),
    ("5", r"\frac{1}{0}=5"),
    ("1, 2", "3=1, 4=2"),
    ("1, 2", "x=1, 4=2"),
    ("3", r"3 \approx 5"),  # two answers, of which one may be right
    ("5", r"3 \approx 5"),
    ("5", r"\approx 5.04"),  # the number that is stated is compared as it is
]


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    made = MathVerifier(workers=1)
    yield made
    made.close()


def test_an_equality_of_the_answer_must_hold(verifier: MathVerifier) -> None:
    """Each pair of CONTRADICTS with an equals sign was CORRECT in version 1 of the verifier."""
    rows = [(*pair, Verdict.CORRECT) for pair in HOLDS] + [(*pair, Verdict.WRONG) for pair in CONTRADICTS]
    problems = [Problem("p", "What is it?", gold) for gold, _, _ in rows]
    verdicts = verifier.verify_many(problems, [f"<answer>{answer}</answer>" for _, answer, _ in rows])
    assert [row for row, verdict in zip(rows, verdicts, strict=True) if verdict != row[2]] == []
    assert not verifier.failures
