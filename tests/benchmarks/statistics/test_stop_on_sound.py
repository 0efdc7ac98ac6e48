"""The design that stops on sound answers: both estimators by hand, by counting every path, and exactly unbiased."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from benchmarks.statistics.passk import (
    SequentialDesign,
    StopOnSound,
    dataset_pass_at_k,
    design_from_json,
    pass_at_k,
    sampling_error,
)
from benchmarks.statistics.sampling import joint_grid, joint_mixing_weights
from tests.benchmarks.statistics.test_passk import rank

DEFAULT = StopOnSound()
SMALL = [
    StopOnSound((1, 2, 4), 1),
    StopOnSound((2, 4, 6), 2),
    StopOnSound((1, 3, 7), 3),
    StopOnSound((2, 3, 6), 5),  # can stop early nowhere: 5 > 3
    StopOnSound((5,), 1),
]
CHANCES = [
    (Fraction(0), Fraction(0)),
    (Fraction(0), Fraction(1, 3)),
    (Fraction(1, 250), Fraction(1, 40)),
    (Fraction(2, 7), Fraction(1, 7)),
    (Fraction(1, 10), Fraction(9, 10)),
    (Fraction(1, 2), Fraction(0)),
]
"""(sound, correct but unsound): the rest is wrong."""


def stop(design: StopOnSound, outcomes: str) -> tuple[int, int, int]:
    """The (n, c, s) in which a problem with these outcomes stops, straight from the words of the design."""
    n = next((n for n in design.rounds if outcomes[:n].count("S") >= design.stop_after), design.rounds[-1])
    seen = outcomes[:n]
    return n, seen.count("S") + seen.count("U"), seen.count("S")


def sequences(design: StopOnSound) -> list[str]:
    """All sequences of sound (S), correct but unsound (U) and wrong (W) samples, as long as the design is."""
    return ["".join(one) for one in itertools.product("SUW", repeat=design.rounds[-1])]


def states(design: StopOnSound) -> list[tuple[int, int, int]]:
    """Every state in which the design stops."""
    pairs = [(n, s) for n in design.rounds for s in range(n + 1) if design.sound.reachable(n, s)]
    return [(n, c, s) for n, s in pairs for c in range(s, n + 1)]


@pytest.mark.parametrize(
    ("n", "c", "s", "k", "expected"),
    [
        # rounds 2 and 4, stop after 1 sound sample; S: sound, U: correct but unsound, W: wrong
        (2, 1, 1, 1, 1 / 2),  # SW, WS: one of two begins with W
        (2, 1, 1, 2, 1.0),
        (2, 1, 1, 4, 1.0),  # k above n: it has a correct sample, so the first four are not all wrong
        (2, 2, 1, 1, 1.0),  # SU, US
        (4, 0, 0, 4, 0.0),
        (4, 1, 0, 1, 1 / 4),  # UWWW, WUWW, WWUW, WWWU: none is sound, so nothing stopped it
        (4, 1, 0, 3, 3 / 4),
        (4, 1, 1, 1, 0.0),  # WWSW, WWWS: a sound one in the first two would have stopped it
        (4, 1, 1, 3, 1 / 2),
        (4, 2, 1, 1, 1 / 3),  # UWSW, WUSW, WWSU, UWWS, WUWS, WWUS: four of six begin with W. c/n would be 1/2
        (4, 2, 1, 2, 2 / 3),  # two begin with WW
        (4, 2, 1, 3, 1.0),  # none begins with WWW
    ],
)
def test_by_hand(n, c, s, k, expected):
    assert StopOnSound((2, 4), 1).pass_at_k(n, c, k, s) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("design", SMALL, ids=str)
def test_estimators_are_the_conditional_expectations_over_all_sequences(design):
    """Of all sequences that stop in (n, c, s), the share whose first k hold a correct one, and a sound one."""
    last = design.rounds[-1]
    reached: Counter[tuple[int, ...]] = Counter()
    correct: Counter[tuple[int, ...]] = Counter()
    sound: Counter[tuple[int, ...]] = Counter()
    for outcomes in sequences(design):
        state = stop(design, outcomes)
        reached[state] += 1
        correct.update((*state, k) for k in range(1, last + 1) if outcomes[:k].strip("W"))
        sound.update((*state, k) for k in range(1, last + 1) if "S" in outcomes[:k])
    for (n, c, s), total in reached.items():
        for k in range(1, last + 1):
            expected = float(Fraction(correct[n, c, s, k], total))
            assert design.pass_at_k(n, c, k, s) == pytest.approx(expected, abs=1e-14), (n, c, s, k)
            expected = float(Fraction(sound[n, c, s, k], total))
            assert design.sound.pass_at_k(n, s, k) == pytest.approx(expected, abs=1e-14), (n, c, s, k)
    cells = itertools.product(range(last + 1), repeat=3)
    assert {cell for cell in cells if design.reachable(*cell)} == set(reached) == set(states(design))


@pytest.mark.parametrize("chances", CHANCES, ids=str)
@pytest.mark.parametrize("design", SMALL, ids=str)
def test_both_are_unbiased_exactly(design, chances):
    """By weighing all sequences, in exact fractions: E[estimate] is 1 - (1-p)^k for each verdict's own p."""
    sound, unsound = chances
    weight = {"S": sound, "U": unsound, "W": 1 - sound - unsound}
    chance: Counter[tuple[int, int, int]] = Counter()
    for outcomes in sequences(design):
        product = Fraction(1)
        for outcome in outcomes:
            product *= weight[outcome]
        chance[stop(design, outcomes)] += product
    for k in range(1, design.rounds[-1] + 1):
        none_correct = sum(p * Fraction(design.paths(*at, k), design.paths(*at)) for at, p in chance.items())
        assert none_correct == (1 - sound - unsound) ** k
        none_sound = sum(
            p * Fraction(design.sound.paths(n, s, k), design.sound.paths(n, s)) for (n, _, s), p in chance.items()
        )
        assert none_sound == (1 - sound) ** k


