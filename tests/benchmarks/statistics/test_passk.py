"""pass@k: closed form by hand, sequential designs by counting every path, standard errors by simulation."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from benchmarks.statistics.passk import (
    Design,
    FixedDesign,
    SequentialDesign,
    dataset_pass_at_k,
    design_from_json,
    mixing_weights,
    pass_at_k,
    sampling_error,
)

DEFAULT = SequentialDesign()
SMALL = [
    SequentialDesign((1, 2, 4), 1),
    SequentialDesign((2, 4, 6), 2),
    SequentialDesign((3, 5, 9), 2),
    SequentialDesign((1, 3, 7), 3),
    SequentialDesign((2, 3, 8), 5),  # can stop early nowhere: 5 > 3
    SequentialDesign((6,), 1),
    FixedDesign(5),
]


def stop(design: Design, outcomes: tuple[int, ...]) -> tuple[int, int]:
    """The state in which a problem with these outcomes stops, straight from the words of the design."""
    for n in design.rounds:
        c = sum(outcomes[:n])
        if design.stop_after is not None and c >= design.stop_after:
            return n, c
    return design.rounds[-1], sum(outcomes)


def draw(design: Design, p_N: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n_N, c_N of one run over problems with these success probabilities."""
    n_N, c_N = np.zeros((2, len(p_N)), dtype=int)
    for i, p in enumerate(p_N):
        n, c = 0, 0
        while (target := design.next_round(n, c)) is not None:
            n, c = target, c + int(rng.binomial(target - n, p))
        n_N[i], c_N[i] = n, c
    return n_N, c_N


# ---------------------------------------------------------------------------------------------- closed form


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (4, 1, 2, 1 / 2),  # 1 - C(3,2)/C(4,2) = 1 - 3/6
        (5, 2, 3, 9 / 10),  # 1 - C(3,3)/C(5,3) = 1 - 1/10
        (4, 2, 2, 5 / 6),  # 1 - C(2,2)/C(4,2) = 1 - 1/6
        (4, 3, 2, 1.0),  # any two of four hold a correct one
        (7, 0, 7, 0.0),
        (7, 7, 1, 1.0),
        (7, 3, 1, 3 / 7),  # pass@1 is c/n
        (10_000, 1, 1, 1e-4),
        (10_000, 1, 10_000, 1.0),
    ],
)
def test_closed_form_by_hand(n, c, k, expected):
    assert pass_at_k(n, c, k) == pytest.approx(expected, rel=1e-11)
    assert FixedDesign(n).pass_at_k(n, c, k) == pytest.approx(expected, rel=1e-11)


def test_closed_form_equals_the_binomials_everywhere():
    cells = [(n, c, k) for n in range(1, 12) for c in range(n + 1) for k in range(1, n + 1)]
    n, c, k = np.transpose(cells)
    expected = [1 - Fraction(math.comb(n - c, k), math.comb(n, k)) for n, c, k in cells]
    np.testing.assert_allclose(pass_at_k(n, c, k), [float(x) for x in expected], atol=1e-14)


def test_large_n_neither_overflows_nor_loses_digits():
    expected = 1 - Fraction(math.comb(1990, 700), math.comb(2000, 700))  # C(2000, 700) is about 1e560
    assert pass_at_k(2000, 10, 700) == pytest.approx(float(expected), rel=1e-12)


def test_arrays_broadcast_and_scalars_give_a_float():
    assert isinstance(pass_at_k(4, 1, 2), float)
    assert isinstance(DEFAULT.pass_at_k(64, 5, 1), float)
    table = pass_at_k(4, np.array([[0], [1], [4]]), np.array([1, 2]))
    np.testing.assert_allclose(table, [[0, 0], [1 / 4, 1 / 2], [1, 1]])
    assert pass_at_k(np.zeros(0, int), 0, 1).shape == (0,)
    assert DEFAULT.curve([64, 256], [5, 0], [1, 8, 256]).shape == (2, 3)


