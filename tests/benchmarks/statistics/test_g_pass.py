"""G-Pass@k under stopping: by hand, and exactly unbiased by weighing all sequences."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from benchmarks.statistics.counts import Counts
from benchmarks.statistics.g_pass import g_pass_at_k
from benchmarks.statistics.passk import Design, FixedDesign, SequentialDesign, StopOnSound

DESIGNS = [FixedDesign(5), SequentialDesign((3, 5, 6), 2), SequentialDesign((2, 4), 1), StopOnSound((3, 5), 1)]


def one(design: Design, n: int, c: int, s: int | None = None) -> Counts:
    extra = {} if s is None else {"sound": [s]}
    return Counts(("a",), np.array([n]), np.array([c]), design, extra)


@pytest.mark.parametrize(
    ("n", "c", "k", "tau", "expected"),
    [
        (4, 2, 2, 1.0, 1 / 6),  # C(2,2)/C(4,2)
        (4, 2, 2, 0.5, 5 / 6),  # one of two: pass@2
        (4, 3, 3, 0.6, 1.0),  # ceil(1.8) = 2 of 3: C(3,3) + C(3,2) C(1,1) = 4 of C(4,3) = 4
        (4, 3, 4, 1.0, 0.0),
    ],
)
def test_fixed_by_hand(n, c, k, tau, expected):
    assert g_pass_at_k(one(FixedDesign(n), n, c), k, tau) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("n", "c", "expected"),
    [
        # rounds 2 and 4, stop after 2; both of the first two correct?
        (2, 2, 1.0),  # RR
        (4, 2, 0.0),  # RWRW and the like: at most one of the first two was correct, or it would have stopped
        (4, 0, 0.0),
    ],
)
def test_stopped_by_hand(n, c, expected):
    assert g_pass_at_k(one(SequentialDesign((2, 4), 2), n, c), 2, 1.0) == pytest.approx([expected])


def test_the_share_is_rounded_up_once():
    design = FixedDesign(40)
    expected = sum(math.comb(20, j) * math.comb(20, 30 - j) for j in range(10, 21)) / math.comb(40, 30)
    assert g_pass_at_k(one(design, 40, 20), 30, 0.1) == pytest.approx([expected])  # ceil(3): 10 are certain here
    assert g_pass_at_k(one(design, 40, 3), 30, 0.1)[0] == pytest.approx(math.comb(37, 27) / math.comb(40, 30))


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@pytest.mark.parametrize(("sound", "unsound"), [(Fraction(1, 5), Fraction(1, 3)), (Fraction(1, 2), Fraction(1, 9))])
def test_unbiased_by_all_sequences(design, sound, unsound):
    """The mean over all sequences is the binomial chance, for every k up to the first checkpoint and every share."""
    weight = {"S": sound, "U": unsound, "W": 1 - sound - unsound}
    chance: Counter[tuple[int, int, int]] = Counter()
    for outcomes in itertools.product("SUW", repeat=design.rounds[-1]):
        stops = "S" if design.stop_on == "sound" else "SU"
        enough = (n for n in design.rounds if sum(o in stops for o in outcomes[:n]) >= (design.stop_after or math.inf))
        n = next(enough, design.rounds[-1])
        state = n, sum(o != "W" for o in outcomes[:n]), outcomes[:n].count("S")
        chance[state] += math.prod((weight[outcome] for outcome in outcomes), start=Fraction(1))
    p = sound + unsound
    for k in range(1, design.rounds[0] + 1):
        for needed in range(1, k + 1):
            mean = sum(
                float(weight_) * g_pass_at_k(one(design, n, c, s), k, needed / k)[0]
                for (n, c, s), weight_ in chance.items()
            )
            expected = sum(math.comb(k, j) * p**j * (1 - p) ** (k - j) for j in range(needed, k + 1))
            assert mean == pytest.approx(float(expected), abs=1e-12), (k, needed)


def test_one_of_k_is_pass_at_k():
    side = Counts(tuple("abcd"), np.array([64, 128, 256, 256]), np.array([9, 5, 2, 0]), SequentialDesign())
    for k in (1, 16, 64):
        np.testing.assert_allclose(g_pass_at_k(side, k, 1 / k), side.pass_at_k(k), atol=1e-12)


@pytest.mark.parametrize(("k", "tau"), [(65, 1.0), (0, 1.0), (8, 0.0), (8, 1.1), (8, math.nan)])
def test_what_cannot_be_known(k, tau):
    with pytest.raises(ValueError, match="must be"):
        g_pass_at_k(one(SequentialDesign(), 64, 9), k, tau)


def test_states_that_cannot_be():
    with pytest.raises(ValueError, match="never stops at n=64, c=3"):
        SequentialDesign().first_correct(64, 3, 2)
    with pytest.raises(ValueError, match="more than the first checkpoint"):
        SequentialDesign().paths(128, 4, 64, 1)
