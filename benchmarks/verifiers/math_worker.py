"""What runs inside a worker process: math-verify on one (gold, answer) pair, with its silences made audible.

Imported by nobody but the workers of `benchmarks.verifiers.math` (it pulls in sympy). math-verify answers "not equal"
when it was interrupted, when an allocation failed, and when the stack ran out, because it (and sympy under it)
swallows those exceptions on the way. Here its timers are off (the parent kills the process at the deadline), and an
exhausted memory or stack is noticed by watching the exceptions go by: the pair is then judged by nobody.

Gold comes first in `math_verify.verify`, which is not symmetric: an answer `x = 5` fits the gold `5`, and not
every relation fits both ways.
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

EQUAL, DIFFERENT = "equal", "different"

Readings = tuple[Any, ...]
"""What an answer can be read as: a sympy object where it parses, and the normalised text. No code is evaluated."""

_ALL_OF_IT = (LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False),)
"""The whole answer is LaTeX, or nothing is: math-verify's other patterns fish numbers out of prose."""

_IN_PROSE = (LatexExtractionConfig(),)
"""The last delimited mathematics of a sentence."""

_DELIMITED = re.compile(r"(?<!\\)(?:\$\$.+?\$\$|\$.+?(?<!\\)\$|\\\(.+?\\\)|\\\[.+?\\\])", re.DOTALL)
_DELIMITERS = re.compile(r"(?<!\\)(?:\$|\\[()\[\]])")
_WORD = re.compile(r"(?!\b(?:and|or)\b)\b[A-Za-z]{2,}")
_COEFFICIENT = re.compile(r"(?<=\d)\s*(?=\\[dt]?binom)")  # "3\binom{n}{k}" is no mixed number
_SPACED = re.compile(r"\\(left|right)\s+(?=\\)")  # "\left \lfloor" is not read with the space
_SCIENTIFIC = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)[eE]([+-]?\d+)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:\s\d{3})+(?:\.\d+)?")
_MIXED = re.compile(r"([+-]?\d+)\s+(\d+)\s*/\s*(\d+)")
_NUMBERS_APART = re.compile(r"[+-]?[\d.]+(?:\s+[\d.]+)+")

_FULL_STOP = re.compile(r"(?<!\\right)\s*\.+$")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)

_TAME = re.compile(r"(?:\\(?:frac|dfrac|sqrt|pi|text|left|right|circ|,)|[\w\s.,+\-/=(){}\[\]$%]){0,60}")
"""Answers that cannot exhaust anything: short, and without a power, a factorial or a function. Most are."""

_WARM_UP = (r"\frac{a+1}{2}", "(1,2)", r"\{1,2\}", r"\sqrt{3}+\pi", "x=5")

_SMALL, _RELATIVE, _APART = 1e-3, 1e-4, 1e-2


def make_judge() -> Callable[[str, str], str]:
    """The judge of a worker, warm: the parser's first meeting with each construct costs up to half a second."""
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    for example in _WARM_UP:
        judge(example, f" {example}")
    return judge


def judge(gold: str, answer: str) -> str:
    """EQUAL or DIFFERENT. Raises where the comparison did not come to its end: nothing is known of the pair then."""
    expected, given = _parse(gold), _parse(answer)
    if _TAME.fullmatch(gold) and _TAME.fullmatch(answer):
        return EQUAL if _equal(expected, given) else DIFFERENT
    with _watched() as exhausted:
        equal = _equal(expected, given)
    if exhausted and not equal:
        raise exhausted[0]
    return EQUAL if equal else DIFFERENT


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
    """The readings of an answer. Watching costs as much again as parsing, so only what does not parse is watched."""
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
    """Whether this is a sentence around delimited mathematics, as in "The least value is $5$"."""
    around = _DELIMITED.sub(" ", text)
    return around != text and bool(_WORD.search(around))


def plain_latex(text: str) -> str | None:
    """The answer in a spelling that math-verify reads rightly; None where it would misread it as another number."""
    text = _FULL_STOP.sub("", _DELIMITERS.sub(" ", text).strip())
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
    """How many braces are not closed (a few golds lack the last one); None where one is closed that never opened."""
    depth = 0
    for token in _BRACES.finditer(text):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        if depth < 0:
            return None
    return depth


def _far_apart(expected: Any, given: Any) -> bool:
    """Whether both are numbers and differ by more than a rounding: math-verify would try to simplify all the same."""
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
    """False where two small numbers are equal only because math-verify compares six decimals, so 2e-7 and 9e-7."""
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
    """Lists the MemoryErrors and RecursionErrors that are raised meanwhile, also those that somebody swallows."""
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
