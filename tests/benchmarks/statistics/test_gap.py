"""The gap: values by hand, pairing, the interval and its fallbacks, where curves meet, bounds under errors."""

from __future__ import annotations

import functools
import itertools
import json
import math

import numpy as np
import pytest
import scipy.stats

from benchmarks.errors import UsageError
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.gap import (
    CURVE_DRAWS,
    ErrorBounds,
    crossing,
    curve,
    interval,
    k_equivalent,
    sampling_efficiency_gap,
)
from benchmarks.statistics.passk import Design, FixedDesign, SequentialDesign

BASE = {"a": (4, 0), "b": (4, 1), "c": (4, 2), "d": (4, 4)}
TRAINED = {"a": (4, 0), "b": (4, 4), "c": (4, 2), "d": (4, 3)}


def counts(c: list[int], n: list[int] | int, design: Design, **extra: list[int]) -> Counts:
    ids = tuple(f"p{i}" for i in range(len(c)))
    return Counts(ids, np.full(len(c), n) if isinstance(n, int) else np.array(n), np.array(c), design, extra)


# ---------------------------------------------------------------------------------------------- the number


def test_gap_by_hand():
    gap = sampling_efficiency_gap(BASE, TRAINED, k=2)
    # pass@2 with n = 4: c = 0, 1, 2, 3, 4 gives 0, 1/2, 5/6, 1, 1. pass@1 is c/4.
    assert gap.base_pass_at_k == pytest.approx((0 + 1 / 2 + 5 / 6 + 1) / 4)
    assert gap.base_pass_at_1 == pytest.approx(7 / 16)
    assert gap.trained_pass_at_1 == pytest.approx(9 / 16)
    assert gap.trained_pass_at_k == pytest.approx((0 + 1 + 5 / 6 + 1) / 4)
    assert gap.gap == pytest.approx(28 / 48 - 27 / 48)
    assert gap.gain_at_1.value == pytest.approx(2 / 16)
    assert gap.change_at_k.value == pytest.approx(1 / 8)
    assert (gap.k, gap.n_problems, gap.confidence) == (2, 4, 0.95)
    assert gap.low < gap.gap < gap.high
    assert gap.errors is None


def test_each_side_uses_the_estimator_of_its_design():
    # rounds 2 and 4, stop after 1: (2,1) has pass@1 1/2, (4,1) has 0 (see test_passk); c/n would give 1/2 and 1/4
    trained = counts([1, 1], [2, 4], SequentialDesign((2, 4), 1))
    gap = sampling_efficiency_gap(counts([4, 1], 4, FixedDesign(4)), trained, k=4)
    assert gap.trained_pass_at_1 == pytest.approx(1 / 4)
    assert gap.base_pass_at_1 == pytest.approx(5 / 8)
    assert gap.gap == pytest.approx(1 - 1 / 4)


def test_gained_and_lost():
    base, trained = ({str(i): (4, c) for i, c in enumerate(row)} for row in ([0, 0, 0, 1, 4, 2], [0, 1, 3, 0, 1, 2]))
    gap = sampling_efficiency_gap(base, trained, k=4)
    assert (gap.gained, gap.lost) == (2, 1)


def test_json_has_the_public_keys_and_no_nan():
    public = {"k", "gap", "low", "high", "n_problems"} | {
        f"{who}_pass_at_{k}" for who in ("base", "trained") for k in "1k"
    }
    data = sampling_efficiency_gap(BASE, TRAINED, k=2).to_json()
    assert public <= set(data)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_sampling_error_joins_both_sides():
    base, trained = counts([3, 9, 0, 16], 16, FixedDesign(16)), counts([8, 12, 1, 16], 16, FixedDesign(16))
    parts = [base.dataset_pass_at_k([8]).sampling_K[0], trained.dataset_pass_at_k([1]).sampling_K[0]]
    assert min(parts) > 0.01
    assert sampling_efficiency_gap(base, trained, k=8).sampling_error == pytest.approx(math.hypot(*parts))


# ---------------------------------------------------------------------------------------------- pairing


def test_order_of_problems_changes_nothing():
    rng = np.random.default_rng(0)
    base, trained = ({f"p{i}": (16, int(c)) for i, c in enumerate(rng.integers(0, 17, 40))} for _ in range(2))
    shuffled = [{key: side[key] for key in rng.permutation(list(side)).tolist()} for side in (base, trained)]
    assert list(shuffled[0]) != list(base)
    as_counts = [Counts.from_pairs(side) for side in shuffled]
    assert as_counts[0].problem_ids != as_counts[1].problem_ids
    expected = sampling_efficiency_gap(base, trained, 8)
    assert sampling_efficiency_gap(*shuffled, 8) == sampling_efficiency_gap(*as_counts, 8) == expected


