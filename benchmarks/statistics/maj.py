"""maj@k: how often the majority among k samples is correct (Wang et al. 2023, 2203.11171, self-consistency).

The expectation over which k of a problem's n samples vote, drawn without replacement. This is unbiased for k fresh
samples, because the k drawn ones are such samples. Each sample votes for its answer, and one without an answer does not
vote. All correct samples vote for the same answer, however they spell it, because the verifier found them all equal to
the gold answer; wrong answers are the same if their texts are. If t answers tie for the most votes, each wins with
chance 1/t. If nobody votes, the majority is not correct.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.designs import Floats

EXACT_UP_TO = 1_000
"""Samples. C(n, k) of more does not fit into a float."""
DRAWS = 10_000


@dataclass(frozen=True)
class Votes:
    """How the samples of one problem vote."""

    correct: int
    wrong: tuple[int, ...] = ()
    """Votes of each different wrong answer."""
    silent: int = 0
    """Samples without an answer."""

    @classmethod
    def of(cls, answers: Sequence[str | None], correct: Sequence[bool]) -> Votes:
        """Counts the votes of samples, given the answer of each and whether the verifier found it correct."""
        pairs = list(zip(answers, correct, strict=True))
        wrong = Counter(answer for answer, right in pairs if not right and answer is not None)
        silent = sum(answer is None and not right for answer, right in pairs)
        return cls(sum(right for _, right in pairs), tuple(sorted(wrong.values(), reverse=True)), silent)

    @property
    def n(self) -> int:
        """The number of samples."""
        return self.correct + sum(self.wrong) + self.silent


def maj_at_k(votes: Sequence[Votes], k: int, seed: int = 0) -> Floats:
    """(N,): for each problem the chance that the majority of k of its samples is correct.

    Exact up to `EXACT_UP_TO` samples. With more, the mean of `DRAWS` draws by a generator seeded with `seed`, whose
    standard error is at most 0.5 / sqrt(DRAWS) = 0.005 a problem. k below 1 or above the n of a problem: ValueError.
    """
    rng = np.random.default_rng(seed)
    for one in votes:
        if not 1 <= k <= one.n:
            raise ValueError(f"k must be in 1..n = {one.n}, got {k}")
    known = {one: _exact(one, k) if one.n <= EXACT_UP_TO else _drawn(one, k, rng) for one in dict.fromkeys(votes)}
    return np.array([known[one] for one in votes])


def _exact(votes: Votes, k: int) -> float:
    """Sums over j, the number of correct samples drawn; all of them if k is n."""
    if k == votes.n:
        most = max(votes.wrong, default=0)
        won = votes.correct >= most and votes.correct > 0
        return won / (1 + votes.wrong.count(votes.correct))
    ways = sum(math.comb(votes.correct, j) * _wins(votes, k, j) for j in range(1, min(k, votes.correct) + 1))
    return float(ways / math.comb(votes.n, k))


def _wins(votes: Votes, k: int, j: int) -> float:
    """The ways to draw the other k - j samples so that no wrong answer gets more than j votes, each over 1 + its ties.

    A generating function: the coefficient of x^(k-j) in the product over wrong answers with m votes of
    sum over i < j of C(m, i) x^i + y C(m, j) x^j, where y counts ties. Answers with m < j can neither tie nor win, so
    they are drawn freely, like the silent samples.
    """
    rest = k - j
    close = [m for m in votes.wrong if m >= j]
    free = votes.n - votes.correct - sum(close)
    ways_TD = np.zeros((min(len(close), rest // j) + 1, rest + 1))  # ties, samples drawn
    ways_TD[0] = [math.comb(free, d) for d in range(rest + 1)]
    for m in close:
        below = np.array([math.comb(m, i) for i in range(min(j, rest + 1))], dtype=np.float64)
        drawn_TD = np.array([np.convolve(row_D, below)[: rest + 1] for row_D in ways_TD])
        if j <= rest:
            drawn_TD[1:, j:] += math.comb(m, j) * ways_TD[:-1, : rest + 1 - j]
        ways_TD = drawn_TD
    return float(ways_TD[:, rest] @ (1 / np.arange(1, len(ways_TD) + 1)))


def _drawn(votes: Votes, k: int, rng: np.random.Generator) -> float:
    """The mean over random draws."""
    drawn_RC = rng.multivariate_hypergeometric([votes.correct, votes.silent, *votes.wrong], k, size=DRAWS)
    correct_R, wrong_RC = drawn_RC[:, 0], drawn_RC[:, 2:]
    most_R = wrong_RC.max(axis=1, initial=0)
    ties_R = (wrong_RC == correct_R[:, None]).sum(axis=1)
    return float(np.where((correct_R >= most_R) & (correct_R > 0), 1 / (1 + ties_R), 0.0).mean())
