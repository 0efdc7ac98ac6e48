"""The crossed bootstrap against distributions worked out by hand; ranks; pairs; what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics.comparison import (
    band,
    compare,
    crossed_draws,
    difference,
    estimate,
    paired_difference,
    rank_intervals,
)


def shares(draws_R: np.ndarray) -> dict[float, float]:
    values, times = np.unique(np.round(draws_R, 9), return_counts=True)
    return dict(zip(values.tolist(), (times / len(draws_R)).tolist(), strict=True))


def close(found: dict[float, float], expected: dict[float, float]) -> bool:
    # 40,000 draws: a share has a standard error of at most 0.0025.
    return set(found) == set(expected) and all(abs(found[v] - expected[v]) < 0.012 for v in expected)


# ---------------------------------------------------------------------------------------------- draws


def test_one_seed_two_problems_by_hand():
    # Scores 0 and 1. Two problems drawn of two: both the first (1/4), one each (1/2), both the second (1/4).
    draws = crossed_draws([np.array([[[0.0], [1.0]]])], 40_000, seed=1)[:, 0, 0]
    assert close(shares(draws), {0.0: 1 / 4, 0.5: 1 / 2, 1.0: 1 / 4})


def test_two_seeds_one_problem_by_hand():
    # The same with seeds in the place of problems.
    draws = crossed_draws([np.array([[[0.0]], [[1.0]]])], 40_000, seed=2)[:, 0, 0]
    assert close(shares(draws), {0.0: 1 / 4, 0.5: 1 / 2, 1.0: 1 / 4})


def test_problems_are_drawn_once_for_all_seeds():
    # Seed 1 solves problem 1 alone, seed 2 problem 2 alone. a: weight of seed 1, b: weight of problem 1, each 0, 1/2 or
    # 1 with chance 1/4, 1/2, 1/4. The mean is ab + (1-a)(1-b): 1/2 whenever a or b is 1/2 (chance 3/4), else 1 where
    # a = b (1/8) and 0 where not (1/8). With problems drawn apart for each seed, 1/4 and 3/4 would occur.
    draws = crossed_draws([np.array([[[1.0], [0.0]], [[0.0], [1.0]]])], 40_000, seed=3)[:, 0, 0]
    assert close(shares(draws), {0.0: 1 / 8, 0.5: 3 / 4, 1.0: 1 / 8})


def test_problems_are_drawn_once_for_all_models():
    scores_SNQ = np.random.default_rng(0).random((1, 30, 2))
    draws_RMQ = crossed_draws([scores_SNQ, scores_SNQ + 0.25], 500)
    np.testing.assert_allclose(draws_RMQ[:, 1] - draws_RMQ[:, 0], 0.25)


def test_seeds_are_drawn_apart_for_each_model():
    # One problem, so that only seeds vary: two models with the same two seeds differ in half of the draws or more.
    model = np.array([[[0.0]], [[1.0]]])
    draws_RM = crossed_draws([model, model], 2000)[:, :, 0]
    # Equal: 1/4 * 1/4 + 1/2 * 1/2 + 1/4 * 1/4 = 3/8.
    assert np.mean(draws_RM[:, 0] == draws_RM[:, 1]) == pytest.approx(3 / 8, abs=0.05)


def test_quantities_of_a_model_share_seeds_and_problems():
    one_SN = np.random.default_rng(0).random((3, 20))
    draws_RQ = crossed_draws([np.stack([one_SN, 1 - one_SN], axis=-1)], 300)[:, 0]
    np.testing.assert_allclose(draws_RQ.sum(axis=1), 1.0)


def test_variance_of_the_mean_over_problems():
    # One seed: the variance of a bootstrap mean is the population variance over N.
    scores_N = np.arange(50.0) / 50
    draws = crossed_draws([scores_N[None, :, None]], 20_000)[:, 0, 0]
    assert np.var(draws) == pytest.approx(np.var(scores_N) / 50, rel=0.05)


def test_the_same_seed_gives_the_same_draws_in_batches_too(monkeypatch):
    models = [np.random.default_rng(1).random((2, 40, 2))]
    whole = crossed_draws(models, 200, seed=4)
    monkeypatch.setattr("benchmarks.statistics.comparison._FLOATS_AT_ONCE", 40 * 7)
    np.testing.assert_allclose(crossed_draws(models, 200, seed=4), whole)
    assert not np.array_equal(crossed_draws(models, 200, seed=5), whole)


def test_one_more_model_does_not_move_the_others():
    models = [np.random.default_rng(i).random((2, 25, 1)) for i in range(3)]
    np.testing.assert_array_equal(crossed_draws(models, 100)[:, :2], crossed_draws(models[:2], 100))


@pytest.mark.parametrize(
    "models",
    [[], [np.zeros((2, 3))], [np.zeros((0, 3, 1))], [np.zeros((1, 3, 1)), np.zeros((1, 4, 1))]],
    ids=["none", "no quantities", "no seed", "other problems"],
)
def test_wrong_shapes_are_refused(models):
    with pytest.raises(ValueError, match="model"):
        crossed_draws(models)


def test_three_seeds_under_cover():
    # What the page says of few seeds. All noise is between seeds (one problem): nominal 95 % covers about 75 %.
    rng, hits = np.random.default_rng(7), 0
    for trial in range(300):
        seeds = rng.normal(size=(3, 1, 1))
        found = estimate(float(seeds.mean()), crossed_draws([seeds], 400, trial)[:, 0, 0])
        hits += found.low <= 0 <= found.high
    assert 0.65 < hits / 300 < 0.85


# ---------------------------------------------------------------------------------------------- pairs and ranks


def test_paired_difference_by_hand():
    # First solves both problems, second only problem 2: differences 1 and 0, one seed each. The mean of two drawn of
    # them is 0, 1/2, 1 with chance 1/4, 1/2, 1/4: the 95 % percentiles are 0 and 1, and a tie counts as half a win,
    # so the first wins 3/4 + 1/8.
    found = paired_difference(np.array([[1.0, 1.0]]), np.array([[0.0, 1.0]]), draws=40_000)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    assert found.probability == pytest.approx(7 / 8, abs=0.01)


def test_pairing_is_narrower_than_two_intervals():
    # Problems differ much, the algorithms by 5 points on each: the difference is known exactly.
    easy_N = np.random.default_rng(0).random(40) * 0.9
    found = paired_difference(easy_N[None] + 0.05, easy_N[None])
    assert found.low == pytest.approx(0.05) and found.high == pytest.approx(0.05)
    assert found.probability == 1.0


def test_difference_where_lower_is_better():
    draws = np.array([-2.0, -1.0, 0.0, 3.0])
    assert difference(0.0, draws, lower_is_better=True).probability == (1 + 1 + 0.5 + 0) / 4
    assert difference(0.0, draws).probability == (0 + 0 + 0.5 + 1) / 4


def test_rank_intervals_by_hand():
    # Model 0 is always first. Models 1 and 2 tie in one draw of four: ranks 2.5 each; else 1 is second thrice.
    draws_RM = np.array([[9, 2, 1], [9, 3, 2], [9, 1, 1], [9, 5, 0]], dtype=float)
    assert rank_intervals(draws_RM) == [(1.0, 1.0), (2.0, 2.5), (2.5, 3.0)]


def test_band_is_that_of_the_draws():
    scores_SNK = np.random.default_rng(3).random((3, 20, 4))
    low_K, high_K = band(scores_SNK, 0.9, draws=500, seed=2)
    draws_RK = crossed_draws([scores_SNK], 500, 2)[:, 0]
    np.testing.assert_allclose(low_K, np.quantile(draws_RK, 0.05, axis=0))
    np.testing.assert_allclose(high_K, np.quantile(draws_RK, 0.95, axis=0))


# ---------------------------------------------------------------------------------------------- all together


def test_compare_by_hand():
    # Two problems. pass@1, pass@k. Base: (0.1, 0.8), (0.3, 1.0). weak, one seed: (0.2, 0.5), (0.4, 0.7).
    # strong, two seeds: (0.5, 0.6), (0.7, 0.8) and (0.3, 0.4), (0.5, 1.0).
    base_NQ = np.array([[0.1, 0.8], [0.3, 1.0]])
    weak = np.array([[[0.2, 0.5], [0.4, 0.7]]])
    strong = np.array([[[0.5, 0.6], [0.7, 0.8]], [[0.3, 0.4], [0.5, 1.0]]])
    found = compare({"weak": weak, "strong": strong}, base_NQ)
    first, second = found.standings
    assert (first.name, first.n_seeds, second.name, second.n_seeds) == ("strong", 2, "weak", 1)
    assert first.pass_at_1.value == pytest.approx(0.5)
    assert first.pass_at_k.value == pytest.approx(0.7)
    assert first.gap.value == pytest.approx(0.9 - 0.5)
    assert first.gain_at_1.value == pytest.approx(0.5 - 0.2)
    assert first.change_at_k.value == pytest.approx(0.7 - 0.9)
    # weak is above the base by 0.1 on both problems, and below it by 0.3 at k: nothing to resample.
    assert (second.gain_at_1.low, second.gain_at_1.high) == pytest.approx((0.1, 0.1))
    assert (second.change_at_k.low, second.change_at_k.high) == pytest.approx((-0.3, -0.3))
    # strong is above weak by 0.3 with its first seed and by 0.1 with its second, on both problems: 0.1, 0.2, 0.3.
    gap = found.gap_MM[0][1]
    assert (gap.value, gap.low, gap.high, gap.probability) == pytest.approx((-0.2, -0.3, -0.1, 1.0))
    assert found.gap_MM[0][0] is None
    assert (found.gap_MM[1][0].value, found.gap_MM[1][0].probability) == pytest.approx((0.2, 0.0))
    assert found.pass_at_k_MM[0][1].value == pytest.approx(0.1)
    assert (first.rank, second.rank) == ((1.0, 1.0), (2.0, 2.0))


def test_compare_without_a_base():
    found = compare({"a": np.array([[[0.5, 0.6]]])}, None)
    assert found.standings[0].gap is None and found.standings[0].pass_at_1.value == 0.5
    with pytest.raises(ValueError, match="no algorithm"):
        compare({}, None)
