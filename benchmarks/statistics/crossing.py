"""Where the pass@k curves of base and trained model meet, with intervals: the crossing and the k-equivalent.

Both are read off mean curves, linear in log k between neighbours. Neither is a mean over problems, so their intervals
are percentiles of a plain bootstrap of problems, paired (`intervals.bootstrap`). Axes: N problems, K values of k.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import FiniteFloat

from benchmarks.settings import K, Strict
from benchmarks.statistics.designs import Floats, Ints
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
    drawn = _roots(ks, bootstrap(difference_NK, seed=seed)) if found else None
    spans = [_span(drawn, k, sign, confidence) for k, _, sign in found if drawn is not None]
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
    _, k_X, sign_X = _roots(ks, np.asarray(difference_K)[None])
    return list(zip(k_X.tolist(), sign_X.tolist(), strict=True))


def _roots(ks: Sequence[int], difference_RK: Floats) -> tuple[Ints, Floats, Ints]:
    """`roots` of R curves: the row, the place and the sign after it, of each, by rows and then by k."""
    k_K = np.asarray(ks, dtype=np.float64)
    sign_RK = (difference_RK >= _TIE).astype(np.int8) - (difference_RK <= -_TIE)  # 0 is a tie
    edge_RK = np.zeros(sign_RK.shape, dtype=bool)  # both sides of every change: nothing happens between two edges
    edge_RK[:, 1:] = sign_RK[:, 1:] != sign_RK[:, :-1]
    edge_RK[:, :-1] |= edge_RK[:, 1:]
    row_Y, at_Y = np.nonzero(edge_RK & (sign_RK != 0))  # by rows
    sign_Y = sign_RK[row_Y, at_Y].astype(np.int64)
    changes = np.flatnonzero((sign_Y[1:] != sign_Y[:-1]) & (row_Y[1:] == row_Y[:-1]))
    row_X, i_X, j_X, sign_X = row_Y[changes], at_Y[changes], at_Y[changes + 1], sign_Y[changes + 1]
    a_X, b_X = difference_RK[row_X, i_X], difference_RK[row_X, j_X]
    inside_X = k_K[i_X] * (k_K[j_X] / k_K[i_X]) ** (a_X / (a_X - b_X))
    # with ties between i and j, the first of them is where the curves meet
    return row_X, np.where(j_X == i_X + 1, inside_X, k_K[i_X + 1]), sign_X


def _middle(places: Sequence[tuple[float, int]], low: int, high: int) -> float:
    """The crossing between two k with opposite signs: there is an odd number of them, and nearly always one."""
    inside = [k for k, _ in places if low <= k <= high]
    return inside[len(inside) // 2]


def _span(drawn: tuple[Ints, Floats, Ints], k: float, sign: int, confidence: float) -> tuple[float, float]:
    """Percentiles over the draws (`_roots`) of the crossing in the same direction that is nearest to `k` on log k."""
    row_X, place_X = (column[drawn[2] == sign] for column in drawn[:2])
    if not len(row_X):
        return k, k
    order = np.lexsort([np.abs(np.log(place_X / k)), row_X])
    _, first = np.unique(row_X[order], return_index=True)
    tail = (1 - confidence) / 2
    low, high = np.quantile(place_X[order][first], [tail, 1 - tail])
    return min(float(low), k), max(float(high), k)


def k_equivalent(
    ks: Sequence[int], base_NK: Floats, trained_1_N: Floats, confidence: float = 0.95, seed: int = 0
) -> KEquivalent:
    """The smallest k at which the base's curve reaches the trained model's pass@1, with a percentile interval."""
    found = float(_reaches(ks, base_NK.mean(axis=0)[None], np.array([trained_1_N.mean()]))[0])
    base_RK = _base_draws(np.ascontiguousarray(base_NK).tobytes(), base_NK.shape, seed)
    tail = (1 - confidence) / 2
    ordered = np.sort(_reaches(ks, base_RK, bootstrap(trained_1_N[:, None], seed=seed)[:, 0])).tolist()
    low, high = ordered[math.floor(tail * (len(ordered) - 1))], ordered[math.ceil((1 - tail) * (len(ordered) - 1))]
    return KEquivalent(
        kind="below_1" if found == 0 else "above_k_max" if math.isinf(found) else "value",
        k=found if 0 < found < math.inf else None,
        k_max=ks[-1],
        low=None if math.isinf(low) else low,
        high=None if math.isinf(high) else high,
    )


@functools.lru_cache(maxsize=4)
def _base_draws(base: bytes, shape: tuple[int, int], seed: int) -> Floats:
    """(R, K): a bootstrap of the base's curve, with which every algorithm of a table is compared."""
    return bootstrap(np.frombuffer(base).reshape(shape), seed=seed)


def _reaches(ks: Sequence[int], base_RK: Floats, target_R: Floats) -> Floats:
    """(R,): the smallest k with base = target, linear in log k; 0 where it is below 1, inf where above the largest."""
    k_K, rows = np.asarray(ks, dtype=np.float64), np.arange(len(base_RK))
    j_R = np.clip(np.argmax(base_RK >= target_R[:, None] - _TIE, axis=1), min(1, len(ks) - 1), None)
    left_R, right_R = base_RK[rows, j_R - 1], base_RK[rows, j_R]
    rise_R = np.where(right_R > left_R, right_R - left_R, 1.0)
    share_R = np.clip((target_R - left_R) / rise_R, 0.0, 1.0)
    inside_R = k_K[j_R - 1] * (k_K[j_R] / k_K[j_R - 1]) ** share_R
    found_R = np.where(base_RK[:, 0] >= target_R - _TIE, 1.0, inside_R)
    found_R[target_R > base_RK[:, -1] + _TIE] = np.inf
    found_R[target_R < base_RK[:, 0] - _TIE] = 0.0
    return found_R
