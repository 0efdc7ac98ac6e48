"""Several algorithms, each with several seeds, compared on the same problems: the crossed bootstrap and what it tells.

`gap.py` measures one trained model against its base, over problems. This file is its sibling for more than one
training run: problems and seeds are resampled crossed, which means that one draw of problems serves all models and
all seeds, while the seeds are drawn anew for each algorithm. Numpy alone, pure functions, seeded generators.

Axes: M algorithms, S seeds of one of them, N problems, Q quantities (pass@1, pass@k, or one for each k), R draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 5000
_TIE = 1e-12
_FLOATS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A value with the percentiles of its bootstrap draws."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """Of one algorithm from another, paired by problem."""

    probability: float
    """Share of the draws in which the first is the better one; a tie counts as half."""


@dataclass(frozen=True)
class Standing:
    """One algorithm over its seeds. Fractions; `gap`, `gain_at_1`, `change_at_k` are None where no base is known."""

    name: str
    n_seeds: int
    pass_at_1: Estimate
    pass_at_k: Estimate
    gap: Estimate | None
    gain_at_1: Estimate | None
    change_at_k: Estimate | None
    rank: tuple[float, float]
    """Interval of the rank by pass@1, 1 is best; with one base for all, this is the rank by the gap."""


@dataclass(frozen=True)
class Comparison:
    """All algorithms of one table: where each stands, and every pair of them."""

    standings: tuple[Standing, ...]
    """By pass@1, best first."""
    gap_MM: tuple[tuple[Difference | None, ...], ...]
    """gap(row) - gap(column), in the order of `standings`; below zero: the row is better. None on the diagonal."""
    pass_at_k_MM: tuple[tuple[Difference | None, ...], ...]
    """pass@k(row) - pass@k(column); above zero: the row is better."""


def crossed_draws(models_SNQ: Sequence[Floats], draws: int = DRAWS, seed: int = 0) -> Floats:
    """(R, M, Q): bootstrap draws of each model's mean over its seeds and over the problems.

    `models_SNQ` holds one (S, N, Q) array a model; S may differ, N and Q may not. A draw takes N problems with
    replacement, the same ones for all models and seeds, and for each model S of its seeds with replacement,
    independently of the other models. With S = 1 the noise of training again is not in the draws. Problems and the
    seeds of each model have a generator each, spawned from `seed`. No model, no seed, no problem, or other shapes:
    ValueError.
    """
    arrays = [np.asarray(model, dtype=np.float64) for model in models_SNQ]
    if not arrays or any(array.ndim != 3 or 0 in array.shape for array in arrays):
        raise ValueError("expected at least one model, each an array of (seeds, problems, quantities), none empty")
    if len({array.shape[1:] for array in arrays}) > 1:
        raise ValueError(f"models must share problems and quantities, got {[array.shape[1:] for array in arrays]}")
    problems_rng, *seed_rngs = np.random.default_rng(seed).spawn(1 + len(arrays))
    sums_RX = _over_problems(np.concatenate(arrays), draws, problems_rng)
    ends = itertools.accumulate(len(array) for array in arrays)
    means = [
        _over_seeds(sums_RX[:, end - len(array) : end], rng)
        for array, end, rng in zip(arrays, ends, seed_rngs, strict=True)
    ]
    return np.stack(means, axis=1)


def _over_problems(all_XNQ: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(R, X, Q): means over drawn problems of X stacked seeds; in batches, for weights of (R, N) can be large."""
    n_stacked, n_problems, n_quantities = all_XNQ.shape
    table_NX = all_XNQ.transpose(1, 0, 2).reshape(n_problems, -1)
    batch = max(1, _FLOATS_AT_ONCE // n_problems)
    parts = []
    for start in range(0, draws, batch):
        size = min(batch, draws - start)
        weights_RN = rng.multinomial(n_problems, np.full(n_problems, 1 / n_problems), size)
        parts.append(weights_RN @ table_NX / n_problems)
    return np.concatenate(parts).reshape(draws, n_stacked, n_quantities)


def _over_seeds(means_RSQ: Floats, rng: np.random.Generator) -> Floats:
    """(R, Q): means over drawn seeds."""
    draws, n_seeds, _ = means_RSQ.shape
    weights_RS = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), draws)
    return np.asarray(np.einsum("rs,rsq->rq", weights_RS, means_RSQ) / n_seeds)


def estimate(value: float, draws_R: Floats, confidence: float = 0.95) -> Estimate:
    """`value` with the percentile interval of its draws."""
    low, high = _percentiles(draws_R, confidence)
    return Estimate(float(value), low, high)


def _percentiles(draws_R: Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws_R, [tail, 1 - tail])
    return float(low), float(high)


def difference(value: float, draws_R: Floats, confidence: float = 0.95, lower_is_better: bool = False) -> Difference:
    """`value` = first - second, with the percentile interval of its paired draws and the share won by the first."""
    low, high = _percentiles(draws_R, confidence)
    won_R = np.where(np.abs(draws_R) < _TIE, 0.5, (draws_R < 0) == lower_is_better)
    return Difference(float(value), low, high, float(np.mean(won_R)))


