"""Pairs of models: problems won and lost by hand, what the comparison says of them, and the picture."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics.comparison import Scores, compare
from leaderboards import pairs
from leaderboards.by_problem import outcome, sides

ONE = np.array([[0.5, 0.2, 0.9, 0.4], [0.6, 0.5, 0.8, 0.4]])
OTHER = np.array([[0.1, 0.3, 0.95, 0.4], [0.4, 0.1, 1.0, 0.4], [0.45, 0.1, 0.99, 0.4]])


def test_a_problem_is_won_if_every_seed_is_ahead():
    """0: 0.5 and 0.6 are above 0.1, 0.4 and 0.45. 1: 0.2 is below 0.3. 2: 0.9 is below 0.95. 3: a tie."""
    np.testing.assert_array_equal(sides(ONE, OTHER), [1, 0, -1, 0])
    np.testing.assert_array_equal(sides(OTHER, ONE), [-1, 0, 1, 0])


def test_outcome_by_hand():
    """Of the (2 + 3) choose 2 = 10 orders of five seeds one has both of the first ahead: 4 / 10 of four problems."""
    found = outcome(ONE, OTHER)
    assert (found.won, found.lost, found.n) == (1, 1, 4) and found.by_chance == pytest.approx(0.4)


def test_chance_is_not_above_what_it_says():
    """Three seeds of two models with the same chances, 20,000 problems, 64 samples: at most 1/20 is won, less ties.

    The share has a standard error of 0.15 points, so 5.6 % is four of them above 5 %.
    """
    rng = np.random.default_rng(0)
    p_N = rng.random(20_000)
    one, other = (rng.binomial(64, p_N, (3, 20_000)) / 64 for _ in range(2))
    found = outcome(one, other)
    assert found.by_chance == pytest.approx(1000)
    assert 600 < found.won < 1120 and 600 < found.lost < 1120


@pytest.fixture(scope="module")
def comparison():
    """Three algorithms with three, three and two seeds, and a base."""
    rng = np.random.default_rng(1)
    scores = {name: np.clip(rng.normal(mean, 0.1, (seeds, 40, 2)), 0, 1) for name, mean, seeds in (
        ("a", 0.5, 3), ("b", 0.3, 3), ("c", 0.4, 2)
    )}  # fmt: skip
    return compare(Scores(scores, np.clip(rng.normal([0.1, 0.8], 0.05, (40, 2)), 0, 1)))


def test_differences_are_those_of_the_comparison(comparison):
    i, j = (comparison.placed.index(name) for name in "ab")
    gap, at_1, at_k = pairs.differences(comparison, "a", "b", 0.2, 0.21, 16)
    assert gap.interval == comparison.gap_MM[i][j] and at_k.interval == comparison.pass_at_k_MM[i][j]
    assert (at_1.interval.low, at_1.interval.high) == (-gap.interval.high, -gap.interval.low)
    assert (gap.value, at_1.value, at_k.value, at_k.name) == (-0.2, 0.2, 0.21, "pass@16")
    assert at_1.interval.low > 0  # 0.5 and 0.3, with a seed variance near nothing


def test_too_few_seeds_have_no_interval(comparison):
    assert [one.interval for one in pairs.differences(comparison, "a", "c", 0.1, 0.1, 16)] == [None] * 3


def test_against_the_base(comparison):
    [standing] = [one for one in comparison.standings if one.name == "c"]
    found = pairs.differences(comparison, "c", "base", 0.3, -0.4, 16)
    since = standing.from_base
    assert [one.interval for one in found] == [since.gap, since.gain_at_1, since.change_at_k]
    assert [one.name for one in found] == ["gap", "gain in pass@1", "change in pass@16"]


def test_bars_by_hand():
    """Two problems, 0.5 and 0: half the height over half of the width, and then nothing. Below zero it is mirrored."""
    assert pairs.bars(np.array([0.0, 0.5])) == "M0 80H0V40H200V80H400V80Z"
    assert pairs.bars(np.array([-1.0, 0.0])) == "M0 80H0V80H200V160H400V80Z"
    assert pairs.bars(np.linspace(0, 1, 10_000)).count("V") <= pairs.POINTS + 1


def test_scale_fits_the_largest_difference():
    assert [pairs.scale(np.array([0.0, -x])) for x in (0.05, 0.1, 0.11, 0.5, 0.51, 1.0)] == [0.1, 0.1, 0.2, 0.5, 1, 1]