@pytest.mark.parametrize(("sound", "unsound", "of"), [(1, 3, 100), (20, 5, 60)])
def test_the_default_design_is_unbiased_exactly(sound, unsound, of):
    """The same for all 33,000 states of the default design, in whole numbers: everything times of^256."""
    last = DEFAULT.rounds[-1]
    powers = [[base**i for i in range(last + 1)] for base in (sound, unsound, of - sound - unsound, of)]
    chance = {
        (n, c, s): powers[0][s] * powers[1][c - s] * powers[2][n - c] * powers[3][last - n]
        for n, c, s in states(DEFAULT)
    }
    assert sum(DEFAULT.paths(*at) * one for at, one in chance.items()) == powers[3][last]
    for k in (1, 64, 65, 200, 256):
        none_correct = sum(DEFAULT.paths(*at, k) * one for at, one in chance.items())
        assert none_correct == powers[2][k] * powers[3][last - k], k


@pytest.mark.parametrize("design", SMALL[:3], ids=str)
def test_counts_are_complete(design):
    """The chances of the stopping states are linearly independent: no other function of (n, c, s) is unbiased."""
    grid = [Fraction(i, 11) for i in range(1, 11)]
    points = [(x, y, 1 - x - y) for x in grid for y in grid if x + y < 1]
    rows = [[x**s * y ** (c - s) * z ** (n - c) for x, y, z in points] for n, c, s in states(design)]
    assert rank(rows) == len(rows)


@pytest.mark.parametrize("k", [1, 3, 64, 100, 256])
def test_where_every_correct_answer_is_sound_it_is_the_two_outcome_estimate(k):
    plain = SequentialDesign()
    for n, s in [(64, 4), (64, 63), (128, 4), (128, 67), (256, 0), (256, 3), (256, 131)]:
        assert DEFAULT.pass_at_k(n, s, k, s) == pytest.approx(plain.pass_at_k(n, s, k), abs=1e-15)


