"""Several algorithms, each trained with several seeds, on the same problems: where each stands, and who differs.

`gap.py` measures one trained model against its base. This file compares algorithms, whose places are earned by means
over seeds: `intervals.py` holds the model, and the seed variance is pooled over the algorithms of the table. An
algorithm with fewer than `MIN_SEEDS` seeds is shown, but neither compared nor placed. Pure functions.

Axes: M algorithms, S seeds of one of them, N problems, Q quantities (pass@1, pass@k, Cover@tau at each tau), K values
of k.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.statistics.intervals import Effects, Estimate, mean_interval, random_effects, ratio

Floats = NDArray[np.float64]

MIN_BASE = 0.05
"""Nobody is ranked by a gap to a base whose pass@k may be below this: next to nothing is within its reach."""
MIN_SEEDS = 3
"""With fewer seeds an algorithm has no place: one seed is mostly noise, and two say hardly anything of it."""


@dataclass(frozen=True)
class Scores:
    """What is compared: estimates of each problem, all in one order of problems."""

    algorithms: Mapping[str, Floats]
    """Name -> (S, N, Q)."""
    base_NQ: Floats | None
    """The same of the base, or None where it is not known."""
    binary_at_k: bool = False
    """Whether nearly all estimates of pass@k are 0 or 1 (`gap.near_binary`), of the algorithms or of the base."""
    binary_base: bool = False
    """The same of the base alone."""


@dataclass(frozen=True)
class FromBase:
    """What only a base can tell. Ratios are None where their denominator is 0."""

    gap: Estimate
    gain_at_1: Estimate
    change_at_k: Estimate
    closed: Estimate | None
    """gain_at_1 / (pass@k - pass@1 of the base)."""
    headroom: Estimate | None
    """gain_at_1 / (1 - pass@1 of the base)."""


@dataclass(frozen=True)
class BaseStanding:
    """The base itself."""

    pass_at_1: Estimate
    pass_at_k: Estimate
    own_gap: Estimate
    """pass@k - pass@1: what training could at best turn into first-try accuracy, within k samples."""
    cover: tuple[Estimate, ...]

    @property
    def refused(self) -> bool:
        """Whether a gap to this base says nothing, because next to nothing is within its reach."""
        return self.pass_at_k.low < MIN_BASE


@dataclass(frozen=True)
class Place:
    """What can be said of an algorithm's place among all that are placed, jointly for all of them."""

    first: int
    """1 + the number of algorithms that are better beyond doubt."""
    last: int
    """The number of those placed, less the number of those that are worse beyond doubt."""
    group: str
    """Letters: two algorithms that share one cannot be told apart."""

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Standing:
    """One algorithm: means over its seeds and over the problems, as fractions, each with its own interval."""

    name: str
    n_seeds: int
    pass_at_1: Estimate
    pass_at_k: Estimate
    cover: tuple[Estimate, ...]
    from_base: FromBase | None
    place: Place | None
    """By pass@1, which with one base for all is by the gap. None with fewer than `MIN_SEEDS` seeds or a base near 0."""


@dataclass(frozen=True)
class Comparison:
    """All algorithms of one table."""

    base: BaseStanding | None
    standings: tuple[Standing, ...]
    """Those with a place first; by pass@1, best first."""
    joint_base: BaseStanding | None
    """`base` at the level of `joint`."""
    joint: tuple[Standing, ...]
    """`standings` with wider intervals: for each quantity, those of all M algorithms hold at once, because each has the
    level 1 - alpha / M (Bonferroni)."""
    placed: tuple[str, ...]
    """The algorithms with a place, in the same order; the matrices hold these."""
    gap_MM: tuple[tuple[Estimate | None, ...], ...]
    """gap(row) - gap(column); below zero: the row is better. None on the diagonal. Jointly for all pairs."""
    pass_at_k_MM: tuple[tuple[Estimate | None, ...], ...]
    """pass@k(row) - pass@k(column); above zero: the row is better. Jointly for all pairs."""
    seed_sd: float | None
    """The standard deviation of pass@1 between seeds, pooled; None where no algorithm has two seeds."""


