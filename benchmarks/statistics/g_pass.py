"""G-Pass@k: how often at least a share tau of k samples is correct (Liu et al. 2024, 2412.13147, eq. 4).

pass@k asks for one correct sample among k; G-Pass@k at tau = 1 asks for k of k. Its usual form is a sum over
hypergeometric chances and needs a fixed number of samples. Under a design that stops early it has an exactly unbiased
estimate all the same, for k up to the first checkpoint: every problem has that many samples, so whether enough of its
first k were correct is always observed, and `Design.first_correct` is the mean of that over all ways to the state in
which the problem stopped. With a fixed design this is the usual form.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import Design, Floats


def g_pass_at_k(counts: Counts, k: int, tau: float) -> Floats:
    """(N,): for each problem the estimate of P(at least max(1, ceil(tau k)) of k samples are correct).

    Unbiased, and of the smallest variance under the counts' design. tau not above 0 or above 1, k below 1 or above the
    first checkpoint: ValueError.
    """
    if not 0 < tau <= 1:
        raise ValueError(f"tau must be above 0 and at most 1, got {tau!r}")
    needed = max(1, math.ceil(tau * k - 1e-9))  # 0.1 * 30 is a little above 3
    sound = [None] * len(counts.n_N) if counts.s_N is None else counts.s_N.tolist()
    states = list(zip(counts.n_N.tolist(), counts.c_N.tolist(), sound, strict=True))
    known = {state: _at_least(counts.design, needed, k, *state) for state in set(states)}
    return np.array([known[state] for state in states])


@functools.lru_cache(maxsize=65_536)
def _at_least(design: Design, needed: int, k: int, n: int, c: int, s: int | None) -> float:
    """The chance that `needed` of k samples are correct, from a state. Problems of many models stop in the same."""
    return float(design.first_correct(n, c, k, s)[needed:].sum())
