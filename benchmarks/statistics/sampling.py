"""The Monte-Carlo standard error of a dataset's pass@k given its problems: what more samples would take away.

Given the chances of a problem, the variance of its estimate is known exactly (`sampling_variance` of a design). It is
averaged over the distribution of these chances that explains the counts of the whole dataset best. A problem's own
counts do not suffice: for 2k > n no unbiased estimate of a variance exists, and an estimate of p from c = 0 alone calls
a problem that is out of reach (variance 0) as uncertain as one at the edge.

Axes: N problems, D different observations, K values of k, Q grid of p, T grid of p(correct | not sound).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.statistics.designs import Design, Floats, Ints, TwoOutcomeDesign, whole
from benchmarks.statistics.stop_on_sound import StopOnSound

_GRID_POINTS = 100
_UNSOUND_POINTS = 30  # twice as many move the standard error by less than 1 %, and take long
_EM_STEPS = 200


def sampling_error(
    n_N: ArrayLike, c_N: ArrayLike, design: Design, ks: Sequence[int], s_N: ArrayLike | None = None
) -> Floats:
    """(K,): the standard error of the mean pass@k over new samples of the same problems. `s_N`: see `Design.pass_at_k`.

    No problem, or what `Design.pass_at_k` refuses: ValueError.
    """
    if not np.size(n_N):
        raise ValueError("a standard error needs at least one problem")
    if isinstance(design, StopOnSound):
        design.pass_at_k(n_N, c_N, 1, s_N)  # refuses what the design cannot reach
        weights_QT = joint_mixing_weights(n_N, c_N, s_N, design.max_k)
        variances = [float(np.sum(weights_QT * _joint_variance(design, int(k)))) for k in ks]
    elif isinstance(design, TwoOutcomeDesign):
        weights_Q = mixing_weights(n_N, c_N, design)
        variances = [float(weights_Q @ _variance(design, int(k))) for k in ks]
    else:
        raise TypeError(f"there is no sampling error for {design}")
    return np.asarray(np.sqrt(np.maximum(variances, 0) / np.size(n_N)))


@functools.lru_cache(maxsize=512)
def _variance(design: TwoOutcomeDesign, k: int) -> Floats:
    """(Q,): of the estimate on `_grid`; the same for every dataset."""
    return design.sampling_variance(_grid(design.max_k), k)


@functools.lru_cache(maxsize=512)
def _joint_variance(design: StopOnSound, k: int) -> Floats:
    """(Q, T): of the estimate by the answer, on `joint_grid`; the same for every dataset."""
    return design.sampling_variance(*joint_grid(design.max_k), k)


def mixing_weights(n_N: ArrayLike, c_N: ArrayLike, design: TwoOutcomeDesign) -> Floats:
    """(Q,): the distribution of p over the dataset's problems, on `_grid`, by `_fit`."""
    state_N = design.find(*whole(n=n_N, c=c_N))
    seen_D, times_D = np.unique(state_N, return_counts=True)
    return _weights(design, tuple(seen_D.tolist()), tuple(times_D.tolist()))


@functools.lru_cache(maxsize=64)
def _weights(design: TwoOutcomeDesign, seen: tuple[int, ...], times: tuple[int, ...]) -> Floats:
    """`mixing_weights` of D different states. One gap asks twice for those of the same counts."""
    weights_Q = _fit(_distribution(design)[:, seen], np.array(times))
    weights_Q.setflags(write=False)
    return weights_Q


@functools.lru_cache(maxsize=8)
def _distribution(design: TwoOutcomeDesign) -> Floats:
    """(Q, S): of the states of the design on `_grid`; the same for every dataset."""
    return design.distribution(_grid(design.max_k))


def joint_mixing_weights(n_N: ArrayLike, c_N: ArrayLike, s_N: ArrayLike | None, max_n: int) -> Floats:
    """(Q, T): the joint distribution of p(sound) and p(correct | not sound) over the problems, by `_fit`.

    On `joint_grid(max_n)`. For counts under a fixed design, or one that stops on sound answers: there only the sound
    samples decide when a problem stops, so the likelihood of a state (n, c, s) is, but for a factor without p, that of
    s of n sound samples times that of c - s correct answers in the n - s others.
    """
    seen_3D, times_D = np.unique(np.array([n_N, c_N, s_N], dtype=np.int64), axis=1, return_counts=True)
    return _joint_weights(*(tuple(row.tolist()) for row in (*seen_3D, times_D)), max_n)


@functools.lru_cache(maxsize=64)
def _joint_weights(
    n: tuple[int, ...], c: tuple[int, ...], s: tuple[int, ...], times: tuple[int, ...], max_n: int
) -> Floats:
    """`joint_mixing_weights` of D different observations. One gap asks several times for those of the same counts."""
    n_D, c_D, s_D, times_D = (np.array(row) for row in (n, c, s, times))
    p_Q, unsound_T = joint_grid(max_n)
    logs = _log_bernoulli(p_Q, s_D, n_D - s_D), _log_bernoulli(unsound_T, c_D - s_D, n_D - c_D)
    sound_QD, unsound_TD = (np.exp(log - log.max(axis=0)) for log in logs)
    weights_QT = np.full((len(p_Q), len(unsound_T)), 1 / (len(p_Q) * len(unsound_T)))
    sound_DQ, unsound_DT = np.ascontiguousarray(sound_QD.T), np.ascontiguousarray(unsound_TD.T)
    for _ in range(_EM_STEPS):  # as `_fit`, with the likelihood of a point as a product, which is far less to add up
        seen_D = np.einsum("dt,dt->d", sound_DQ @ weights_QT, unsound_DT)
        weights_QT *= (sound_QD * (times_D / seen_D)) @ unsound_DT / times_D.sum()
    weights_QT.setflags(write=False)
    return weights_QT


def joint_grid(max_n: int) -> tuple[Floats, Floats]:
    """p(sound) (Q,) and p(correct | not sound) (T,): the points of the joint distribution."""
    return _grid(max_n), _grid(max_n, _UNSOUND_POINTS)


def _log_bernoulli(p_Q: Floats, successes_D: Ints, failures_D: Ints) -> Floats:
    """(Q, D): log of p^successes (1-p)^failures, where 0^0 = 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        right = np.where(successes_D == 0, 0.0, successes_D * np.log(p_Q)[:, None])
        wrong = np.where(failures_D == 0, 0.0, failures_D * np.log1p(-p_Q)[:, None])
    return np.asarray(right + wrong)


def _fit(likelihood_XD: Floats, times_D: Ints) -> Floats:
    """(X,): weights of the points of a grid, by EM towards the maximum likelihood; how often each observation came.

    The nonparametric mixture of Kiefer and Wolfowitz (1956) in the grid form of Laird (1978). EM starts from equal
    weights and stops after a fixed number of steps, which keeps it smooth where there are few problems.
    """
    likelihood_XD = likelihood_XD / likelihood_XD.max(axis=0)
    weights_X = np.full(len(likelihood_XD), 1 / len(likelihood_XD))
    for _ in range(_EM_STEPS):
        weights_X *= likelihood_XD @ (times_D / (weights_X @ likelihood_XD)) / times_D.sum()
    return weights_X


def _grid(n: int, points: int = _GRID_POINTS) -> Floats:
    """(Q,): probabilities from 0 to 1, even in log odds and as fine at the edges as n samples can tell."""
    edge = math.log(8 * n)
    inner = 1 / (1 + np.exp(-np.linspace(-edge, edge, points - 2)))
    return np.concatenate([[0.0], inner, [1.0]])
