"""Runs math-verify on one (gold, answer) pair inside a worker process, and reports failures that it hides.

Only the workers of `benchmarks.verifiers.math` import this module, because it loads sympy. math-verify and sympy
swallow some exceptions, so math-verify answers "not equal" when it was interrupted, when an allocation failed, and when
the stack ran out. Here its timers are off (the parent kills the process at the deadline), and an exhausted memory or
stack is noticed by watching exceptions as they are raised. Such a pair gets no verdict.

The gold answer comes first in `math_verify.verify`, which is not symmetric: an answer `x = 5` fits the gold `5`, and
not every relation fits both ways.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from types import FrameType
from typing import Any

import math_verify
import sympy
from math_verify import LatexExtractionConfig

from benchmarks.verifiers.math_relations import holds

EQUAL, DIFFERENT = "equal", "different"

Readings = tuple[Any, ...]
"""What an answer can be read as: a sympy object if it parses, and the normalised text. No code is evaluated."""

_ALL_OF_IT = (LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False),)
"""The whole answer must be LaTeX, because math-verify's other patterns would pick numbers out of prose."""

_IN_PROSE = (LatexExtractionConfig(),)
"""Reads the last delimited mathematics of a sentence."""

_DELIMITED = re.compile(r"(?<!\\)(?:\$\$.+?\$\$|\$.+?(?<!\\)\$|\\\(.+?\\\)|\\\[.+?\\\])", re.DOTALL)
_DELIMITERS = re.compile(r"(?<!\\)(?:\$|\\[()\[\]])")
_WORD = re.compile(r"(?!\b(?:and|or)\b)\b[A-Za-z]{2,}")
_COEFFICIENT = re.compile(r"(?<=\d)\s*(?=\\[dt]?binom)")  # "3\binom{n}{k}" is no mixed number
_SPACED = re.compile(r"\\(left|right)\s+(?=\\)")  # "\left \lfloor" is not read with the space
_SCIENTIFIC = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)[eE]([+-]?\d+)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:\s\d{3})+(?:\.\d+)?")
_MIXED = re.compile(r"([+-]?\d+)\s+(\d+)\s*/\s*(\d+)")
_NUMBERS_APART = re.compile(r"[+-]?[\d.]+(?:\s+[\d.]+)+")

_APPROXIMATELY = re.compile(r"\\approx(?![A-Za-z])|≈")
_LEADING = re.compile(rf"^(?:{_APPROXIMATELY.pattern})\s*")  # "\approx 5" is read as 5, as "x \approx 5" is
_FULL_STOP = re.compile(r"(?<!\\right)\s*\.+$")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)

_TAME = re.compile(r"(?:\\(?:frac|dfrac|sqrt|pi|text|left|right|circ|,)|[\w\s.,+\-/=(){}\[\]$%]){0,60}")
"""Most answers match this and cannot exhaust anything: they are short and have no power, factorial or function."""

_WARM_UP = (r"\frac{a+1}{2}", "(1,2)", r"\{1,2\}", r"\sqrt{3}+\pi", "x=5")

_SMALL, _RELATIVE, _APART = 1e-3, 1e-4, 1e-2


def make_judge() -> Callable[[str, str], str]:
    """Returns a warmed-up judge, because the parser takes up to half a second when it first meets a construct."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    for example in _WARM_UP:
        judge(example, f" {example}")
    return judge


def judge(gold: str, answer: str) -> str:
    """Returns EQUAL or DIFFERENT. Raises if the comparison did not finish, because the result is then unknown."""
    expected, given = _parse(gold), _given(answer)
    if _TAME.fullmatch(gold) and _TAME.fullmatch(answer):
        return EQUAL if _equal(expected, given) else DIFFERENT
    with _watched() as exhausted:
        equal = _equal(expected, given)
    if exhausted and not equal:
        raise exhausted[0]
    return EQUAL if equal else DIFFERENT


def _given(answer: str) -> Readings:
    """Returns the readings of a completion's answer that can be right: what contradicts itself stays as its text."""
    readings = _parse(answer)
    parts = _APPROXIMATELY.split(_DELIMITERS.sub(" ", answer)) if _APPROXIMATELY.search(answer) else []
    numbers = [reading for part in parts if part.strip() for reading in _parse(part)[:1]]
    hedged = any(_far_apart(numbers[0], other) for other in numbers[1:])
    return tuple(reading for reading in readings if isinstance(reading, str) or (holds(reading) and not hedged))


