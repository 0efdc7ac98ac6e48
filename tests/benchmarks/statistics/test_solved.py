"""Problems that only one model solved: chance, and beyond chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics.counts import Counts
from benchmarks.statistics.passk import FixedDesign, SequentialDesign, StopOnSound
from benchmarks.statistics.solved import repetition, same_chance_p_value, solved


def counts(c, n, design, **extra):
    n_N = np.full(len(c), n) if isinstance(n, int) else np.array(n)
    return Counts(tuple(f"p{i:03d}" for i in range(len(c))), n_N, np.array(c), design, extra)


@pytest.mark.parametrize(("c", "d"), [(3, 12), (0, 6), (20, 0), (5, 5)])
def test_fixed_designs_give_fishers_test(c, d):
    design = FixedDesign(20)
    expected = stats.fisher_exact([[c, 20 - c], [d, 20 - d]])[1]
    assert same_chance_p_value(design, design, (20, c), (20, d)) == pytest.approx(expected)


def test_by_hand_under_a_stop():
    # Rounds 1 and 3, stop after 1. States: (1, 1) by 1 path, and (3, c) by C(2, c): first wrong, then 2 samples.
    # Base (1, 1) against trained (3, 0): 1 correct of 4. The pairs with these totals are this one, 1 path, and its
    # mirror, 1 path (two states with n = 3 hold 6 samples, two with n = 1 hold 2). Both are as likely: p = 1.
    design = SequentialDesign((1, 3), 1)
    assert same_chance_p_value(design, design, (1, 1), (3, 0)) == 1.0
    # (3, 2) against (3, 0): 2 of 6. Pairs (2, 0), (1, 1), (0, 2) by 1, 4, 1 paths: p = 2/6.
    assert same_chance_p_value(design, design, (3, 2), (3, 0)) == pytest.approx(2 / 6)
    with pytest.raises(ValueError, match="do not stop"):
        same_chance_p_value(design, design, (2, 1), (3, 0))


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_p_values_are_valid_under_a_stop(p):
    """By enumeration: under equal chances P(p-value <= alpha) is at most alpha, for every alpha. No randomness."""
    design = SequentialDesign((4, 8), 2)
    states = [(n, c) for n in design.rounds for c in range(n + 1) if design.reachable(n, c)]
    chance = {s: design.paths(*s) * p ** s[1] * (1 - p) ** (s[0] - s[1]) for s in states}
    assert sum(chance.values()) == pytest.approx(1)
    pairs = {
        (a, b): (same_chance_p_value(design, design, a, b), chance[a] * chance[b])
        for a, b in itertools.product(states, repeat=2)
    }
    for alpha in (0.01, 0.05, 0.2):
        assert sum(weight for value, weight in pairs.values() if value <= alpha) <= alpha + 1e-12


def test_repetition():
    """80 problems at p = 1/2 and 20 at p = 0.01, n = 64. By chance alone 20 q (1 - q) with q = 0.99^64 = 0.526: 5.0.

    The distribution of p is fitted to one draw. Over 40 draws the mean's standard error is about 0.15; a tenth of the
    expectation is allowed for the fit's bias.
    """
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        c = np.r_[rng.binomial(64, 0.5, 80), rng.binomial(64, 0.01, 20)]
        found.append(repetition(counts(c.tolist(), 64, FixedDesign(64)), 64))
    assert np.mean(found) == pytest.approx(20 * 0.99**64 * (1 - 0.99**64), abs=0.5 + 4 * 0.15)


def test_counts_of_problems():
    # Of 40 samples: lost for sure (30 -> 0), lost perhaps (1 -> 0), gained for sure (0 -> 30), better (5 -> 38), same
    base = counts([30, 1, 0, 5, 20], 40, FixedDesign(40))
    trained = counts([0, 0, 30, 38, 20], 40, FixedDesign(40))
    found = solved(base, trained)
    assert (found.better, found.worse, found.gained_beyond_doubt, found.lost_beyond_doubt) == (2, 1, 1, 1)
    same = solved(base, base)
    assert (same.better, same.worse) == (0, 0)


def test_a_stop_on_another_verdict_is_not_tested():
    design = StopOnSound((4, 8), 1)
    one = counts([3, 0], [4, 8], design, sound=[2, 0])
    found = solved(one, one)
    assert found.worse is None and found.base_repetition >= 0
    assert solved(one.judged_by("sound"), one.judged_by("sound")).worse == 0
