"""The table of estimates: which lines it has, their values by hand, and that its intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics.counts import Counts
from benchmarks.statistics.estimates import accuracy, estimates
from benchmarks.statistics.maj import Votes
from benchmarks.statistics.passk import FixedDesign, SequentialDesign


def lines(*arguments, **settings):
    return {line.name: line.estimate for line in estimates(*arguments, **settings)}


def test_by_hand():
    """Three problems with 4, 2 and 0 of 4 correct.

    pass@1 = (1 + 1/2 + 0) / 3; pass@2: 1 - C(2,2)/C(4,2) = 5/6 for the second, so 11/18; pass@4 = 2/3.
    G-Pass@4 at 0.5 asks for 2 of all 4 samples: 2/3; at 1 for all 4: 1/3. Cover@0.25 asks for 1 of 4, Cover@0.75 for 3.
    maj@2 of the second, whose two wrong samples agree: CC 1 way of 6, CW 4 ways, a tie each: (1 + 2) / 6 = 1/2.
    maj@4: 2 against 2 is a tie, so (1 + 1/2 + 0) / 3.
    """
    counts = Counts(("a", "b", "c"), np.array([4, 4, 4]), np.array([4, 2, 0]), FixedDesign(4))
    found = lines(counts, 2, [Votes(4), Votes(2, (2,)), Votes(0, (3,), 1)])
    expected = {
        "pass@1": 1 / 2, "pass@2": 11 / 18, "G-Pass@4 at 0.5": 2 / 3, "G-Pass@4 at 1": 1 / 3, "Cover@0.25": 2 / 3,
        "Cover@0.5": 2 / 3, "Cover@0.75": 1 / 3, "maj@4": 1 / 2,
    }  # fmt: skip
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in found.values())
    assert accuracy(counts).tolist() == [1.0, 0.5, 0.0]


def test_one_sample_gives_the_share_and_nothing_else():
    """Of greedy decoding, say; Agresti and Coull: two successes and two failures are added to 6 of 10."""
    counts = Counts(tuple("abcdefghij"), np.ones(10, int), np.array([1] * 6 + [0] * 4), FixedDesign(1))
    found = lines(counts, 1, [Votes(1)] * 10)
    assert set(found) == {"pass@1"} and found["pass@1"].value == 0.6
    assert (found["pass@1"].low + found["pass@1"].high) / 2 == pytest.approx(8 / 14)


def test_without_answers_there_is_no_majority():
    counts = Counts(("a", "b"), np.array([4, 4]), np.array([4, 2]), FixedDesign(4))
    assert not any(name.startswith("maj") for name in lines(counts, 4))


def test_a_design_that_stops_looks_at_its_first_checkpoint():
    counts = Counts(("a", "b"), np.array([8, 32]), np.array([5, 1]), SequentialDesign((8, 16, 32), 3))
    found = lines(counts, 32, [Votes(5, (3,)), Votes(0, (8,))])
    assert {"pass@32", "G-Pass@8 at 1", "maj@8"} <= set(found) and "maj@16" not in found
    assert found["maj@8"].value == 0.5
    assert accuracy(counts)[1] < 1 / 16


def test_intervals_of_maj_cover():
    """400 datasets of 60 problems with 16 samples: the 95 % interval of maj@4 holds the truth in 91 to 99 %.

    With a coverage of 95 %, fewer than 365 or more than 394 of 400 happen in 1 of 900 runs; the seed is fixed.
    """
    rng = np.random.default_rng(5)
    p_N = rng.beta(0.7, 1.0, 40_000)
    # Two answers, the right one with p: the majority of 4 is right with P(3 or 4 of 4) + P(2 of 4) / 2.
    truth = float(np.mean(p_N**4 + 4 * p_N**3 * (1 - p_N) + 3 * p_N**2 * (1 - p_N) ** 2))
    held = 0
    for _ in range(400):
        correct = rng.binomial(16, rng.choice(p_N, 60))
        counts = Counts(tuple(map(str, range(60))), np.full(60, 16), correct, FixedDesign(16))
        votes = [Votes(int(c), (16 - int(c),) if c < 16 else ()) for c in correct]
        one = lines(counts, 1, votes)["maj@4"]
        held += one.low <= truth <= one.high
    assert 365 <= held <= 394