def test_one_checkpoint_is_the_closed_form():
    c_N, s_N, k_K = np.arange(61)[:, None], (np.arange(61) // 2)[:, None], np.arange(1, 61)[None, :]
    design = StopOnSound((60,), 4)
    np.testing.assert_allclose(design.pass_at_k(60, c_N, k_K, s_N), pass_at_k(60, c_N, k_K), atol=1e-13)


def test_tables_are_the_paths():
    for n, c, s, k in [(64, 9, 4, 1), (64, 30, 20, 30), (128, 60, 4, 5), (256, 200, 3, 40), (256, 3, 0, 250)]:
        expected = 1 - Fraction(DEFAULT.paths(n, c, s, k), DEFAULT.paths(n, c, s))
        assert DEFAULT.pass_at_k(n, c, k, s) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "c", "s", "k"),
    [
        (64, 40, 3, 1),  # would have gone on
        (64, 3, 4, 1),  # more sound ones than correct ones
        (64, 65, 4, 1),
        (128, 100, 68, 1),  # at most 3 sound ones at 64 and 64 more
        (100, 50, 5, 1),
        (256, 5, 5, 257),
        (64, 5, 5, 0),
        (64, 5, -1, 1),
        (64, 5, None, 1),
    ],
)
def test_unreachable_is_an_error(n, c, s, k):
    with pytest.raises(ValueError):
        DEFAULT.pass_at_k(n, c, k, s)


def test_shapes():
    assert isinstance(DEFAULT.pass_at_k(64, 9, 1, 5), float)
    assert DEFAULT.curve([64, 256], [9, 7], [1, 8, 256], [5, 0]).shape == (2, 3)
    assert DEFAULT.curve([], [], [1], []).shape == (0, 1)


def test_json():
    written = {"rounds": [64, 128, 256], "stop_after": 4, "stop_on": "sound"}
    assert DEFAULT.to_json() == written and design_from_json(written) == DEFAULT
    assert design_from_json(written | {"stop_on": "answer"}) == SequentialDesign() != DEFAULT
    assert "stop_on" not in SequentialDesign().to_json()  # as in the files that were written before there was a choice
    with pytest.raises(ValueError, match="stop_on must be answer or sound"):
        design_from_json(written | {"stop_on": "length"})
    assert len({DEFAULT, StopOnSound(), SequentialDesign()}) == 2


def test_next_round_counts_sound_samples():
    assert [DEFAULT.next_round(*state) for state in [(0, 0), (64, 3), (64, 4), (256, 0)]] == [64, 128, None, None]
    assert DEFAULT.expected_samples(0.0) == 256 and DEFAULT.expected_samples(1.0) == 64


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("design", SMALL, ids=str)
def test_sampling_variance_is_that_over_all_sequences(design):
    sound, unsound = 0.2, 0.3  # of a sample; so a sample that is not sound is correct with probability 0.3 / 0.8
    weight = {"S": sound, "U": unsound, "W": 0.5}
    for k in (1, 2, design.rounds[-1]):
        first = second = 0.0
        for outcomes in sequences(design):
            chance = np.prod([weight[outcome] for outcome in outcomes])
            n, c, s = stop(design, outcomes)
            estimate = design.pass_at_k(n, c, k, s)
            first, second = first + chance * estimate, second + chance * estimate**2
        assert first == pytest.approx(1 - 0.5**k)
        found = design.sampling_variance([sound], [0.3 / 0.8], k)
        np.testing.assert_allclose(found, [[second - first**2]], atol=1e-12)


