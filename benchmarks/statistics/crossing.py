"""Where the pass@k curves of base and trained model meet, with intervals: the crossing and the k-equivalent.

Both are read off mean curves, linear in log k between neighbours. Neither is a mean over problems, so their intervals
are percentiles of a plain bootstrap of problems, paired (`intervals.bootstrap`). Axes: N problems, K values of k.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import FiniteFloat

from benchmarks.settings import K, Strict
from benchmarks.statistics.designs import Floats
from benchmarks.statistics.intervals import bootstrap, mean_interval

_TIE = 1e-12
"""Two pass@k closer than this are equal: it is the rounding of a mean, far below one sample of one problem."""

Side = Literal["base", "trained"]


class Crossing(Strict):
    """Where the base's pass@k curve crosses that of the trained model, for k = 1 to `k_max`.

    A crossing counts only with evidence on both sides: at some k before it and at some k after it the interval of the
    difference excludes zero, with opposite signs. Two runs of one model cross by chance, and have no such evidence.
    """

    kind: Literal["none", "one", "several"]
    """`none`: no crossing with evidence up to `k_max`."""
    k: tuple[FiniteFloat, ...]
    """The crossings, ascending, interpolated on log k; empty where there is none."""
    k_max: K
    """The largest k that both designs reach: nothing is known beyond it."""
    leads_at_1: Literal["base", "trained", "neither"]
    """Whose pass@1 is higher; `neither` where the interval of their difference holds zero."""
    low: tuple[FiniteFloat, ...] | None = None
    """The intervals of `k`, from the draws in which the curves cross in this direction; null in older records."""
    high: tuple[FiniteFloat, ...] | None = None
    overtakes: tuple[Side, ...] | None = None
    """Who is ahead after each crossing; null in older records."""


class KEquivalent(Strict):
    """The k at which pass@k of the base equals pass@1 of the trained model."""

    kind: Literal["value", "below_1", "above_k_max"]
    """`below_1`: the trained model is worse than one sample of the base. `above_k_max`: better than `k_max` of them."""
    k: FiniteFloat | None
    """Interpolated on log k; null unless `kind` is `value`."""
    k_max: K
    low: FiniteFloat | None = None
    """The interval of `k`; null in older records. 0 where it reaches `below_1`."""
    high: FiniteFloat | None = None
    """Null where it reaches `above_k_max`, and in older records."""


def all_k(k_max: int) -> list[int]:
    """1 to `k_max`: all of them to 512, then 64 to the octave."""
    ks = set(range(1, min(k_max, 512) + 1))
    if k_max > 512:
        ks |= {round(k) for k in np.geomspace(512, k_max, 1 + math.ceil(64 * math.log2(k_max / 512))).tolist()}
    return sorted(ks)


def crossing(
    ks: Sequence[int], base_NK: Floats, trained_NK: Floats, confidence: float = 0.95, seed: int = 0
) -> Crossing:
    """Where base - trained changes its sign, with evidence on both sides and percentile intervals."""
    difference_NK = base_NK - trained_NK
    signs = _evidence(ks, difference_NK, confidence)
    apart = [(k, sign) for k, sign in signs.items() if sign]
    brackets = [(a[0], b[0], b[1]) for a, b in itertools.pairwise(apart) if a[1] != b[1]]
    places = roots(ks, difference_NK.mean(axis=0))
    found = [(_middle(places, low, high), low, sign) for low, high, sign in brackets]
    drawn = bootstrap(difference_NK, lambda row_K: roots(ks, row_K), seed=seed) if found else []
    spans = [_span(drawn, k, sign, confidence) for k, _, sign in found]
    lead = signs[ks[0]]
    return Crossing(
        kind="none" if not found else "one" if len(found) == 1 else "several",
        k=tuple(k for k, _, _ in found),
        k_max=ks[-1],
        leads_at_1="neither" if not lead else _side(lead),
        low=tuple(low for low, _ in spans),
        high=tuple(high for _, high in spans),
        overtakes=tuple(_side(sign) for _, _, sign in found),
    )


def _side(sign: int) -> Side:
    return "base" if sign > 0 else "trained"


def _evidence(ks: Sequence[int], difference_NK: Floats, confidence: float) -> dict[int, int]:
    """k -> who is ahead there beyond chance: 1 the base, -1 the trained model, 0 nobody; at k = 1, 2, 4, ... k_max.

    From half of the largest k on, nearly all estimates are 0 or 1, and the interval is that of binary differences.
    """
    signs = {}
    for i, k in enumerate(ks):
        if k & (k - 1) == 0 or k == ks[-1]:
            found = mean_interval(difference_NK[:, i], confidence, added=2.0 if 2 * k >= ks[-1] > 1 else 0.0)
            signs[k] = int(np.sign(found.value)) if found.excludes_zero else 0
    return signs


def roots(ks: Sequence[int], difference_K: Floats) -> list[tuple[float, int]]:
    """Every (k, sign after it) at which the curve changes its sign, linear in log k; to touch is not to cross."""
    exact_K = np.where(np.abs(difference_K) < _TIE, 0.0, difference_K)
    apart = np.flatnonzero(exact_K)
    sign_A = np.sign(exact_K[apart])
    found = []
    for at in np.flatnonzero(sign_A[1:] != sign_A[:-1]).tolist():
        i, j = int(apart[at]), int(apart[at + 1])
        a, b = float(exact_K[i]), float(exact_K[j])
        # with ties between i and j, the first of them is where the curves meet
        k = between(ks[i], ks[j], a / (a - b)) if j == i + 1 else float(ks[i + 1])
        found.append((k, int(np.sign(b))))
    return found


def _middle(places: Sequence[tuple[float, int]], low: int, high: int) -> float:
    """The crossing between two k with opposite signs: there is an odd number of them, and nearly always one."""
    inside = [k for k, _ in places if low <= k <= high]
    return inside[len(inside) // 2]


def _span(drawn: Sequence[list[tuple[float, int]]], k: float, sign: int, confidence: float) -> tuple[float, float]:
    """Percentiles over the draws of the crossing in the same direction that is nearest to `k` on log k."""
    alike = [[place for place, after in row if after == sign] for row in drawn]
    nearest = [min(row, key=lambda place: abs(math.log(place / k))) for row in alike if row]
    if not nearest:
        return k, k
    tail = (1 - confidence) / 2
    low, high = np.quantile(nearest, [tail, 1 - tail])
    return min(float(low), k), max(float(high), k)


def k_equivalent(
    ks: Sequence[int], base_NK: Floats, trained_1_N: Floats, confidence: float = 0.95, seed: int = 0
) -> KEquivalent:
    """The smallest k at which the base's curve reaches the trained model's pass@1, with a percentile interval."""
    found = _reaches(ks, base_NK.mean(axis=0), float(trained_1_N.mean()))
    both_NQ = np.column_stack([base_NK, trained_1_N])
    drawn = bootstrap(both_NQ, lambda row_Q: _reaches(ks, row_Q[:-1], float(row_Q[-1])), seed=seed)
    tail = (1 - confidence) / 2
    ordered = sorted(drawn)
    low, high = ordered[math.floor(tail * (len(ordered) - 1))], ordered[math.ceil((1 - tail) * (len(ordered) - 1))]
    return KEquivalent(
        kind="below_1" if found == 0 else "above_k_max" if math.isinf(found) else "value",
        k=found if 0 < found < math.inf else None,
        k_max=ks[-1],
        low=None if math.isinf(low) else low,
        high=None if math.isinf(high) else high,
    )


def _reaches(ks: Sequence[int], base_K: Floats, target: float) -> float:
    """The smallest k with base = target, linear in log k; 0 where that is below 1, inf where above the largest."""
    if target < base_K[0] - _TIE:
        return 0.0
    if target > base_K[-1] + _TIE:
        return math.inf
    i = int(np.argmax(base_K >= target - _TIE))
    if i == 0:
        return 1.0
    share = (target - base_K[i - 1]) / (base_K[i] - base_K[i - 1])
    return between(ks[i - 1], ks[i], min(float(share), 1.0))


def between(k_left: int, k_right: int, share: float) -> float:
    """The k at `share` of the way from left to right on log k."""
    return float(k_left * (k_right / k_left) ** share)
