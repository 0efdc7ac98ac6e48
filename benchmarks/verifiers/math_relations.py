"""Refuses an answer whose own equalities do not hold, such as `3=5` for the gold answer 5.

math-verify compares the right-hand side of an answer with the gold answer, whatever stands before it. That is meant for
`x=5` and `2+3=5`, but it lets a policy write any number down and still be right. Like `math_worker`, this runs in the
worker processes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import sympy
from sympy.core.relational import Equality

_EXACT, _ROUNDED = 1e-9, 1e-2
"""Relative tolerances: of exact numbers, and where one of the two is a decimal, which may be rounded."""


def holds(reading: Any) -> bool:
    """Returns False if an equality in the answer cannot be true. What is not known to be false holds.

    Sides that a chain connects must be equal: in `3=x=5` it is x that connects 3 and 5. In a list such as `x=1, x=2`,
    each equality stands for itself.
    """
    if isinstance(reading, sympy.FiniteSet | sympy.Tuple):
        return all(holds(part) for part in reading.args)
    equalities = [part for part in getattr(reading, "args", ()) if isinstance(part, Equality)]
    chains = _chains([reading] if isinstance(reading, Equality) else equalities)
    return all(_agree(one, other) for chain in chains for one, other in _pairs(chain))


def _chains(equalities: list[Equality]) -> list[list[Any]]:
    """Joins equalities that share a side, and returns the sides of each chain."""
    chains: list[list[Any]] = []
    for equality in equalities:
        sides = list(equality.args)
        joined = [chain for chain in chains if any(side in chain for side in sides)]
        chains = [chain for chain in chains if chain not in joined]
        chains.append([side for chain in [*joined, sides] for side in chain])
    return chains


def _pairs(chain: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yields the pairs of sides of a chain that have a value of their own."""
    return combinations([side for side in map(_evaluated, chain) if side is not None], 2)


def _evaluated(side: Any) -> Any:
    """Returns the side if it has a value without unknowns (`x-x` has), otherwise None."""
    if side.has(sympy.Mod):
        return None  # of a congruence, whose two sides are equal up to multiples
    if side.free_symbols:
        if isinstance(side, sympy.Symbol) or not isinstance(side, sympy.Add | sympy.Mul):
            return None
        side = sympy.expand(side.doit())
    return None if side.free_symbols or side.atoms(sympy.core.function.AppliedUndef) else side


def _agree(one: Any, other: Any) -> bool:
    """Tells whether two values are equal as far as it can be known; decimals may be rounded."""
    if one == other:
        return True
    if not (isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr)):
        return type(one) is not type(other) or bool(one.doit() == other.doit())
    try:
        values = [sympy.N(side.doit()) for side in (one, other)]
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return True
    if not all(value.is_number for value in values):
        return True
    if not all(value.is_finite for value in values):
        return bool(values[0] == values[1])
    tolerance = _ROUNDED if one.has(sympy.Float) or other.has(sympy.Float) else _EXACT
    return bool(sympy.Abs(values[0] - values[1]) <= tolerance * max(map(sympy.Abs, values)))
