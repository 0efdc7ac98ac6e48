"""The distribution of places, against cases whose shares are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics.ranks import rank_shares


def test_the_better_one_is_always_first():
    """It is ahead by 0.5 on every problem, in every seed: no draw of problems can change that, and seeds are equal."""
    worse_SN = np.tile([0.1, 0.2, 0.3, 0.4], (3, 1))
    np.testing.assert_array_equal(rank_shares([worse_SN, worse_SN + 0.5], draws=50), [[0, 1], [1, 0]])


def test_two_alike_share_their_places_evenly():
    """Ties are broken at random: each is first in half of the draws. 4000 draws: 0.035 is 4.4 standard errors."""
    same_SN = np.full((2, 10), 0.3)
    shares_MM = rank_shares([same_SN, same_SN], draws=4000)
    np.testing.assert_allclose(shares_MM, 0.5, atol=0.035)


def test_problems_are_drawn_for_all_at_once():
    """A is right on the first of two problems alone, and B on the second.

    A draw of two problems has the first twice with 1/4 (A is ahead), the second twice with 1/4 (B), or both (a tie,
    which is broken evenly): each is first in half of the draws. C is right on both, so it ties A or B in half of the
    draws: it is first in 1/2 + 1/2 x 1/2 = 3/4 of them, and never last. 4000 draws: 0.035 is at least 4.4 standard
    errors.
    """
    a, b, c = (np.array([row], dtype=float) for row in ([1, 0], [0, 1], [1, 1]))
    np.testing.assert_allclose(rank_shares([a, b], draws=4000), 0.5, atol=0.035)
    shares_MM = rank_shares([a, b, c], draws=4000)
    np.testing.assert_allclose(shares_MM[2], [0.75, 0.25, 0], atol=0.035)
    np.testing.assert_allclose(shares_MM.sum(axis=0), 1)
    np.testing.assert_allclose(shares_MM.sum(axis=1), 1)


def test_training_noise_makes_places_uncertain():
    """Two seeds of A at 0.2 and 0.6, of B at 0.1 and 0.5, on all problems alike: A leads by 0.1.

    sigma_T^2 = (0.4^2 / 2 + 0.4^2 / 2) / 2 = 0.08, so the difference of two means over two seeds has the variance
    2 x 0.08 / 2 = 0.08, and 0.1 is 0.354 of its standard deviations. With t of 2 degrees of freedom that is
    P(t < 0.354) = 1/2 + 0.354 / (2 sqrt(2 + 0.354^2)) = 0.621. 20000 draws: 0.015 is 4.4 standard errors.
    """
    a_SN, b_SN = (np.repeat([[low], [high]], 6, axis=1) for low, high in ((0.2, 0.6), (0.1, 0.5)))
    assert rank_shares([a_SN, b_SN], draws=20_000)[0, 0] == pytest.approx(0.621, abs=0.015)


def test_nothing_to_place():
    with pytest.raises(ValueError):
        rank_shares([])
