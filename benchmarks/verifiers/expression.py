"""Evaluates arithmetic expressions from untrusted text exactly, with integers and fractions, without `eval` or floats.

The parser is recursive descent over + - * / and parentheses. MAX_CHARACTERS and MAX_DIGITS keep every number small, and
MAX_DEPTH bounds the recursion. There is no exponentiation, so values cannot explode.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 400
MAX_DIGITS = 12
MAX_DEPTH = 30
"""Largest nesting of parentheses and signs."""

_TOKEN = re.compile(r"\s*(?:([0-9]+)|([-+*/()]))")
_SPELLINGS = {r"\times": "*", r"\cdot": "*", r"\div": "/", "×": "*", "·": "*", "÷": "/", "−": "-"}


class NotAnExpression(ValueError):
    """The text is not an arithmetic expression in this grammar, or it divides by zero."""


@dataclass(frozen=True)
class Operation:
    """One evaluated operation. The operands of a sum or product are sorted, so that a+b equals b+a."""

    operator: str
    left: Fraction
    right: Fraction

    @classmethod
    def of(cls, left: Fraction, operator: str, right: Fraction) -> Operation:
        """Returns the operation, with its operands sorted if their order has no meaning."""
        if operator in "+*" and right < left:
            left, right = right, left
        return cls(operator, left, right)


@dataclass(frozen=True)
class Expression:
    """What an expression says: its value, the numbers it uses, and its operations from the innermost outwards."""

    value: Fraction
    numbers: tuple[int, ...]
    operations: tuple[Operation, ...]


def apply(left: Fraction, operator: str, right: Fraction) -> Fraction:
    """Computes `left operator right` exactly. Raises NotAnExpression for a division by zero."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        raise NotAnExpression("division by zero")
    return left / right


def parse(text: str) -> Expression:
    """Parses `text` as an expression. Raises NotAnExpression for anything else, and for text that is too long."""
    for spelling, operator in _SPELLINGS.items():
        text = text.replace(spelling, operator)
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[str]:
    if len(text) > MAX_CHARACTERS:
        raise NotAnExpression(f"longer than {MAX_CHARACTERS} characters")
    tokens, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(match.group().strip()) > MAX_DIGITS:
            raise NotAnExpression(f"unexpected text at character {at}")
        tokens.append(match.group().strip())
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent.

    sum := product (('+'|'-') product)*    product := atom (('*'|'/') atom)*    atom := number | '(' sum ')' | '-' atom
    """

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.numbers: list[int] = []
        self.operations: list[Operation] = []

    def whole(self) -> Expression:
        value = self.sum()
        if self.peek():
            raise NotAnExpression(f"unexpected '{self.peek()}'")
        return Expression(value, tuple(self.numbers), tuple(self.operations))

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def sum(self) -> Fraction:
        return self._chain("+-", self.product)

    def product(self) -> Fraction:
        return self._chain("*/", self.atom)

    def _chain(self, operators: str, operand: Callable[[], Fraction]) -> Fraction:
        value = operand()
        while self.peek() and self.peek() in operators:
            operator, right = self.take(), operand()
            self.operations.append(Operation.of(value, operator, right))
            value = apply(value, operator, right)
        return value

    def atom(self) -> Fraction:
        token = self.take()
        if token.isdigit():  # the tokens are ASCII
            self.numbers.append(int(token))
            return Fraction(int(token))
        self.depth += 1
        if token in ("-", "(") and self.depth <= MAX_DEPTH:
            value = -self.atom() if token == "-" else self.sum()
            self.depth -= 1
            if token == "-" or self.take() == ")":
                return value
        raise NotAnExpression(f"unexpected '{token or 'end'}'")