def draw(sound_N: np.ndarray, unsound_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(3, N): n, c, s of one run of the default design over problems with these chances."""
    rows = []
    for sound, unsound in zip(sound_N, unsound_N, strict=True):
        n = s = u = 0
        while (target := DEFAULT.next_round(n, s)) is not None:
            more = rng.multinomial(target - n, [sound, unsound, 1 - sound - unsound])
            n, s, u = target, s + int(more[0]), u + int(more[1])
        rows.append((n, s + u, s))
    return np.transpose(rows)


POPULATIONS = {
    "many unsound answers": lambda rng, n: (rng.beta(0.4, 1.2, n) * (rng.random(n) < 0.7), rng.beta(0.6, 0.8, n)),
    "hardly an unsound one": lambda rng, n: (rng.beta(0.3, 3, n), rng.beta(20, 1, n)),
    "right answers at the edge of reach, none sound": lambda rng, n: (np.full(n, 1 / 256), np.zeros(n)),
}
"""(p(correct), the share of sound ones in it)."""


@pytest.mark.parametrize("population", POPULATIONS)
def test_sampling_error_is_calibrated(population):
    """Against the spread of the mean over new samples of the same 300 problems.

    The spread comes from 150 runs (relative error 1 / sqrt(300) = 6 %), the estimate from 5 of them. Tolerance 23 %:
    four standard errors, so a sound estimator fails in about 1 of 16,000 seeds for each of 9 comparisons.
    """
    rng = np.random.default_rng(7)
    correct_N, share_N = POPULATIONS[population](rng, 300)
    runs = [draw(correct_N * share_N, correct_N * (1 - share_N), rng) for _ in range(150)]
    ks = [1, 16, 256]
    means_RK = [DEFAULT.curve(n, c, ks, s).mean(axis=0) for n, c, s in runs]
    errors_RK = [sampling_error(n, c, DEFAULT, ks, s) for n, c, s in runs[:5]]
    spread_K = np.std(means_RK, axis=0, ddof=1)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors_RK), axis=0)), spread_K, rtol=0.23)
    # unbiased: the mean of 150 runs within 4.5 of its standard errors of the truth (2 in 100,000 seeds for each k)
    truth_K = [np.mean(1 - (1 - correct_N) ** k) for k in ks]
    assert np.all(np.abs(np.mean(means_RK, axis=0) - truth_K) < 4.5 * spread_K / np.sqrt(150))


def test_joint_mixing_weights_are_a_distribution_with_the_right_means():
    rng = np.random.default_rng(3)
    n_N, c_N, s_N = draw(np.full(400, 0.1), np.full(400, 0.3), rng)
    weights_QT, (p_Q, unsound_T) = joint_mixing_weights(n_N, c_N, s_N, 256), joint_grid(256)
    assert weights_QT.sum() == pytest.approx(1) and np.all(weights_QT >= 0)
    # the mean of 400 shares out of 64 samples or more has a standard error of 0.3 / 8 / 20 = 0.002; and half a step
    # of the grids there, 0.007 and 0.06, comes on top
    assert weights_QT.sum(axis=1) @ p_Q == pytest.approx(0.1, abs=0.017)
    assert weights_QT.sum(axis=0) @ unsound_T == pytest.approx(0.3 / 0.9, abs=0.07)
    with pytest.raises(ValueError, match="sound"):
        sampling_error(n_N, c_N, DEFAULT, [1])


def test_dataset():
    found = dataset_pass_at_k([64, 256], [9, 7], DEFAULT, [1, 256], [5, 0])
    np.testing.assert_allclose(found.mean_K, DEFAULT.curve([64, 256], [9, 7], [1, 256], [5, 0]).mean(axis=0))
    assert np.all(found.sampling_K > 0)


def test_errors_if_right():
    design = StopOnSound((2, 4), 1)
    assert design.if_right(4, 1, 0, 1, 0) == design.pass_at_k(4, 1, 1, 0)
    # one error in (4, 1, 0). Sound in the first two, with the correct one beside it: stops in (2, 2, 1), pass@1 = 1.
    assert design.if_right(4, 1, 1, 1, 0) == 1.0
    # one error in (4, 0, 0): sound among the first two it stops in (2, 1, 1), pass@1 = 1/2; at 4 it is 1/4 at most
    assert design.if_right(4, 0, 1, 1, 0) == 0.5