@pytest.mark.parametrize(
    ("n", "c", "k", "named"),
    [
        (4, 0, 8, "n=4, c=0, k=8"),  # the textbook form gives 1.0 here
        (4, 5, 1, "c=5"),
        (4, -1, 1, "c=-1"),
        (4, 1, 0, "k=0"),
        (4, 1, -2, "k=-2"),
        (-4, 0, 1, "n=-4"),
        (0, 0, 1, "n=0"),
        (4.5, 1, 1, "4.5"),
        (4, 0.5, 1, "0.5"),
        (4, 1, math.nan, "nan"),
        (4, 1, math.inf, "inf"),
        (4, True, 1, "True"),
        ("4", 1, 1, "'4'"),
        ([8, 8, 4], 1, [8, 1, 5], "n=4, c=1, k=5"),  # one bad cell of many
    ],
)
def test_what_is_not_known_is_an_error_and_never_a_number(n, c, k, named):
    with pytest.raises(ValueError, match=named):
        pass_at_k(n, c, k)


# ---------------------------------------------------------------------------------------------- sequential design


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        # rounds 2 and 4, stop after 1. Paths to (2,1): RW, WR. To (2,2): RR. To (4,1): WWRW, WWWR. To (4,2): WWRR.
        (2, 1, 1, 1 / 2),  # of RW, WR one begins with W
        (2, 1, 2, 1.0),  # none begins with WW
        (2, 1, 4, 1.0),  # k above n: it has a correct sample, so the first four are not all wrong
        (2, 2, 1, 1.0),
        (4, 1, 1, 0.0),  # both begin with W: c/n = 1/4 would be wrong
        (4, 1, 2, 0.0),
        (4, 1, 3, 1 / 2),  # WWWR of the two
        (4, 1, 4, 1.0),
        (4, 2, 3, 1.0),
        (4, 0, 4, 0.0),
    ],
)
def test_sequential_by_hand(n, c, k, expected):
    assert SequentialDesign((2, 4), 1).pass_at_k(n, c, k) == expected


@pytest.mark.parametrize("design", SMALL, ids=str)
def test_estimator_is_the_conditional_expectation_over_all_sequences(design):
    """Of all 2^n_J equally likely sequences that stop in (n, c), the share whose first k are not all wrong."""
    last = design.rounds[-1]
    reached: Counter[tuple[int, int]] = Counter()
    solved: Counter[tuple[int, int, int]] = Counter()
    for outcomes in itertools.product((0, 1), repeat=last):
        state = stop(design, outcomes)
        reached[state] += 1
        solved.update((*state, k) for k in range(1, last + 1) if any(outcomes[:k]))
    for (n, c), total in reached.items():
        for k in range(1, last + 1):
            # both sides are the float nearest to one and the same fraction (the fixed design takes a running product)
            expected = float(Fraction(solved[n, c, k], total))
            assert design.pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-15), (n, c, k)
    cells = itertools.product(range(last + 2), repeat=2)
    assert {cell for cell in cells if design.reachable(*cell)} == set(reached)


