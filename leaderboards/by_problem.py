"""What every model of a section reached on each problem: the numbers behind the pages of pairs and of problems.

Axes: S seeds of an algorithm (1 for the base), N problems in the order of their counts, 2: pass@1 and pass@k.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.comparison import Floats
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import JudgedBy


@dataclass(frozen=True, eq=False)
class ByProblem:
    """The estimates of one section by one verdict."""

    problem_ids: tuple[str, ...]
    scores: Mapping[str, Floats]
    """Label -> (S, N, 2). The base comes first, if it is known, and has one seed."""

    @property
    def labels(self) -> list[str]:
        """The base, and the algorithms by name."""
        return list(self.scores)

    def at_1_SN(self, label: str) -> Floats:
        """pass@1 of every seed on every problem."""
        return self.scores[label][:, :, 0]

    def means_N2(self, label: str) -> Floats:
        """pass@1 and pass@k of every problem, as means over seeds."""
        return np.asarray(self.scores[label].mean(axis=0))


@dataclass(frozen=True)
class Outcome:
    """How many problems one algorithm won from another, and lost to it."""

    won: int
    lost: int
    n: int
    by_chance: float
    """The most that chance gives on each side, as an expectation, if the two are equally good on every problem."""


def by_problem(groups: Mapping[str, Sequence[Counts]], k: int, verdict: JudgedBy = "answer") -> ByProblem | None:
    """The estimates by the verdict; None where nothing is known, or the verdict is not known of all counts.

    `groups`: label -> the counts of its seeds, on the same problems in the same order.
    """
    sides = [counts for seeds in groups.values() for counts in seeds]
    if not sides or (verdict == "sound" and not all(counts.has_sound for counts in sides)):
        return None
    scores = {
        label: np.stack([counts.judged_by(verdict).curve([1, k]) for counts in seeds])
        for label, seeds in groups.items()
        if seeds
    }
    return ByProblem(sides[0].problem_ids, scores)


def sides(one_SN: Floats, other_SN: Floats) -> Floats:
    """(N,): 1 where every seed of the first has a higher pass@1 than every seed of the other, -1 where lower, or 0."""
    won_N = one_SN.min(axis=0) > other_SN.max(axis=0)
    lost_N = one_SN.max(axis=0) < other_SN.min(axis=0)
    return won_N.astype(np.float64) - lost_N


def outcome(one_SN: Floats, other_SN: Floats) -> Outcome:
    """Counts the problems won and lost, as `sides` does.

    If both have the same chances on a problem, all orders of their S + T seeds are equally likely, and in one of
    (S + T) choose S of them all S come first; ties only make it rarer. So chance wins at most that share of problems.
    """
    found_N = sides(one_SN, other_SN)
    share = 1 / math.comb(len(one_SN) + len(other_SN), len(one_SN))
    n = len(found_N)
    return Outcome(int((found_N > 0).sum()), int((found_N < 0).sum()), n, n * share)
