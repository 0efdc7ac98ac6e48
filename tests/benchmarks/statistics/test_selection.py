"""Numbers derived by hand, and simulated sweeps in which no setting is better than the default."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics.selection import expected_luck, half_width, noise_sd, seeds_for, selection


def test_noise_is_pooled_over_settings() -> None:
    # (1, 3): mean 2, squares 1 + 1 = 2, df 1.  (4, 4, 7): mean 5, squares 1 + 1 + 4 = 6, df 2.  sqrt(8 / 3)
    found = noise_sd([[1.0, 3.0], [4.0, 4.0, 7.0]])
    assert found.sd == pytest.approx(math.sqrt(8 / 3)) and found.df == 3
    alone = noise_sd([[1.0], [2.0]])
    assert math.isnan(alone.sd) and alone.df == 0


def test_seeds_follow_from_the_noise() -> None:
    # S = 4: 6 degrees of freedom, t = 2.4469 (printed tables), half-width 2.4469 * sqrt(2 / 4) = 1.7302
    # S = 5: 8 degrees of freedom, t = 2.3060, half-width 2.3060 * sqrt(2 / 5) = 1.4584
    assert half_width(1.0, 4) == pytest.approx(1.7302, abs=1e-4)
    assert half_width(1.0, 5) == pytest.approx(1.4584, abs=1e-4)
    assert seeds_for(1.0, 1.74, most=20) == 4
    assert seeds_for(1.0, 1.73, most=20) == 5
    assert seeds_for(0.015, 0.0219, most=20) == 5, "points as fractions"
    assert seeds_for(1.0, 0.1, most=8) == 8, "as many as are affordable"
    assert seeds_for(0.0, 0.1, most=8) == 2


def test_what_the_winner_loses_on_fresh_seeds() -> None:
    # Default 0 and 2 (mean 1). The second setting won with 6; fresh 3 and 5 (mean 4). The first: 4; fresh 4 and 6.
    # Squares 2 + 2 + 2 over 3 degrees of freedom: sd^2 = 2. t(3) = 3.18245 (printed tables).
    # Lead seen 6 - 1 = 5; on fresh seeds 4 - 1 = 3, +- 3.18245 sqrt(2 (1/2 + 1/2)) = 4.50066.
    # Luck 6 - 4 = 2, +- 3.18245 sqrt(2 / 2) = 3.18245.
    found = selection([4.0, 6.0], [[4.0, 6.0], [3.0, 5.0]], [0.0, 2.0])
    assert (found.winner, found.seen, found.fresh.value, found.luck.value) == (1, 5.0, 3.0, 2.0)
    assert found.fresh.high - 3.0 == pytest.approx(4.50066, abs=1e-4)
    assert found.luck.high - 2.0 == pytest.approx(3.18245, abs=1e-4)
    assert found.best == 0 and [lead.value for lead in found.leads_M] == [4.0, 3.0]
    assert found.noise.sd == pytest.approx(math.sqrt(2)) and not found.beaten


def test_leads_have_dunnetts_intervals() -> None:
    # Three settings and a control of 6 runs each, 20 degrees of freedom: Dunnett's two-sided 5 % point is 2.54
    # (Dunnett, Biometrics 20, 1964, table 2), whatever the means are. Every row has the variance 0.4.
    row = np.array([0.0, 0.0, 0.5, 0.5, 1.0, 1.6])
    row = (row - row.mean()) / row.std(ddof=1) * math.sqrt(0.4)
    found = selection([1.0, 2.0, 9.0], [row + 1.0, row + 2.0, row + 3.0], row)
    for lead, value in zip(found.leads_M, (1.0, 2.0, 3.0), strict=True):
        assert lead.value == pytest.approx(value)
        assert (lead.high - lead.low) / 2 == pytest.approx(2.54 * math.sqrt(0.4 * 2 / 6), rel=0.005)
    assert found.beaten


@pytest.mark.parametrize("fresh", [[[1.0], [3.0]], [[1.0, 1.0], [3.0, 3.0]]], ids=["one seed", "no spread"])
def test_without_noise_nothing_is_claimed(fresh: list[list[float]]) -> None:
    found = selection([1.0, 3.0], fresh, [0.0])
    assert not found.beaten and found.fresh.low == -math.inf and found.luck.high == math.inf


def test_expected_luck() -> None:
    # The expected maximum of n standard normals: 1 / sqrt(pi) for two, 3 / (2 sqrt(pi)) for three.
    assert expected_luck(1) == pytest.approx(0.0, abs=1e-9)
    assert expected_luck(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-9)
    assert expected_luck(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)


def test_wrong_shapes_are_errors() -> None:
    for wrong in (lambda: noise_sd([]), lambda: noise_sd([[1.0], []]), lambda: noise_sd([[math.nan]])):
        with pytest.raises(ValueError, match="expected"):
            wrong()
    with pytest.raises(ValueError, match="each of 2 settings"):
        selection([1.0, 2.0], [[1.0]], [0.0])
    for sd, resolve, most in ((-1.0, 1.0, 5), (1.0, 0.0, 5), (1.0, 1.0, 1), (math.nan, 1.0, 5)):
        with pytest.raises(ValueError, match="expected sd"):
            seeds_for(sd, resolve, most)


def test_a_sweep_over_equal_settings() -> None:
    """12 trials that are all as good as the default (true lead 0, sd 1); the best three get four fresh seeds.

    The best trial shows a lead of E max of 12 = 1.629 sd, and all of that is luck. Over 100 sweeps each of the three
    95 % claims fails Binomial(100, 0.05) times: correct code fails this test with a chance of at most 0.003.
    """
    rng, sweeps = np.random.default_rng(5), 100
    bound = stats.binom.isf(0.001, sweeps, 0.05)
    missed = dict.fromkeys(("lead", "luck", "beaten"), 0)
    seen = []
    for _ in range(sweeps):
        first = np.sort(rng.standard_normal(12))[-3:]
        found = selection(first, list(rng.standard_normal((3, 4))), rng.standard_normal(4))
        seen.append(found.seen)
        missed["lead"] += not found.fresh.low <= 0.0 <= found.fresh.high
        missed["luck"] += not found.luck.low <= float(first[-1]) <= found.luck.high  # its true mean is 0
        missed["beaten"] += any(lead.excludes_zero for lead in found.leads_M)
    assert max(missed.values()) <= bound, missed
    # (best of 12) - (mean of 4) has a standard deviation below 1, so its mean over 100 sweeps has an error below 0.1
    assert np.mean(seen) == pytest.approx(expected_luck(12), abs=0.4)