@pytest.mark.parametrize("design", [*SMALL, DEFAULT], ids=str)
@pytest.mark.parametrize(
    "p", [Fraction(0), Fraction(1, 250), Fraction(2, 7), Fraction(1, 2), Fraction(19, 20)], ids=str
)
def test_unbiased_exactly(design, p):
    """The sum over stopping states of P(state) * estimate is 1 - (1-p)^k, in exact fractions."""
    last = design.rounds[-1]
    states = [(n, c) for n in design.rounds for c in range(n + 1) if design.reachable(n, c)]
    chance = {(n, c): p**c * (1 - p) ** (n - c) for n, c in states}  # of one path to the state
    assert sum(design.paths(*s) * chance[s] for s in states) == 1
    for k in {1, 2, 3, last // 2, last - 1, last} & set(range(1, last + 1)) | ({64, 65, 200} if last == 256 else set()):
        mean = sum((design.paths(*s) - design.paths(*s, k)) * chance[s] for s in states)
        assert mean == 1 - (1 - p) ** k, k


@pytest.mark.parametrize("design", SMALL, ids=str)
def test_counts_are_complete(design):
    """n_J + 1 stopping states whose p^c (1-p)^(n-c) are linearly independent: no other unbiased function of (n, c)."""
    last = design.rounds[-1]
    states = [(n, c) for n in design.rounds for c in range(n + 1) if design.reachable(n, c)]
    p_Q = [Fraction(i, last + 2) for i in range(1, last + 2)]  # as many points as a polynomial of degree n_J needs
    rows = [[p**c * (1 - p) ** (n - c) for p in p_Q] for n, c in states]
    assert len(states) == rank(rows) == last + 1


def rank(rows: list[list[Fraction]]) -> int:
    """By elimination, exact."""
    if not rows or not rows[0]:
        return 0
    pivot = next((row for row in rows if row[0]), None)
    if pivot is None:
        return rank([row[1:] for row in rows])
    rest = [row for row in rows if row is not pivot]
    return 1 + rank([[a - b * row[0] / pivot[0] for a, b in zip(row[1:], pivot[1:], strict=True)] for row in rest])


def test_tables_are_the_paths():
    for n, c, k in [(64, 4, 1), (64, 30, 64), (64, 5, 65), (128, 4, 1), (128, 9, 70), (256, 0, 256), (256, 3, 130)]:
        total, wrong = DEFAULT.paths(n, c), DEFAULT.paths(n, c, k)
        assert DEFAULT.pass_at_k(n, c, k) == float(1 - Fraction(wrong, total))


def test_first_checkpoint_is_the_closed_form():
    c_N, k_K = np.arange(4, 65)[:, None], np.arange(1, 65)[None, :]
    np.testing.assert_allclose(DEFAULT.pass_at_k(64, c_N, k_K), pass_at_k(64, c_N, k_K), atol=1e-13)


@pytest.mark.parametrize("design", [FixedDesign(60), SequentialDesign((60,), 4)], ids=str)
def test_one_checkpoint_is_the_closed_form(design):
    c_N, k_K = np.arange(61)[:, None], np.arange(1, 61)[None, :]
    np.testing.assert_allclose(design.pass_at_k(60, c_N, k_K), pass_at_k(60, c_N, k_K), atol=1e-13)


def test_c_over_n_would_be_biased_upward():
    p = 0.03
    n_S, c_S = np.transpose([(n, c) for n in DEFAULT.rounds for c in range(n + 1) if DEFAULT.reachable(n, c)])
    chance_S = DEFAULT.distribution([p])[0]
    assert chance_S @ (c_S / n_S) > p + 0.002
    assert chance_S @ DEFAULT.pass_at_k(n_S, c_S, 1) == pytest.approx(p, rel=1e-10)


@pytest.mark.parametrize(
    ("n", "c", "k"),
    [
        (64, 3, 1),  # would have gone on
        (64, 65, 1),
        (128, 0, 1),
        (128, 68, 1),  # at most 3 at 64 and 64 more
        (256, 132, 1),
        (100, 5, 1),
        (0, 0, 1),
        (256, 5, 257),
        (64, 5, 0),
        (64, -5, 1),
        (64, 5.5, 1),
    ],
)
def test_unreachable_is_an_error(n, c, k):
    with pytest.raises(ValueError):
        DEFAULT.pass_at_k(n, c, k)


def test_fixed_design_refuses_other_n_and_larger_k():
    with pytest.raises(ValueError, match="n=7"):
        FixedDesign(8).pass_at_k(7, 1, 1)
    with pytest.raises(ValueError, match="k=9"):
        FixedDesign(8).pass_at_k(8, 1, 9)


def test_next_round():
    walk = [(0, 0), (64, 3), (64, 4), (128, 3), (128, 67), (256, 0), (256, 3)]
    assert [DEFAULT.next_round(*state) for state in walk] == [64, 128, None, 256, None, None, None]
    assert [FixedDesign(8).next_round(*state) for state in [(0, 0), (8, 0), (8, 8)]] == [8, None, None]
    for design, state in [(DEFAULT, (100, 1)), (DEFAULT, (128, 68)), (DEFAULT, (0, 1)), (FixedDesign(8), (4, 1))]:
        with pytest.raises(ValueError, match="no checkpoint"):
            design.next_round(*state)


@pytest.mark.parametrize("design", [FixedDesign(256), DEFAULT, SequentialDesign((8, 16), 1)], ids=str)
def test_design_json_round_trip(design):
    assert design_from_json(design.to_json()) == design
    assert len({design, design_from_json(design.to_json())}) == 1


def test_design_json_forms():
    assert design_from_json({"n": 256}) == FixedDesign(256)
    assert FixedDesign(256).to_json() == {"rounds": [256], "stop_after": None}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"n": 0},
        {"n": 2.5},
        {"n": True},
        {"rounds": [64, 128]},
        {"rounds": [64, 128], "stop_after": None},
        {"rounds": [128, 64], "stop_after": 4},
        {"rounds": [64, 64], "stop_after": 4},
        {"rounds": [], "stop_after": 4},
        {"rounds": [64], "stop_after": 0},
        {"rounds": ["64"], "stop_after": 4},
        {"rounds": 64, "stop_after": 4},
        {"rounds": [64], "stop_after": 4, "early": True},
    ],
    ids=str,
)
def test_design_json_strict(data):
    with pytest.raises(ValueError):
        design_from_json(data)


