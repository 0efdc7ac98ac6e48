r"""Countdown: combine all the given numbers with + - * / into the target, using each number exactly once.

    prompt      3 7 12:24\n
    completion  12-7=5\n3*5=15\n\boxed{3*(12-7)}        (this one misses: 15 is not 24)

Problems are generated: problem i of a split comes from the hash of (task, version, split, i). The splits do not
overlap, because the hash of a set of numbers decides which split it may appear in, and because the out-of-domain split
has five numbers where the others have three or four. The pre-training corpus of the embedded base model draws its sets
of three and four numbers from the training share alone.

The training split keeps every draw, so it has the distribution of the test split. Version 1 dropped problems that came
again: 20,000 distinct problems use up the common ones, and the rest are harder (the base solved 16 % of them at the
first try, and 24 % of the test problems).
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from benchmarks.seeds import derive
from benchmarks.tasks.base import Problem, Task

LARGEST_NUMBER = 20
LARGEST_VALUE = 199
"""No step of a generated solution leaves 1..LARGEST_VALUE. The verifier has no such bound."""
LARGEST_TARGET = 99

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""The share of the sets of numbers that each in-domain split may use."""
SIZES = {"train": 20_000, "validation": 512, "test": 512, "ood": 128}
NUMBERS = {"train": (3, 4, 4), "validation": (3, 4, 4), "test": (3, 4, 4), "ood": (5,)}
"""How many numbers the draws of a split have, in turn. In domain, one in three has three and the others have four."""


class Step(NamedTuple):
    """One operation of a solution, `left operator right = value`. All values are positive integers."""

    left: int
    operator: str
    right: int
    value: int

    def __str__(self) -> str:
        return f"{self.left}{self.operator}{self.right}={self.value}"


@dataclass(frozen=True)
class Solution:
    """A way to use every number once, as steps in order and as one expression."""

    steps: tuple[Step, ...]
    expression: str
    value: int

    def text(self) -> str:
        """The completion in the form that the embedded base model writes."""
        return "".join(f"{step}\n" for step in self.steps) + f"\\boxed{{{self.expression}}}"


class Countdown(Task):
    """Problems with three or (twice as often) four numbers in 1..20, or five out of domain; all targets reachable."""

    name: ClassVar[str] = "countdown"
    VERSION: ClassVar[int] = 2
    verifier: ClassVar[str] = "countdown"
    splits: ClassVar[tuple[str, ...]] = ("train", "validation", "test", "ood")

    def _load(self, split: str) -> list[Problem]:
        problems: dict[str, Problem] = {}
        times: Counter[str] = Counter()
        for index in itertools.count():
            if len(problems) == SIZES[split]:
                return list(problems.values())
            problem = self._draw(split, index)
            times[problem.problem_id] += 1
            if split == "train" and times[problem.problem_id] > 1:
                problem = replace(problem, problem_id=f"{problem.problem_id}#{times[problem.problem_id]}")
            problems.setdefault(problem.problem_id, problem)
        raise AssertionError("unreachable")

    def _draw(self, split: str, index: int) -> Problem:
        rng = random.Random(derive(self.name, self.VERSION, split, index))
        numbers = draw_numbers(rng, split, NUMBERS[split][index % len(NUMBERS[split])])
        return make_problem(numbers, draw_solution(rng, numbers).value)


def make_problem(numbers: Sequence[int], target: int) -> Problem:
    """Returns the problem with these numbers and this target. Its id does not depend on the order of the numbers."""
    problem_id = "-".join(map(str, sorted(numbers))) + f"={target}"
    return Problem(problem_id, f"{' '.join(map(str, numbers))}:{target}\n", str(target), {"numbers": list(numbers)})


def split_of(numbers: Sequence[int]) -> str:
    """Returns the in-domain split of this set of numbers, which the hash of the sorted numbers decides."""
    point = derive("countdown", "split", *sorted(numbers)) / 2**63
    for split, share in SHARES.items():
        point -= share
        if point < 0:
            return split
    return "test"


def draw_numbers(rng: random.Random, split: str, size: int) -> list[int]:
    """Returns `size` numbers in 1..LARGEST_NUMBER (with repeats) that may appear in `split`."""
    while True:
        numbers = [rng.randint(1, LARGEST_NUMBER) for _ in range(size)]
        if split == "ood" or split_of(numbers) == split:
            return numbers


def draw_solution(rng: random.Random, numbers: Sequence[int]) -> Solution:
    """Returns a random solution that ends in 1..LARGEST_TARGET. It draws until one does."""
    while True:
        solution = _draw_once(rng, numbers)
        if solution is not None and solution.value <= LARGEST_TARGET:
            return solution


_Term = tuple[int, str, int]
"""A value, its expression, and how tightly the expression binds: 1 for sums, 2 for products, 3 for a number."""


def _draw_once(rng: random.Random, numbers: Sequence[int]) -> Solution | None:
    terms: list[_Term] = [(number, str(number), 3) for number in numbers]
    steps = []
    while len(terms) > 1:
        left = terms.pop(rng.randrange(len(terms)))
        right = terms.pop(rng.randrange(len(terms)))
        steps_here = legal_steps(left[0], right[0])
        if not steps_here:
            return None
        step = rng.choice(steps_here)
        steps.append(step)
        terms.append((step.value, *_join(left, step.operator, right)))
    return Solution(tuple(steps), terms[0][1], terms[0][0])


def legal_steps(left: int, right: int) -> list[Step]:
    """Returns the operations on two positive integers that stay in 1..LARGEST_VALUE, but not times or divided by 1."""
    steps = [Step(left, "+", right, left + right)]
    if left > right:
        steps.append(Step(left, "-", right, left - right))
    if left > 1 and right > 1:
        steps.append(Step(left, "*", right, left * right))
        if left % right == 0:
            steps.append(Step(left, "/", right, left // right))
    return [step for step in steps if step.value <= LARGEST_VALUE]


def _join(left: _Term, operator: str, right: _Term) -> tuple[str, int]:
    """Joins two expressions with no more parentheses than needed, and returns how tightly the result binds."""
    binds = 1 if operator in "+-" else 2
    left_text = f"({left[1]})" if left[2] < binds else left[1]
    # a-(b+c) and a/(b*c) need theirs on the right; a+(b-c) is kept as well, so that the text shows the order of steps
    right_text = f"({right[1]})" if right[2] <= binds else right[1]
    return f"{left_text}{operator}{right_text}", binds
