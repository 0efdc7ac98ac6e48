"""maj@k against numbers derived by hand, and against every draw that there is."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from benchmarks.statistics import maj
from benchmarks.statistics.maj import Votes, maj_at_k

BY_HAND = [
    # One sample: the majority is that sample, so maj@1 = c / n.
    (Votes(3, (4, 1), 2), 1, Fraction(3, 10)),
    # All samples: 3 correct against 2 and 1, with certainty; against 3 it is a tie of two; against 4 it is lost.
    (Votes(3, (2, 1)), 6, Fraction(1)),
    (Votes(3, (3,)), 6, Fraction(1, 2)),
    (Votes(3, (3, 3)), 9, Fraction(1, 3)),
    (Votes(3, (4,)), 7, Fraction(0)),
    # Two of {C, C, A, B}: CC 1 way, CA 2, CB 2, AB 1. CC wins, the four with one C tie: (1 + 4/2) / 6.
    (Votes(2, (1, 1)), 2, Fraction(1, 2)),
    # Two of {C, A, A}: CA in 2 ways is a tie, AA is lost: (2/2) / 3.
    (Votes(1, (2,)), 2, Fraction(1, 3)),
    # Two of {C, A, -}: CA is a tie, C- is won by the only vote, A- is lost: (1/2 + 1) / 3.
    (Votes(1, (1,), 1), 2, Fraction(1, 2)),
    # Three of {C, A, B, -}: CAB a tie of three, CA- and CB- of two, AB- lost: (1/3 + 1/2 + 1/2) / 4.
    (Votes(1, (1, 1), 1), 3, Fraction(1, 3)),
    # Nobody votes, or nobody is right.
    (Votes(0, (), 3), 2, Fraction(0)),
    (Votes(0, (2, 1), 1), 3, Fraction(0)),
    (Votes(4), 3, Fraction(1)),
]


@pytest.mark.parametrize("votes, k, expected", BY_HAND)
def test_by_hand(votes: Votes, k: int, expected: Fraction) -> None:
    assert maj_at_k([votes], k)[0] == pytest.approx(float(expected), abs=1e-12)


def by_enumeration(votes: Votes, k: int) -> float:
    """Every subset of k samples, counted one by one: the definition itself."""
    samples = ["C"] * votes.correct + [str(i) for i, m in enumerate(votes.wrong) for _ in range(m)]
    samples += [""] * votes.silent
    won = []
    for drawn in itertools.combinations(samples, k):
        tally = Counter(answer for answer in drawn if answer)
        most = max(tally.values(), default=0)
        winners = [answer for answer, times in tally.items() if times == most]
        won.append(Fraction("C" in winners, max(1, len(winners))))
    return float(sum(won) / len(won))


@pytest.mark.parametrize(
    "votes", [Votes(4, (3, 2, 1, 1), 2), Votes(2, (4, 4), 1), Votes(5, (5,), 0), Votes(1, (1,) * 9)]
)
def test_every_draw(votes: Votes) -> None:
    for k in range(1, votes.n + 1):
        assert maj_at_k([votes], k)[0] == pytest.approx(by_enumeration(votes, k), abs=1e-12)


def test_draws_agree_with_the_exact_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 values, each a mean of 10,000 draws: one is beyond five standard errors in 1 of 87,000 runs."""
    votes = [Votes(4, (3, 2, 1, 1), 2), Votes(20, (25, 10), 9), Votes(2, (1,) * 30), Votes(100, (90, 90))]
    ks = (1, 2, 3, 8, 11)
    exact = np.array([maj_at_k(votes, k) for k in ks])
    monkeypatch.setattr(maj, "EXACT_UP_TO", 0)
    drawn = np.array([maj_at_k(votes, k) for k in ks])
    assert np.abs(drawn - exact).max() < 5 * 0.5 / np.sqrt(maj.DRAWS)
    assert (drawn != exact).any(), "they are drawn"


def test_large_numbers_stay_exact() -> None:
    """300 against 300 is fair for every k; with 1,000 samples the sums still fit."""
    for k in (1, 7, 64, 256, 500):
        assert maj_at_k([Votes(300, (300,))], k)[0] == pytest.approx(0.5, abs=1e-9)
    assert maj_at_k([Votes(500, (300, 100), 100)], 500)[0] == pytest.approx(1.0, abs=1e-9)


def test_votes_of_samples() -> None:
    answers = ["1/2", "0.5", "3", "3", " 3", None, None]
    correct = [True, True, False, False, False, False, True]
    votes = Votes.of(answers, correct)
    assert votes == Votes(3, (2, 1), 1), "spellings of the right answer are one, those of a wrong one are not"
    assert votes.n == 7


@pytest.mark.parametrize("k", [0, 8, -1])
def test_k_must_fit(k: int) -> None:
    with pytest.raises(ValueError, match=r"k must be in 1\.\.n = 7"):
        maj_at_k([Votes(3, (2, 1), 1)], k)