# ---------------------------------------------------------------------------------------------- cost and errors


def test_expected_samples_by_hand():
    design = SequentialDesign((2, 4), 1)  # two more samples where the first two are both wrong: 2 + 2 (1-p)^2
    np.testing.assert_allclose(design.expected_samples([0, 0.5, 1]), [4, 2.5, 2])
    assert DEFAULT.expected_samples(0.0) == 256
    assert DEFAULT.expected_samples(1.0) == 64
    assert FixedDesign(10).expected_samples(0.3) == pytest.approx(10)
    with pytest.raises(ValueError, match="p must be"):
        DEFAULT.expected_samples(1.5)


def test_sampling_variance_by_hand():
    p_Q = np.array([0.0, 0.01, 0.3, 1.0])
    q_Q = 1 - (1 - p_Q) ** 256
    np.testing.assert_allclose(FixedDesign(256).sampling_variance(p_Q, 1), p_Q * (1 - p_Q) / 256, atol=1e-14)
    # at k = n_J the estimate is the indicator "solved within n_J": a Bernoulli variable, under either design
    np.testing.assert_allclose(FixedDesign(256).sampling_variance(p_Q, 256), q_Q * (1 - q_Q), atol=1e-12)
    np.testing.assert_allclose(DEFAULT.sampling_variance(p_Q, 256), q_Q * (1 - q_Q), atol=1e-12)


def test_dataset_by_hand():
    # two problems, n = 2: pass@1 is 0 and 1; mean 1/2, sd sqrt(1/2), standard error sqrt(1/2) / sqrt(2) = 1/2
    result = dataset_pass_at_k([2, 2], [0, 2], FixedDesign(2), [1, 2])
    np.testing.assert_allclose(result.mean_K, [0.5, 0.5])
    np.testing.assert_allclose(result.total_K, [0.5, 0.5])
    assert result.n_problems == 2
    one = dataset_pass_at_k([2], [1], FixedDesign(2), [1]).to_json()
    assert one["pass_at_k"] == {1: 0.5}
    assert one["standard_error"][1]["total"] is None
    with pytest.raises(ValueError, match="at least one problem"):
        dataset_pass_at_k([], [], DEFAULT, [1])


