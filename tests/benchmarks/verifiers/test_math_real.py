"""The math verifier on the golds of real benchmarks, which are not part of this project.

RLVR_GAP_TEST_DATA=FOLDER pytest -rP tests/benchmarks/test_verifier_math_real.py      # prints the rates
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from benchmarks import tasks
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict
from benchmarks.verifiers.math import MathVerifier

DATA = os.environ.get("RLVR_GAP_TEST_DATA")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="RLVR_GAP_TEST_DATA names no folder: real golds are not verified"),
]


def gold(answer: str) -> Problem:
    return Problem("p", "What is it?", answer)


def boxed(answer: str) -> str:
    return f"So it is $\\boxed{{{answer}}}$."


NO_ANSWER_IN_A_BOX = {
    # Golds of omni-math-rule that lack a closing brace: put into a box they are no complete answer. The judge
    # closes the brace of such a gold, so the same answer with all its braces is CORRECT (checked below).
    "cdb3ed5ca063524c": r"\frac{81^{10}}{82^{10}",
    "eaaf9b7adc0a8284": r"\frac{2 k n}{n+k-1}-2 \frac{k!n!}{(k+n-1)!",
    "35b57ecb6d20a316": r"\frac{5055}{2^{15}",
    "92d2b82cd4dbb9de": r"\frac{11}{2^{20}",
}
SWAPPED = {"math500": 500, "omni-math-rule": 600, "aime24": 30, "gsm8k": 300}


def test_real_golds_verify_against_themselves() -> None:
    """All of them: by the verifier, and by its worker alone (a verbatim gold is accepted without one)."""
    verifier = MathVerifier()
    unboxed, unequal = {}, {}
    for name in SWAPPED:
        problems = real(name)
        verdicts = verifier.verify_many(problems, [boxed(p.answer) for p in problems])
        failed = {p.problem_id: p.answer for p, v in zip(problems, verdicts, strict=True) if v != Verdict.CORRECT}
        golds = sorted({p.answer for p in problems})
        replies = verifier._pool.map([(answer, answer) for answer in golds])
        unequal.update({answer: r for answer, r in zip(golds, replies, strict=True) if r.value != "equal"})
        unboxed.update(failed)
        share = 1 - len(failed) / len(problems)
        print(f"{name}: {share:.2%} of {len(problems)} golds are CORRECT in a box; not: {list(failed.values())}")
    mended = [answer + "}" for answer in NO_ANSWER_IN_A_BOX.values()]
    assert verifier.verify_many(list(map(gold, NO_ANSWER_IN_A_BOX.values())), list(map(boxed, mended))) == [
        Verdict.CORRECT
    ] * len(mended)
    verifier.close()
    print(f"the comparison alone finds {len(unequal)} golds different from themselves: {list(unequal)}")
    assert unboxed == NO_ANSWER_IN_A_BOX
    assert unequal == {}


def test_answers_swapped_between_real_problems_are_rejected() -> None:
    """A sample, drawn with a fixed seed: each problem gets the answer of another one."""
    verifier = MathVerifier()
    verdicts: Counter[Verdict] = Counter()
    for name, size in SWAPPED.items():
        draw = random.Random(f"swap:{name}")
        problems = draw.sample(real(name), size)
        pairs = [(p, q) for p, q in zip(problems, [*problems[1:], problems[0]], strict=True) if p.answer != q.answer]
        # Some golds are no complete answer in a box; those are for the other test.
        found = verifier.verify_many([p for p, _ in pairs], [f"<answer>{q.answer}</answer>" for _, q in pairs])
        counts = Counter(found)
        print(
            f"{name}: {counts[Verdict.WRONG] / len(pairs):.2%} of {len(pairs)} swapped answers rejected; {dict(counts)}"
        )
        accepted = [(p.answer, q.answer) for (p, q), v in zip(pairs, found, strict=True) if v == Verdict.CORRECT]
        assert accepted == []
        verdicts += counts
    verifier.close()
    assert verdicts[Verdict.ERROR] <= 0.005 * verdicts.total()


def real(name: str) -> list[Problem]:
    splits = ("train", "test") if name == "omni-math-rule" else ("test",)
    return [problem for split in splits for problem in tasks.get(name, data_dir=DATA).load(split)]