def paired_difference(
    first_SN: Floats, second_SN: Floats, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """mean(first) - mean(second) of two algorithms on the same problems; higher is better.

    (S, N) each: the score of every seed on every problem, in the same order of problems. Resampled as in
    `crossed_draws`, so the interval is that of the difference: narrower than two intervals side by side suggest.
    """
    models = [np.asarray(scores)[:, :, None] for scores in (first_SN, second_SN)]
    draws_RM = crossed_draws(models, draws, seed)[:, :, 0]
    return difference(float(np.mean(first_SN) - np.mean(second_SN)), draws_RM[:, 0] - draws_RM[:, 1], confidence)


def rank_intervals(draws_RM: Floats, confidence: float = 0.95) -> list[tuple[float, float]]:
    """For each model the interval of its rank over the draws; 1 is the highest score, ties share the mean of theirs."""
    apart_RMM = draws_RM[:, None, :] - draws_RM[:, :, None]  # [r, i, j]: how far j is above i
    above_RM = np.sum(apart_RMM > _TIE, axis=2)
    tied_RM = np.sum(np.abs(apart_RMM) <= _TIE, axis=2) - 1
    tail = (1 - confidence) / 2
    bounds = np.quantile(1 + above_RM + tied_RM / 2, [tail, 1 - tail], axis=0, method="inverted_cdf")
    return [(float(low), float(high)) for low, high in bounds.T]


def compare(
    algorithms: Mapping[str, Floats],
    base_NQ: Floats | None,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Where algorithms stand, and how they differ, from the same crossed draws (`crossed_draws`) for all.

    `algorithms`: name -> (S, N, 2), pass@1 and pass@k of every seed on every problem; `base_NQ`: the same of the base
    (N, 2), one model that is not resampled over seeds, or None. All in one order of problems. Intervals are
    percentiles. They hold the noise of problems and sampling, and of training where S > 1; three seeds under-cover.
    """
    names = sorted(algorithms, key=lambda name: (-float(np.mean(algorithms[name][:, :, 0])), name))
    if not names:
        raise ValueError("there is no algorithm to compare")
    means_MQ = np.array([algorithms[name].mean(axis=(0, 1)) for name in names])
    bases = [] if base_NQ is None else [np.asarray(base_NQ)[None]]
    draws_RMQ = crossed_draws([*bases, *(algorithms[name] for name in names)], draws, seed)
    draws_RMQ, base_RQ = draws_RMQ[:, len(bases) :], draws_RMQ[:, 0] if bases else None
    ranks = rank_intervals(draws_RMQ[:, :, 0], confidence)
    standings = []
    for i, name in enumerate(names):
        at_1, at_k = (estimate(means_MQ[i, q], draws_RMQ[:, i, q], confidence) for q in (0, 1))
        gap, gain, change = _from_base(means_MQ[i], draws_RMQ[:, i], base_NQ, base_RQ, confidence)
        standings.append(Standing(name, len(algorithms[name]), at_1, at_k, gap, gain, change, ranks[i]))
    gap_MM = _matrix(-means_MQ[:, 0], -draws_RMQ[:, :, 0], confidence, lower_is_better=True)
    return Comparison(tuple(standings), gap_MM, _matrix(means_MQ[:, 1], draws_RMQ[:, :, 1], confidence))


def _from_base(
    mean_Q: Floats, draws_RQ: Floats, base_NQ: Floats | None, base_RQ: Floats | None, confidence: float
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """gap, gain at 1 and change at k, paired with the base in every draw."""
    if base_NQ is None or base_RQ is None:
        return None, None, None
    base_Q = np.asarray(base_NQ).mean(axis=0)
    return (
        estimate(base_Q[1] - mean_Q[0], base_RQ[:, 1] - draws_RQ[:, 0], confidence),
        estimate(mean_Q[0] - base_Q[0], draws_RQ[:, 0] - base_RQ[:, 0], confidence),
        estimate(mean_Q[1] - base_Q[1], draws_RQ[:, 1] - base_RQ[:, 1], confidence),
    )


def _matrix(
    value_M: Floats, draws_RM: Floats, confidence: float, lower_is_better: bool = False
) -> tuple[tuple[Difference | None, ...], ...]:
    """row - column for all pairs. For the gap the values are -pass@1: what the base adds to both cancels."""
    size = range(len(value_M))

    def cell(i: int, j: int) -> Difference | None:
        if i == j:
            return None
        return difference(value_M[i] - value_M[j], draws_RM[:, i] - draws_RM[:, j], confidence, lower_is_better)

    return tuple(tuple(cell(i, j) for j in size) for i in size)


def band(scores_SNK: Floats, confidence: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[Floats, Floats]:
    """low_K, high_K: pointwise percentile band of the mean over seeds and problems, resampled crossed."""
    tail = (1 - confidence) / 2
    low_K, high_K = np.quantile(crossed_draws([scores_SNK], draws, seed)[:, 0], [tail, 1 - tail], axis=0)
    return low_K, high_K