POPULATIONS = {
    "a base: two fifths out of reach": lambda rng, n: np.where(rng.random(n) < 0.4, 0, rng.beta(0.3, 3, n)),
    "trained: most at 0 or 1": lambda rng, n: rng.beta(0.2, 0.2, n),
    "all at the edge of reach": lambda rng, n: np.full(n, 1 / 256),
}


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("design", [FixedDesign(256), DEFAULT], ids=["fixed", "sequential"])
def test_sampling_error_is_calibrated(design, population):
    """Against the spread of the dataset's mean over new samples of the same 300 problems.

    The spread comes from 200 runs (relative error 1 / sqrt(400) = 5 %), the estimate from 10 of them. Tolerance 20 %:
    four standard errors, so a sound estimator fails in about 1 of 16,000 seeds for each of 12 comparisons.
    """
    rng = np.random.default_rng(20)
    p_N = POPULATIONS[population](rng, 300)
    ks = [1, 256]
    chance_NS = design.distribution(p_N)
    states = [(n, c) for n in design.rounds for c in range(n + 1) if design.reachable(n, c)]
    runs = [states_of(rng, chance_NS) for _ in range(200)]
    n_S, c_S = np.transpose(states)
    means_RK = [design.curve(n_S[run], c_S[run], ks).mean(axis=0) for run in runs]
    estimates_RK = [sampling_error(n_S[run], c_S[run], design, ks) for run in runs[:10]]
    spread_K = np.std(means_RK, axis=0, ddof=1)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(estimates_RK), axis=0)), spread_K, rtol=0.2)


def states_of(rng: np.random.Generator, chance_NS: np.ndarray) -> np.ndarray:
    """(N,): one stopping state for each problem, by inverting its distribution."""
    return np.argmax(np.cumsum(chance_NS, axis=1) > rng.random((len(chance_NS), 1)) * (1 - 1e-12), axis=1)


def test_distribution_is_that_of_the_sampler():
    """5,000 problems drawn round by round: their mean n and c within 4.5 standard errors (2 in 100,000 seeds)."""
    p = 0.02
    n_N, c_N = draw(DEFAULT, np.full(5000, p), np.random.default_rng(3))
    n_S, c_S = np.transpose([(n, c) for n in DEFAULT.rounds for c in range(n + 1) if DEFAULT.reachable(n, c)])
    chance_S = DEFAULT.distribution([p])[0]
    for drawn_N, value_S in ((n_N, n_S), (c_N, c_S)):
        mean = chance_S @ value_S
        sd = math.sqrt(chance_S @ (value_S - mean) ** 2)
        assert abs(drawn_N.mean() - mean) < 4.5 * sd / math.sqrt(5000)


def test_out_of_reach_is_not_called_uncertain():
    n_N = np.full(200, 256)
    assert sampling_error(n_N, np.zeros(200, int), DEFAULT, [256])[0] < 1e-6
    assert sampling_error(np.full(200, 64), np.full(200, 64), DEFAULT, [1])[0] < 1e-3


def test_mixing_weights_are_a_distribution_with_the_right_mean():
    rng = np.random.default_rng(0)
    n_N, c_N = draw(DEFAULT, rng.beta(0.5, 2, 200), rng)
    weights_Q = mixing_weights(n_N, c_N, DEFAULT)
    assert weights_Q.sum() == pytest.approx(1)
    assert np.all(weights_Q >= 0)
    with pytest.raises(ValueError, match="at least one problem"):
        sampling_error([], [], DEFAULT, [1])


def test_order_of_problems_does_not_matter():
    n_N, c_N = np.array([64, 256, 128, 256]), np.array([9, 0, 5, 2])
    order = [2, 0, 3, 1]
    here, there = (dataset_pass_at_k(n_N[o], c_N[o], DEFAULT, [1, 256]) for o in (slice(None), order))
    np.testing.assert_allclose(here.mean_K, there.mean_K, rtol=1e-14)
    np.testing.assert_allclose(here.sampling_K, there.sampling_K, rtol=1e-12)