def test_pairing_is_by_problem_id():
    """p and q swap places in the file of the trained model: by position their differences would be 1 and -1."""
    base, trained = {"p": (4, 4), "q": (4, 0)}, {"q": (4, 0), "p": (4, 4)}
    gap = sampling_efficiency_gap(base, trained, k=1)
    assert (gap.low, gap.gap, gap.high) == (0, 0, 0)
    assert "all differences equal" in gap.method


def test_resampling_is_paired():
    """Problems from hopeless to easy, each 0.25 better after training: unpaired, the interval would be wide."""
    base = {str(i): (16, i % 12) for i in range(60)}
    trained = {key: (n, c + 4) for key, (n, c) in base.items()}
    gain = sampling_efficiency_gap(base, trained, k=1).gain_at_1
    assert gain.high - gain.low == pytest.approx(0, abs=1e-12)
    assert gain.value == pytest.approx(0.25)


def test_same_seed_same_answer_and_other_seed_nearly():
    rng = np.random.default_rng(1)
    base, trained = ({str(i): (8, int(c)) for i, c in enumerate(rng.integers(0, 9, 50))} for _ in range(2))
    first, again, other = (sampling_efficiency_gap(base, trained, 4, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.low != other.low
    assert first.low == pytest.approx(other.low, abs=0.01)
    assert first.gap == other.gap


@pytest.mark.parametrize(
    ("base", "trained", "options", "said"),
    [
        (BASE, {"a": (4, 0), "z": (4, 1)}, {"k": 2}, r"3 of base not in trained: 'b', 'c', 'd'\."),
        ({"a": (4, 0)}, {"a": (4, 0), "y": (4, 1)}, {"k": 2}, r"1 of trained not in base: 'y'\."),
        ({str(i): (4, 0) for i in range(9)}, {"0": (4, 0)}, {"k": 2}, "8 of base not in trained: '1', '2', '3', "),
        (BASE, TRAINED, {}, "k=256 is above n=4, the samples of a problem of base"),
        ({"a": (8, 0)}, {"a": (4, 0)}, {"k": 5}, "k=5 is above n=4, the samples of a problem of trained"),
        (BASE, TRAINED, {"k": 0}, "k must be"),
        (BASE, TRAINED, {"k": True}, "k must be"),
        (BASE, TRAINED, {"k": 2.0}, "k must be"),
        (BASE, TRAINED, {"k": 2, "confidence": 1.0}, "confidence must be"),
        (BASE, TRAINED, {"k": 2, "confidence": 95}, "confidence must be"),
        ({"a": (4, 0), "b": (8, 1)}, TRAINED, {"k": 2}, "'b' has n = 8, but 'a' has 4"),
        ({}, TRAINED, {"k": 2}, "no problem"),
        ({"a": (4, 5)}, {"a": (4, 0)}, {"k": 2}, "correct is 5, above n = 4"),
    ],
)
def test_wrong_input_is_named_in_one_line(base, trained, options, said):
    with pytest.raises(UsageError, match=said) as caught:
        sampling_efficiency_gap(base, trained, **options)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- intervals


def test_interval_of_a_large_symmetric_sample_is_the_normal_one():
    values = np.random.default_rng(5).uniform(-1, 1, 1000)
    found = interval(values, confidence=0.9)
    half = 1.6449 * values.std() / math.sqrt(1000)  # the normal quantile at 95 %
    assert found.value == pytest.approx(values.mean())
    # 9,999 draws place a 5 % quantile to about 0.02 standard errors of the mean: 5 % of the half width is over four
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_interval_leans_with_a_skewed_sample():
    """BCa and not plain percentiles: one problem of 30 far off moves both ends outward on its side."""
    values = np.array([0.0] * 24 + [0.1] * 5 + [0.9])
    found = interval(values)
    draws = np.random.default_rng(8).choice(values, (20000, 30)).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.method.startswith("BCa")
    assert found.low > low + 0.001
    assert found.high > high + 0.01


def test_coverage_of_the_interval():
    """400 samples of 60 problems: 95 % intervals hold the true mean in 91 to 98 % of them.

    Around 95 % the share has a standard error of 1.1 %, so the limits are 3.6 and 2.7 of them away: a sound interval
    fails for about 0.4 % of seeds.
    """
    rng = np.random.default_rng(11)
    samples = rng.beta(0.4, 0.8, (400, 60)) - 0.25 * rng.random((400, 60))
    truth = 1 / 3 - 0.125
    hits = [found.low <= truth <= found.high for found in map(interval, samples)]
    assert 0.91 <= np.mean(hits) <= 0.98


def test_equal_differences_have_no_bca_interval():
    found = interval(np.full(20, 0.3))
    assert found.value == found.low == found.high == pytest.approx(0.3)
    assert "percentile" in found.method and "all differences equal" in found.method


def test_where_bca_fails_the_percentiles_of_the_same_draws_are_taken(monkeypatch):
    class Result:
        confidence_interval = (math.nan, math.nan)
        bootstrap_distribution = np.linspace(0, 1, 101)

    monkeypatch.setattr(scipy.stats, "bootstrap", lambda *_, **__: Result())
    found = interval(np.array([0.0, 1.0]), confidence=0.9)
    assert (found.low, found.high) == (pytest.approx(0.05), pytest.approx(0.95))
    assert "percentile" in found.method


def test_one_problem_has_the_whole_range():
    gap = sampling_efficiency_gap({"a": (4, 1)}, {"a": (4, 2)}, k=2)
    assert gap.gap == pytest.approx(0)
    assert (gap.low, gap.high) == (-1, 1)
    assert "one problem" in gap.method


def test_curve():
    side = counts([0, 1, 4, 2, 3, 0, 0, 4], 4, FixedDesign(4))
    band = curve(side, [1, 2, 4])
    np.testing.assert_allclose(band.mean_K, side.dataset_pass_at_k([1, 2, 4]).mean_K)
    assert np.all(band.low_K < band.mean_K) and np.all(band.mean_K < band.high_K)
    # pass@4 is 5 successes of 8: the band of a resampled mean is the binomial one, 2/8 to 7/8 at 95 %
    assert (band.low_K[2], band.high_K[2]) == (pytest.approx(2 / 8), pytest.approx(7 / 8))
    assert band.to_json()["k"] == [1, 2, 4]
    flat = curve(counts([2, 2, 2], 4, FixedDesign(4)), [1])
    assert flat.low_K == flat.high_K == pytest.approx([0.5])
    assert CURVE_DRAWS >= 1000


# ---------------------------------------------------------------------------------------------- where curves meet


@pytest.mark.parametrize(
    ("base", "trained", "kind", "places", "leads"),
    [
        ([0.1, 0.5, 0.8], [0.3, 0.3, 0.3], "one", [2], "trained"),  # -0.2 at 1, +0.2 at 4: half way on log k
        ([0.1, 0.3, 0.8], [0.4, 0.4, 0.6], "one", [4 * 4 ** (1 / 3)], "trained"),  # -0.1 at 4, +0.2 at 16: a third
        ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], "none", [], "trained"),
        ([0.2, 0.3, 0.4], [0.1, 0.2, 0.3], "none", [], "base"),
        ([0.1, 0.5, 0.6], [0.3, 0.3, 0.8], "several", [2, 8], "trained"),
        ([0.1, 0.4, 0.8], [0.3, 0.4, 0.6], "one", [4], "trained"),  # they meet at 4 and part on the other side
        ([0.1, 0.4, 0.5], [0.3, 0.4, 0.6], "none", [], "trained"),  # they touch at 4
        ([0.1, 0.4, 1.0], [0.3, 0.5, 1.0], "none", [], "trained"),  # they end together
        ([0.3, 0.4, 0.8], [0.3, 0.5, 0.6], "one", [8 / 2 ** (1 / 3)], "neither"),  # -0.1 at 4, +0.2 at 16
        ([0.3, 0.4, 0.8], [0.3, 0.4, 0.8], "none", [], "neither"),
    ],
)
def test_crossing(base, trained, kind, places, leads):
    found = crossing([1, 4, 16], np.array(base), np.array(trained))
    assert (found.kind, found.leads_at_1, found.k_max) == (kind, leads, 16)
    assert found.k == pytest.approx(tuple(places))