def compare(scores: Scores, confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Where the algorithms stand, and how those with `MIN_SEEDS` seeds differ.

    The intervals of `standings` hold one at a time; those of the matrices, the groups and the places hold all at once,
    for each of the two quantities. `seed` is that of the draws for the joint ones. No algorithm: ValueError.
    """
    if not scores.algorithms:
        raise ValueError("there is no algorithm to compare")
    means = {name: float(np.mean(array[:, :, 0])) for name, array in scores.algorithms.items()}
    seeds = {name: len(array) for name, array in scores.algorithms.items()}
    names = sorted(means, key=lambda name: (seeds[name] < MIN_SEEDS, -means[name], name))
    base = None if scores.base_NQ is None else base_standing(scores.base_NQ, scores.binary_base, confidence)
    placed = [name for name in names if seeds[name] >= MIN_SEEDS and not (base and base.refused)]
    at_1, at_k = effects = _effects(scores, names)
    better_MM = _pairs(at_1, len(placed), confidence, seed)
    places, covers = _places(placed, better_MM), _cover_effects(scores, names)
    together = 1 - (1 - confidence) / len(names)
    return Comparison(
        base=base,
        standings=_standings(scores, names, effects, covers, places, confidence),
        joint_base=None if scores.base_NQ is None else base_standing(scores.base_NQ, scores.binary_base, together),
        joint=_standings(scores, names, effects, covers, places, together),
        placed=tuple(placed),
        gap_MM=tuple(tuple(cell and cell.negated() for cell in row) for row in better_MM),
        pass_at_k_MM=_pairs(at_k, len(placed), confidence, seed),
        seed_sd=float(np.sqrt(at_1.seed_variance)) if at_1.seed_df else None,
    )


def base_standing(base_NQ: Floats, binary: bool, confidence: float = 0.95) -> BaseStanding:
    """The base's own numbers; `binary`: nearly all estimates of its pass@k are 0 or 1."""
    own_N = base_NQ[:, 1] - base_NQ[:, 0]
    return BaseStanding(
        pass_at_1=mean_interval(base_NQ[:, 0], confidence, level=True).within(0, 1),
        pass_at_k=mean_interval(base_NQ[:, 1], confidence, 1.0 if binary else 0.0, level=True).within(0, 1),
        own_gap=mean_interval(own_N, confidence, 0.5 if binary else 0.0).within(0, 1),
        cover=tuple(mean_interval(column_N, confidence, level=True).within(0, 1) for column_N in base_NQ[:, 2:].T),
    )


def _effects(scores: Scores, names: Sequence[str]) -> tuple[Effects, Effects]:
    """The model of pass@1, with pass@1 and pass@k of the base and a constant 1, and that of pass@k, with the base's."""
    arrays = [scores.algorithms[name] for name in names]
    base = scores.base_NQ
    if base is None:
        return (
            random_effects([array[:, :, 0] for array in arrays]),
            random_effects([array[:, :, 1] for array in arrays], binary=scores.binary_at_k),
        )
    fixed = [base[:, 0], base[:, 1], np.ones(len(base))]
    pads = [0.0, 0.5 if scores.binary_base else 0.0, 0.0]  # half of one: the other side of a gap is not binary
    at_1 = random_effects([array[:, :, 0] for array in arrays], fixed, fixed_pads=pads)
    return at_1, random_effects([array[:, :, 1] for array in arrays], [base[:, 1]], binary=scores.binary_at_k)


def _cover_effects(scores: Scores, names: Sequence[str]) -> list[Effects]:
    """The model of Cover@tau at each tau."""
    arrays = [scores.algorithms[name] for name in names]
    return [random_effects([array[:, :, q] for array in arrays]) for q in range(2, arrays[0].shape[2])]


def _standings(
    scores: Scores,
    names: Sequence[str],
    effects: tuple[Effects, Effects],
    covers: Sequence[Effects],
    places: Mapping[str, Place],
    confidence: float,
) -> tuple[Standing, ...]:
    def interval(of: Effects, i: int) -> Estimate:
        return of.interval(_unit(i, len(of.mean_MN)), confidence).within(0, 1)

    return tuple(
        Standing(
            name=name,
            n_seeds=len(scores.algorithms[name]),
            pass_at_1=interval(effects[0], i),
            pass_at_k=interval(effects[1], i),
            cover=tuple(interval(of, i) for of in covers),
            from_base=None if scores.base_NQ is None else _from_base(*effects, i, len(names), confidence),
            place=places.get(name),
        )
        for i, name in enumerate(names)
    )


def _unit(i: int, size: int) -> Floats:
    return np.eye(size)[i]


def _from_base(at_1: Effects, at_k: Effects, i: int, n_algorithms: int, confidence: float) -> FromBase:
    base_1, base_k, one = (_unit(n_algorithms + j, n_algorithms + 3) for j in range(3))
    trained = _unit(i, n_algorithms + 3)
    change = _unit(i, n_algorithms + 1) - _unit(n_algorithms, n_algorithms + 1)
    return FromBase(
        gap=at_1.interval(base_k - trained, confidence).within(-1, 1),
        gain_at_1=at_1.interval(trained - base_1, confidence).within(-1, 1),
        change_at_k=at_k.interval(change, confidence).within(-1, 1),
        closed=ratio(at_1, trained - base_1, base_k - base_1, confidence),
        headroom=ratio(at_1, trained - base_1, one - base_1, confidence),
    )


# ------------------------------------------------------------------------------------------------ pairs and places


def _pairs(effects: Effects, n_placed: int, confidence: float, seed: int) -> tuple[tuple[Estimate | None, ...], ...]:
    """row - column for all pairs of the first `n_placed` models, with simultaneous intervals."""
    size = len(effects.mean_MN)
    pairs = list(itertools.combinations(range(n_placed), 2))
    rows = [_unit(i, size) - _unit(j, size) for i, j in pairs]
    found = dict(zip(pairs, effects.simultaneous(rows, confidence, seed), strict=True)) if pairs else {}

    def cell(i: int, j: int) -> Estimate | None:
        if i == j:
            return None
        return found[i, j] if i < j else found[j, i].negated()

    return tuple(tuple(cell(i, j) for j in range(n_placed)) for i in range(n_placed))


def _places(placed: Sequence[str], better_MM: Sequence[Sequence[Estimate | None]]) -> dict[str, Place]:
    """Rank intervals that hold jointly, because the intervals of the differences do (Mogstad et al. 2024).

    Every algorithm that is better beyond doubt pushes the first possible rank down by one, and every one that is worse
    pulls the last possible rank up by one.
    """
    letters = groups([[cell is not None and cell.excludes_zero for cell in row] for row in better_MM])
    found = {}
    for i, name in enumerate(placed):
        cells = [cell for cell in better_MM[i] if cell is not None]
        above, below = sum(cell.high < 0 for cell in cells), sum(cell.low > 0 for cell in cells)
        found[name] = Place(1 + above, len(placed) - below, letters[i])
    return found


def groups(differ_MM: Sequence[Sequence[bool]]) -> list[str]:
    """Letters for M algorithms in order: two share a letter if and only if they do not differ.

    Insert and absorb (Piepho, Journal of Computational and Graphical Statistics 13, 2004): start from one group of all;
    for each pair that differs, split every group that holds both; drop groups that lie inside another.
    """
    sets = [frozenset(range(len(differ_MM)))]
    for i, j in itertools.combinations(range(len(differ_MM)), 2):
        if differ_MM[i][j]:
            split = [part for one in sets for part in ([one - {i}, one - {j}] if {i, j} <= one else [one])]
            sets = [one for one in dict.fromkeys(split) if not any(one < other for other in split)]
    ordered = sorted(sets, key=sorted)
    return ["".join(_letter(at) for at, one in enumerate(ordered) if i in one) for i in range(len(differ_MM))]


def _letter(at: int) -> str:
    return chr(ord("a") + at) if at < 26 else f"({at + 1})"


# ------------------------------------------------------------------------------------------------ curves


def bands(
    curves: Mapping[str, Floats], binary_K: Sequence[bool], confidence: float = 0.95
) -> dict[str, tuple[Floats, Floats]]:
    """Name -> low_K, high_K: the interval of the mean at each k by itself, of curves (S, N, K) on the same problems.

    The seed variance is pooled over all curves, at each k. A band is pointwise: it does not cover the whole curve at
    once, and two bands that overlap say nothing of a difference.
    """
    found: dict[str, list[Estimate]] = {name: [] for name in curves}
    for q, binary in enumerate(binary_K):
        effects = random_effects([array[:, :, q] for array in curves.values()], binary=binary)
        for i, name in enumerate(curves):
            found[name].append(effects.interval(_unit(i, len(curves)), confidence).within(0, 1))
    return {name: (np.array([e.low for e in row]), np.array([e.high for e in row])) for name, row in found.items()}