def _equal(expected: Readings, given: Readings) -> bool:
    failure: Exception | None = None
    for one, other in product(expected, given):
        if other in (sympy.nan, sympy.zoo) or one in (sympy.nan, sympy.zoo):
            continue  # no number, and math-verify refuses to compare it
        if _far_apart(one, other):
            continue
        try:
            if math_verify.verify([one], [other], timeout_seconds=None, raise_on_error=True):
                return _same_scale(one, other)
        except Exception as error:  # noqa: BLE001  (kept, not swallowed: another reading may still be equal)
            failure = error
    if failure is not None:
        raise failure
    return False


@lru_cache(maxsize=256)
def _parse(text: str) -> Readings:
    """Returns the readings of an answer. Watching doubles the cost, so only what fails to parse is watched."""
    readings = _read(text)
    if _TAME.fullmatch(text) or not all(isinstance(reading, str) for reading in readings):
        return readings
    with _watched() as exhausted:
        readings = _read(text)
    if exhausted:
        raise exhausted[0]
    return readings


def _read(text: str) -> Readings:
    prose = _is_prose(text)
    latex = text if prose else plain_latex(text)
    if latex is None:
        return (text.strip(),)
    return tuple(
        math_verify.parse(
            latex if prose else f"\\boxed{{{latex}}}",
            _IN_PROSE if prose else _ALL_OF_IT,
            extraction_mode="first_match",
            parsing_timeout=None,
            raise_on_error=True,
        )
    )


def _is_prose(text: str) -> bool:
    """Tells whether this is a sentence around delimited mathematics, as in "The least value is $5$"."""
    around = _DELIMITED.sub(" ", text)
    return around != text and bool(_WORD.search(around))


def plain_latex(text: str) -> str | None:
    """Returns the answer in a spelling that math-verify reads correctly, or None if it would read another number."""
    text = _LEADING.sub("", _FULL_STOP.sub("", _DELIMITERS.sub(" ", text).strip()))
    missing = _open_braces(text)
    if missing is None:
        return None
    text = _SPACED.sub(r"\\\1", _COEFFICIENT.sub(r" \\cdot ", text + "}" * missing))
    if match := _SCIENTIFIC.fullmatch(text):
        return rf"{match[1]} \times 10^{{{match[2]}}}"
    if match := _MIXED.fullmatch(text):
        return rf"{match[1]}\frac{{{match[2]}}}{{{match[3]}}}"
    if _THOUSANDS.fullmatch(text):
        return re.sub(r"\s", "", text)
    if _NUMBERS_APART.fullmatch(text):
        return None  # math-verify adds them up: "1 2" would be 3
    return text


def _open_braces(text: str) -> int | None:
    """Returns how many braces are not closed (some golds lack the last one), or None if one closes too early."""
    depth = 0
    for token in _BRACES.finditer(text):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth < 0:
            return None
    return depth


def _far_apart(expected: Any, given: Any) -> bool:
    """Tells whether two numbers differ by more than rounding. math-verify would try to simplify them anyway."""
    for side in (expected, given):
        if not (isinstance(side, sympy.Expr) and side.is_number) or side.has(sympy.UnevaluatedExpr):
            return False
    try:
        numbers = [sympy.N(side) for side in (expected, given)]
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return False
    if not all(number.is_Number and number.is_finite for number in numbers):
        return False
    return bool(abs(numbers[0] - numbers[1]) > _APART * max(map(abs, numbers)))


def _same_scale(expected: Any, given: Any) -> bool:
    """Returns False for two small numbers such as 2e-7 and 9e-7, which math-verify finds equal at six decimals."""
    if not (isinstance(expected, sympy.Expr) and isinstance(given, sympy.Expr) and expected.is_number):
        return True
    if expected == given or expected.has(sympy.UnevaluatedExpr):  # the same, or a percentage, which may mean its number
        return True
    size = sympy.Abs(expected.doit().evalf())
    if not (size.is_Float and 0 < size < _SMALL):
        return True
    return bool(sympy.Abs((expected - given).doit().evalf()) <= _RELATIVE * size)


@contextmanager
def _watched() -> Iterator[list[BaseException]]:
    """Lists the MemoryErrors and RecursionErrors that are raised meanwhile, including swallowed ones."""
    seen: list[BaseException] = []

    def in_frame(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "exception" and issubclass(argument[0], MemoryError | RecursionError):
            seen.append(argument[0]())
        return in_frame

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_lines = False
        return in_frame

    sys.settrace(on_call)
    try:
        yield seen
    finally:
        if sys.gettrace() is not on_call:  # the watcher itself found no room, and was taken off
            seen.append(RecursionError())
        sys.settrace(None)