@pytest.mark.parametrize(
    ("base", "target", "kind", "k"),
    [
        ([0.1, 0.3, 0.5], 0.2, "value", 2),
        ([0.1, 0.3, 0.5], 0.3, "value", 4),
        ([0.1, 0.3, 0.5], 0.1, "value", 1),
        ([0.1, 0.3, 0.3], 0.3, "value", 4),  # the smallest k
        ([0.1, 0.3, 0.5], 0.5, "value", 16),
        ([0.1, 0.3, 0.5], 0.05, "below_1", None),
        ([0.1, 0.3, 0.5], 0.51, "above_k_max", None),
    ],
)
def test_k_equivalent(base, target, kind, k):
    found = k_equivalent([1, 4, 16], np.array(base), target)
    assert (found.kind, found.k_max) == (kind, 16)
    assert found.k == (None if k is None else pytest.approx(k))


def test_curves_meet_where_their_formulas_do():
    """Base: all problems have c = 1 of 64, so pass@k = k/64. Trained: a quarter solved always, the rest never: 1/4.

    They cross at k = 16 exactly, and 16 samples of the base are worth one of the trained model.
    """
    base, trained = ({str(i): (64, c(i)) for i in range(8)} for c in (lambda i: 1, lambda i: 64 * (i < 2)))
    gap = sampling_efficiency_gap(base, trained, k=8)
    assert gap.crossing.kind == "one"
    assert gap.crossing.k == pytest.approx((16,))
    assert gap.crossing.k_max == 64  # from all that the designs reach, not only up to the k that was asked for
    assert gap.k_equivalent.k == pytest.approx(16)


