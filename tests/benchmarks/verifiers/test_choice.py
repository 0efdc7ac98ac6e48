"""The letter that a completion chooses."""

from __future__ import annotations

import pytest

from benchmarks import verifiers
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict
from benchmarks.verifiers.choice import chosen
from benchmarks.verifiers.conformance import verifier_findings

PROBLEM = Problem("p", "Which?\nA) 1\nB) 2", "B", {"letters": "ABCD"})


@pytest.mark.parametrize(
    "answer",
    ["B", "(B)", "b", "(b)", "B.", "B)", r"\text{B}", r"\mathrm{(B)}", r"\textbf{B}", "$B$", "**B**", "B. 5 cm",
     "B) 5 cm", "B: 5 cm", "(B) 5 cm", "Option B", "option (B)", "Answer: B", "The answer is B", "B 2.5",
     r"\text{B) } 5"],
)  # fmt: skip
def test_one_letter(answer: str) -> None:
    assert chosen(answer) == "B"


@pytest.mark.parametrize(
    "answer", ["A, B", "A and B", "A or B", "A/B", "A B", "(A) (B)", "AB", "5", "", "bc", "Both", "!B"]
)
def test_no_letter(answer: str) -> None:
    assert chosen(answer) == ""


def test_verdicts() -> None:
    verifier = verifiers.get("choice")
    rows = [
        ("thus \\boxed{B}", True, Verdict.CORRECT),
        ("<answer>(B) 2</answer>", True, Verdict.CORRECT),
        ("\\boxed{B} and then", False, Verdict.CORRECT),
        ("\\boxed{A}", True, Verdict.WRONG),
        ("\\boxed{A}", False, Verdict.TRUNCATED),
        ("\\boxed{E}", True, Verdict.WRONG),
        ("B", True, Verdict.WRONG),
    ]
    texts, finished, expected = zip(*rows, strict=True)
    assert verifier.verify_many([PROBLEM] * len(rows), texts, finished) == list(expected)
    assert [verifier.extract(PROBLEM, text) for text in texts] == ["B", "B", "B", "A", "A", None, None]


def test_it_keeps_to_what_every_verifier_must() -> None:
    assert verifier_findings(verifiers.get("choice"), [PROBLEM]) == []


def test_long_answers_take_linear_time() -> None:
    for piece in ("B ", "(", "\\text{", "option ", "$"):
        assert chosen(piece * 200_000) in ("", "B")
