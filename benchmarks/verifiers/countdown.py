r"""Judges Countdown completions: the boxed expression for the verdict, and the lines before it for the chain.

The answer is the text of the last `\boxed{...}` that is closed. It is CORRECT when it is an expression over exactly
the given numbers, each once, whose exact value is the target. The chain is sound when every line is one operation
whose arithmetic holds, whose operands are at hand (given, or made by an earlier line, and not yet used), and when these
operations are the very ones of the boxed expression. The two verdicts are independent: a right answer can stand
under a wrong chain, and a sound chain can miss the target. A suite says which of the two its training rewards.

This does not stop a chain that is written afterwards to fit an answer found by chance: such a chain is sound.
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from typing import ClassVar

from benchmarks.tasks.base import Problem
from benchmarks.verifiers.base import Verdict, Verifier
from benchmarks.verifiers.expression import Expression, NotAnExpression, Operation, apply, parse

_BOX = "\\boxed{"
_VALUE = r"\(?(-?[0-9]{1,12}(?:/[0-9]{1,12})?)\)?"
_LINE = re.compile(rf"\s*{_VALUE}\s*([-+*/])\s*{_VALUE}\s*=\s*{_VALUE}\s*")


class CountdownVerifier(Verifier):
    """Judges exactly and in bounded time. No completion can make it slow, so it needs no worker process."""

    name: ClassVar[str] = "countdown"
    VERSION: ClassVar[int] = 1

    def verify(self, problem: Problem, text: str, finished: bool = True) -> Verdict:
        """Returns CORRECT even if the completion was cut off after the right answer, otherwise WRONG or TRUNCATED."""
        expression = _boxed_expression(text)
        if expression is not None and _solves(problem, expression):
            return Verdict.CORRECT
        return Verdict.WRONG if finished else Verdict.TRUNCATED

    def extract(self, problem: Problem, text: str) -> str | None:
        """Returns the text in the last closed box without white space, also if it is no expression."""
        start, end = _last_box(text)
        answer = "".join(text[start + len(_BOX) : end].split()) if start >= 0 else ""
        return answer or None

    def check_chain(self, problem: Problem, text: str) -> bool:
        """Tells whether the lines before the box are a sound derivation of the boxed expression."""
        expression = _boxed_expression(text)
        if expression is None:
            return False
        try:
            operations = _follow(text[: _last_box(text)[0]], list(problem.data["numbers"]))
        except NotAnExpression:
            return False
        return Counter(operations) == Counter(expression.operations)


def _boxed_expression(text: str) -> Expression | None:
    """Returns the expression in the last closed box, or None if there is no box or no expression in it."""
    start, end = _last_box(text)
    if start < 0:
        return None
    try:
        return parse(text[start + len(_BOX) : end])
    except NotAnExpression:
        return None


def _last_box(text: str) -> tuple[int, int]:
    """Returns where the last closed box begins and where its closing brace is, or -1 and -1 if there is none."""
    end = text.rfind("}")
    start = text.rfind(_BOX, 0, max(end, 0))
    return (start, text.find("}", start)) if start >= 0 else (-1, -1)


def _solves(problem: Problem, expression: Expression) -> bool:
    right_numbers = sorted(expression.numbers) == sorted(problem.data["numbers"])
    return right_numbers and expression.value == Fraction(problem.answer)


def _follow(text: str, numbers: list[int]) -> list[Operation]:
    """Returns the operations of the chain's lines, in order. Raises NotAnExpression for a line that does not hold."""
    at_hand = Counter(Fraction(number) for number in numbers)
    operations = []
    for line in filter(str.strip, text.splitlines()):
        left, operator, right, value = _read_line(line)
        at_hand.subtract([left, right])
        if min(at_hand[left], at_hand[right]) < 0:
            raise NotAnExpression(f"an operand of '{line}' is not at hand")
        if apply(left, operator, right) != value:
            raise NotAnExpression(f"'{line}' does not hold")
        at_hand[value] += 1
        operations.append(Operation.of(left, operator, right))
    return operations


def _read_line(line: str) -> tuple[Fraction, str, Fraction, Fraction]:
    match = _LINE.fullmatch(line) if len(line) <= 100 else None
    if match is None:
        raise NotAnExpression("a line is not one operation")
    left, operator, right, value = match.groups()
    try:
        return Fraction(left), operator, Fraction(right), Fraction(value)
    except ZeroDivisionError as error:
        raise NotAnExpression("a fraction over zero") from error