def test_curves_beyond_512_samples():
    base, trained = ({str(i): (2000, c(i)) for i in range(8)} for c in (lambda i: 1, lambda i: 2000 * (i < 4)))
    gap = sampling_efficiency_gap(base, trained, k=2000)
    assert gap.crossing.k == pytest.approx((1000,), rel=1e-3)  # k/2000 = 1/2
    assert gap.k_equivalent.k_max == 2000


# ---------------------------------------------------------------------------------------------- errors


def test_error_bounds_by_hand():
    base = counts([1, 2], 4, FixedDesign(4), error=[1, 0])
    trained = counts([2, 2], 4, FixedDesign(4), error=[0, 2])
    gap = sampling_efficiency_gap(base, trained, k=2)
    # base pass@2: 1/2 and 5/6 as counted, 5/6 twice with its error right. Trained pass@1: 1/2; with them right 3/4.
    assert gap.gap == pytest.approx(4 / 6 - 1 / 2)
    assert gap.errors is not None
    assert (gap.errors.base_errors, gap.errors.trained_errors) == (1, 2)
    assert gap.errors.gap_low == pytest.approx(4 / 6 - 3 / 4)
    assert gap.errors.gap_high == pytest.approx(5 / 6 - 1 / 2)


def test_no_errors_no_bounds():
    side = counts([1, 2], 4, FixedDesign(4), error=[0, 0])
    assert sampling_efficiency_gap(side, side, k=2).errors is None


@pytest.mark.parametrize("k", [1, 3, 6])
def test_error_bound_holds_for_every_order_of_outcomes(k):
    """Sequential: had the errors been right, a problem might have stopped earlier; all 3^6 sequences are tried."""
    design = SequentialDesign((2, 4, 6), 2)
    none = counts([0], 6, design, error=[0])

    @functools.cache
    def bounds_of(n: int, c: int, errors: int) -> ErrorBounds | None:
        return sampling_efficiency_gap(counts([c], n, design, error=[errors]), none, k=k).errors

    tight = 0
    for outcomes in itertools.product("RWE", repeat=6):
        n, c, errors = _stop(design, outcomes, "R")
        bounds = bounds_of(n, c, errors)
        if not errors:
            assert bounds is None
            continue
        n_right, c_right, _ = _stop(design, outcomes, "RE")
        assert bounds is not None
        slack = bounds.gap_high - design.pass_at_k(n_right, c_right, k)  # the other side's pass@1 is 0
        assert slack > -1e-12
        tight += abs(slack) < 1e-12
    assert tight > 100  # not merely the bound 1


def _stop(design: SequentialDesign, outcomes: tuple[str, ...], right: str) -> tuple[int, int, int]:
    """n, correct, errors where the problem stops if the outcomes in `right` count as correct."""
    for n in design.rounds:
        c = sum(o in right for o in outcomes[:n])
        if c >= design.stop_after or n == design.rounds[-1]:
            return n, c, outcomes[:n].count("E")
    raise AssertionError


def test_gained_and_lost_are_of_as_many_samples_on_both_sides():
    """The base had 4 samples, the trained model 2, and 1 or 2 of the base's were right where none of the other's was.

    In 2 samples the base would have solved (4, 1) with probability 1 - C(3,2)/C(4,2) = 1/2, (4, 2) with 5/6: 1.33.
    """
    base, trained = counts([1, 2, 0], 4, FixedDesign(4)), counts([0, 0, 1], 2, FixedDesign(2))
    gap = sampling_efficiency_gap(base, trained, k=2)
    assert (gap.gained, gap.lost) == (1, 1)
    assert sampling_efficiency_gap(trained, base, k=2).gained == 1
