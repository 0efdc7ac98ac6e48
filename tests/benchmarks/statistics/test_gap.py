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
from benchmarks.perf._simulated import BASE as BASE_POPULATION
from benchmarks.perf._simulated import TRAINED as TRAINED_POPULATION
from benchmarks.perf._simulated import table
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.crossing import all_k, crossing, k_equivalent, roots
from benchmarks.statistics.gap import ErrorBounds, gap_interval, sampling_efficiency_gap
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
    assert gap.gap == 0 and gap.low == -gap.high
    assert gap.gain_at_1.value == 0 and "all values are equal" in gap.gain_at_1.method


def test_resampling_is_paired():
    """Problems from hopeless to easy, each 0.25 better after training: unpaired, the interval would be wide."""
    base = {str(i): (16, i % 12) for i in range(60)}
    trained = {key: (n, c + 4) for key, (n, c) in base.items()}
    gain = sampling_efficiency_gap(base, trained, k=1).gain_at_1
    assert gain.value == pytest.approx(0.25)
    assert gain.method == "t, pseudo-problems (all values are equal)"  # unpaired, they would vary


def test_same_seed_same_answer_and_other_seed_nearly():
    rng = np.random.default_rng(1)
    base, trained = ({str(i): (8, int(c)) for i, c in enumerate(rng.integers(0, 9, 50))} for _ in range(2))
    first, again, other = (sampling_efficiency_gap(base, trained, 4, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert (first.low, first.gap) == (other.low, other.gap)  # a formula; only what is bootstrapped has a seed
    assert first.k_equivalent.high != other.k_equivalent.high
    assert first.k_equivalent.high == pytest.approx(other.k_equivalent.high, abs=0.3)


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


def test_coverage_of_the_gaps_interval():
    """300 samples of 60 problems of a real population: 95 % intervals hold the true gap in 91 to 98 % of them.

    Around 95 % the share has a standard error of 1.3 %, so the limits are 3.2 and 2.4 of them away: a sound interval
    fails for about 1 % of seeds.
    """
    rng, hits = np.random.default_rng(11), 0
    true = BASE_POPULATION.pass_at_k(256) - TRAINED_POPULATION.pass_at_k(1)
    design = FixedDesign(256)
    for _ in range(300):
        trained_ASN, base_N = table(TRAINED_POPULATION, [0.0], 1, 60, rng)
        base = counts(base_N.astype(int).tolist(), 256, design)
        trained = counts(trained_ASN[0, 0].astype(int).tolist(), 256, design)
        found = gap_interval(base, base.pass_at_k(256) - trained.pass_at_k(1), 256)
        hits += found.low <= true <= found.high
    assert 0.91 <= hits / 300 <= 0.98


def test_change_at_the_largest_k_is_agresti_and_mins():
    """10 problems, 3 lost and 1 gained; by hand in test_intervals.py."""
    base, trained = (counts(c, 4, FixedDesign(4)) for c in ([1, 1, 1, 0] + [2] * 6, [0, 0, 0, 1] + [2] * 6))
    found = sampling_efficiency_gap(base, trained, k=4).change_at_k
    reach = scipy.stats.t.ppf(0.975, 9) * math.sqrt(7 / 216)
    assert (found.value, found.low, found.high) == pytest.approx((-0.2, -1 / 6 - reach, -1 / 6 + reach))
    assert found.method == "t, pseudo-problems"


def test_nothing_moved_is_no_certainty():
    """30 problems of which none changed: the change at k may still be several points either way."""
    side = counts([4] * 29 + [0], 4, FixedDesign(4))
    found = sampling_efficiency_gap(side, side, k=4)
    assert found.change_at_k.low < -0.03 and found.change_at_k.high > 0.03
    assert "all values are equal" in found.gain_at_1.method and found.gain_at_1.low < 0


def test_one_problem_has_the_whole_range():
    gap = sampling_efficiency_gap({"a": (4, 1)}, {"a": (4, 2)}, k=2)
    assert gap.gap == pytest.approx(0)
    assert (gap.low, gap.high) == (-1, 1)
    assert "one problem" in gap.method


# ---------------------------------------------------------------------------------------------- beside the gap


def test_what_stands_beside_the_gap():
    gap = sampling_efficiency_gap(BASE, TRAINED, k=2)
    # base pass@1 7/16, pass@2 7/12; gain 2/16
    assert gap.base_gap.value == pytest.approx(7 / 12 - 7 / 16)
    assert gap.closed.value == pytest.approx((2 / 16) / (7 / 12 - 7 / 16))
    assert gap.headroom.value == pytest.approx((2 / 16) / (9 / 16))
    assert gap.base_at_k.low < 7 / 12 < gap.base_at_k.high
    # 4 samples: tau 0.25 asks for 1, 0.5 for 2, 0.75 for 3 of the 4
    assert [(c.tau, c.samples, c.base.value, c.trained.value) for c in gap.cover] == [
        (0.25, 4, 3 / 4, 3 / 4), (0.5, 4, 2 / 4, 3 / 4), (0.75, 4, 1 / 4, 2 / 4),
    ]  # fmt: skip
    assert gap.solved.k == 4


def test_a_base_that_cannot_improve_has_no_share_closed():
    full = {str(i): (4, 4) for i in range(5)}
    gap = sampling_efficiency_gap(full, full, k=2)
    assert gap.closed.value is None and gap.headroom.value is None and gap.base_gap.value == 0


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
def test_roots(base, trained, kind, places, leads):
    found = roots([1, 4, 16], np.array(base) - np.array(trained))
    assert {0: "none", 1: "one"}.get(len(found), "several") == kind
    assert [k for k, _ in found] == pytest.approx(places)
    assert all(found[i][1] != found[i + 1][1] for i in range(len(found) - 1))


def test_a_crossing_has_a_direction_and_an_interval():
    """The trained model is 0.2 ahead at 1, level at 2, and 0.2 behind at 4; problems scatter by 0.1 around that."""
    rng = np.random.default_rng(0)
    base_NK = np.array([0.3, 0.7, 0.9]) + rng.normal(0, 0.1, (50, 3))
    trained_NK = np.array([0.5, 0.5, 0.7]) + rng.normal(0, 0.1, (50, 3))
    found = crossing([1, 4, 16], base_NK, trained_NK)
    assert (found.kind, found.overtakes, found.leads_at_1) == ("one", ("base",), "trained")
    assert 1 < found.low[0] < found.k[0] < found.high[0] < 4
    other = crossing([1, 4, 16], trained_NK, base_NK)
    assert (other.kind, other.overtakes, other.leads_at_1, other.k) == ("one", ("trained",), "base", found.k)


def test_the_same_model_twice_does_not_cross():
    """100 pairs of runs of one model: each side ahead beyond chance, at different k, in at most 5 of them.

    Without evidence on both sides the two curves cross in most pairs. Measured: 0 to 1 of 100, so this fails by
    chance for less than 1 in 100 seeds.
    """
    rng, crossed, touched, ks = np.random.default_rng(3), 0, 0, all_k(64)
    for _ in range(100):
        p_N = rng.beta(0.6, 2.1, 60)
        sides = [counts(rng.binomial(64, p_N).tolist(), 64, FixedDesign(64)).curve(ks) for _ in range(2)]
        crossed += crossing(ks, *sides).kind != "none"
        touched += bool(roots(ks, (sides[0] - sides[1]).mean(axis=0)))
    assert crossed <= 5 and touched > 40


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
    found = k_equivalent([1, 4, 16], np.tile(base, (3, 1)), np.full(3, target))
    assert (found.kind, found.k_max) == (kind, 16)
    assert found.k == (None if k is None else pytest.approx(k))
    # three equal problems: every draw gives the same
    assert (found.low, found.high) == {"below_1": (0, 0), "above_k_max": (None, None)}.get(kind, (found.k, found.k))


def test_curves_meet_where_their_formulas_do():
    """Base: all problems have c = 1 of 64, so pass@k = k/64. Trained: a quarter solved always, the rest never: 1/4.

    They cross at k = 16 exactly, and 16 samples of the base are worth one of the trained model.
    """
    base, trained = ({str(i): (64, c(i)) for i in range(64)} for c in (lambda i: 1, lambda i: 64 * (i < 16)))
    gap = sampling_efficiency_gap(base, trained, k=8)
    assert gap.crossing.kind == "one"
    assert gap.crossing.k == pytest.approx((16,))
    assert gap.crossing.k_max == 64  # from all that the designs reach, not only up to the k that was asked for
    assert gap.k_equivalent.k == pytest.approx(16)


def test_curves_beyond_512_samples():
    base, trained = ({str(i): (2000, c(i)) for i in range(64)} for c in (lambda i: 1, lambda i: 2000 * (i < 32)))
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
