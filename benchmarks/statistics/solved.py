"""Problems that one of two models solves and the other does not: how many by chance, and how many beyond it.

A problem "unsolved in 256" need not be out of reach. Two things say how much such a count means: how many problems a
repetition of the same model, with new samples, would leave unsolved; and for how many single problems the two models'
chances differ beyond doubt. Axes: N problems.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from pydantic import Field, FiniteFloat

from benchmarks.settings import Count, K, Share, Strict
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import Floats, TwoOutcomeDesign
from benchmarks.statistics.sampling import joint_grid, joint_mixing_weights, mixing_weights

FALSE_DISCOVERIES = 0.05
_EQUAL = 1 + 1e-7
"""Two probabilities of states closer than this factor are equal, and both count as "at most as likely"."""


class Solved(Strict):
    """What stands behind the numbers of problems that only one of base and trained model solved."""

    k: K
    """Both in as many samples: the smaller design's."""
    base_repetition: FiniteFloat = Field(ge=0)
    """The expected number of problems that the base solves and its own repetition does not."""
    trained_repetition: FiniteFloat = Field(ge=0)
    """The same of the trained model."""
    better: Count | None
    """Problems on which the trained model's chance is higher beyond doubt, of all; null if it cannot be tested."""
    worse: Count | None
    """Problems on which it is lower beyond doubt."""
    lost_beyond_doubt: Count | None
    """Those of `worse` that the trained model did not solve at all."""
    gained_beyond_doubt: Count | None
    """Those of `better` that the base did not solve at all."""
    false_discoveries: Share
    """The expected share of problems that are in `better` or `worse` by chance."""


def solved(base: Counts, trained: Counts) -> Solved:
    """Both must hold the same problems in the same order; see `Solved`.

    The single problems are tested by `same_chance_p_value`, and the N p-values together by Benjamini and Hochberg's
    procedure at `FALSE_DISCOVERIES`. A design that stops on another verdict than the one counted has no such test.
    """
    k = min(base.design.max_k, trained.design.max_k)
    found: dict[str, int | None] = dict.fromkeys(("better", "worse", "lost_beyond_doubt", "gained_beyond_doubt"))
    if (p_N := p_values(base, trained)) is not None:
        from scipy import stats  # here, not above: it takes a second, and who reads a record needs only the schemas

        sure_N = stats.false_discovery_control(p_N) <= FALSE_DISCOVERIES
        ahead_N = trained.pass_at_k(1) - base.pass_at_k(1)
        better_N, worse_N = sure_N & (ahead_N > 0), sure_N & (ahead_N < 0)
        found = {
            "better": int(better_N.sum()),
            "worse": int(worse_N.sum()),
            "lost_beyond_doubt": int((worse_N & (trained.c_N == 0)).sum()),
            "gained_beyond_doubt": int((better_N & (base.c_N == 0)).sum()),
        }
    repeated = {"base_repetition": repetition(base, k), "trained_repetition": repetition(trained, k)}
    return Solved.model_validate({"k": k, **repeated, **found, "false_discoveries": FALSE_DISCOVERIES})


def repetition(counts: Counts, k: int) -> float:
    """How many problems this model is expected to solve in `k` samples and not in `k` new ones.

    A problem with chance p stays unsolved with q = (1-p)^k, and is solved the first time and not the second with
    q (1 - q). The mean of that over the distribution of p that is fitted to all problems (`sampling.mixing_weights`)
    times their number is the answer. A repetition gains as many as it loses.
    """
    n_N, c_N, design = counts.n_N, counts.c_N, counts.design
    p_Q, unsound_T = joint_grid(design.max_k)
    if isinstance(design, TwoOutcomeDesign):
        wrong, weights = 1 - p_Q, mixing_weights(n_N, c_N, design)
    else:
        wrong, weights = np.outer(1 - p_Q, 1 - unsound_T), joint_mixing_weights(n_N, c_N, counts.s_N, design.max_k)
    unsolved = wrong**k
    return float(len(n_N) * np.sum(weights * unsolved * (1 - unsolved)))


def p_values(base: Counts, trained: Counts) -> Floats | None:
    """(N,): `same_chance_p_value` of every problem; None where a design stops on another verdict than is counted."""
    designs = base.design, trained.design
    if not (isinstance(designs[0], TwoOutcomeDesign) and isinstance(designs[1], TwoOutcomeDesign)):
        return None
    rows = zip(base.n_N.tolist(), base.c_N.tolist(), trained.n_N.tolist(), trained.c_N.tolist(), strict=True)
    return np.array([same_chance_p_value(*designs, (n, c), (m, d)) for n, c, m, d in rows])


@functools.lru_cache(maxsize=65_536)
def same_chance_p_value(
    base: TwoOutcomeDesign, trained: TwoOutcomeDesign, here: tuple[int, int], there: tuple[int, int]
) -> float:
    """Fisher's exact test of equal chances of success on one problem, two-sided, under designs that may stop early.

    `here` and `there` are (n, c) of the base and of the trained model. If both have the chance p, a pair of stopping
    states has the probability (paths to one) (paths to the other) p^C (1-p)^F, with C correct and F wrong samples in
    all. Given C and F, p is gone, and the pairs with these totals have probabilities in proportion to their paths. The
    p-value is the probability of all pairs that are at most as likely as the observed one. With fixed designs this is
    Fisher's test itself. A state in which a design does not stop: ValueError.
    """
    if not base.reachable(*here) or not trained.reachable(*there):
        raise ValueError(f"the designs do not stop in {here} and {there}")
    known = _log_paths(trained)
    n, c = here[0] + there[0], here[1] + there[1]
    pairs = {state: log + known[n - state[0], c - state[1]] for state, log in _log_paths(base).items()
             if (n - state[0], c - state[1]) in known}  # fmt: skip
    top = max(pairs.values())
    weights = {state: math.exp(log - top) for state, log in pairs.items()}
    unlikely = sum(weight for weight in weights.values() if weight <= weights[here] * _EQUAL)
    return min(unlikely / sum(weights.values()), 1.0)


@functools.lru_cache(maxsize=64)
def _log_paths(design: TwoOutcomeDesign) -> dict[tuple[int, int], float]:
    """Every state in which the design stops -> the log of the number of paths to it, which may exceed a float."""
    states = ((n, c) for n in design.rounds for c in range(n + 1) if design.reachable(n, c))
    return {(n, c): math.log(design.paths(n, c)) for n, c in states}
