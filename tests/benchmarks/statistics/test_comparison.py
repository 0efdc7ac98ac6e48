"""Algorithms over seeds: values by hand, who has a place, groups, joint ranks, curves."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics.comparison import MIN_SEEDS, Scores, bands, compare, groups
from benchmarks.statistics.intervals import random_effects


def scores(value: float, seeds: int, problems: int = 40, seed: int = 0) -> np.ndarray:
    """(S, N, 2) of an algorithm whose pass@1 is near `value`, and whose pass@k is 0.3 above it."""
    rng = np.random.default_rng(seed)
    at_1 = value + np.linspace(-0.1, 0.1, problems) + rng.normal(0, 0.01, (seeds, problems))
    return np.stack([at_1, at_1 + 0.3], axis=-1)


BASE = np.stack([np.linspace(0.1, 0.3, 40), np.linspace(0.7, 0.9, 40)], axis=-1)


def test_values_by_hand():
    # Two problems. pass@1, pass@k. Base (0.1, 0.8), (0.3, 1.0): means 0.2, 0.9, own gap 0.7.
    # Three seeds of a: pass@1 (0.5, 0.7), (0.3, 0.5), (0.4, 0.6), mean 0.5; pass@k 0.7, mean of all.
    base = np.array([[0.1, 0.8], [0.3, 1.0]])
    a = np.array([[[0.5, 0.6], [0.7, 0.8]], [[0.3, 0.6], [0.5, 0.8]], [[0.4, 0.6], [0.6, 0.8]]])
    found = compare(Scores({"a": a}, base)).standings[0]
    assert found.from_base is not None and found.from_base.closed and found.from_base.headroom
    assert found.pass_at_1.value == pytest.approx(0.5) and found.pass_at_k.value == pytest.approx(0.7)
    assert found.from_base.gap.value == pytest.approx(0.9 - 0.5)
    assert found.from_base.gain_at_1.value == pytest.approx(0.3)
    assert found.from_base.change_at_k.value == pytest.approx(-0.2)
    assert found.from_base.closed.value == pytest.approx(0.3 / 0.7)
    assert found.from_base.headroom.value == pytest.approx(0.3 / 0.8)


def test_intervals_are_those_of_the_model():
    table = {"a": scores(0.4, 3), "b": scores(0.5, 3, seed=1)}
    found = compare(Scores(table, BASE))
    effects = random_effects([table["b"][:, :, 0], table["a"][:, :, 0]], [BASE[:, 1]])
    assert found.standings[0].name == "b"
    assert found.standings[0].from_base.gap == effects.interval([-1, 0, 1])
    assert found.gap_MM[0][1].value == pytest.approx(-(table["b"] - table["a"])[:, :, 0].mean())
    assert found.gap_MM[1][0].low == -found.gap_MM[0][1].high and found.gap_MM[0][0] is None
    assert found.seed_sd == pytest.approx(np.sqrt(effects.seed_variance))


def test_fewer_than_three_seeds_have_no_place():
    table = {"one": scores(0.9, 1), "two": scores(0.8, 2), "three": scores(0.4, 3), "four": scores(0.5, 4, seed=3)}
    found = compare(Scores(table, BASE))
    assert [(s.name, s.place is not None) for s in found.standings] == [
        ("four", True), ("three", True), ("one", False), ("two", False),
    ]  # fmt: skip
    assert found.placed == ("four", "three") and len(found.gap_MM) == 2 and MIN_SEEDS == 3


def test_nobody_is_placed_by_a_base_near_zero():
    near_zero = np.stack([np.zeros(40), np.r_[np.ones(2), np.zeros(38)]], axis=-1)  # pass@k 5 %
    found = compare(Scores({"a": scores(0.4, 3)}, near_zero, binary_base=True))
    assert found.base and found.base.refused and found.standings[0].place is None and found.placed == ()
    assert not compare(Scores({"a": scores(0.4, 3)}, BASE)).base.refused


def test_places_are_joint():
    """b and c are alike and a is far above: a is first for sure, and b and c share the last two places."""
    table = {"a": scores(0.8, 3), "b": scores(0.4, 3, seed=1), "c": scores(0.401, 3, seed=2)}
    found = {s.name: s.place for s in compare(Scores(table, BASE)).standings}
    assert {name: (str(place), place.group) for name, place in found.items()} == {
        "a": ("1", "a"), "b": ("2 to 3", "b"), "c": ("2 to 3", "b"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "letters"),
    [
        ([], ["a", "a", "a"]),
        ([(0, 2)], ["a", "ab", "b"]),
        ([(0, 1), (0, 2)], ["a", "b", "b"]),
        ([(0, 1), (0, 2), (1, 2)], ["a", "b", "c"]),
    ],
)
def test_groups_share_a_letter_unless_they_differ(pairs, letters):
    differ = [[(min(i, j), max(i, j)) in pairs for j in range(3)] for i in range(3)]
    assert groups(differ) == letters


def test_groups_of_many():
    rng = np.random.default_rng(0)
    differ = np.triu(rng.random((9, 9)) < 0.5, 1)
    differ |= differ.T
    found = groups(differ.tolist())
    for i in range(9):
        for j in range(9):
            assert i == j or bool(set(found[i]) & set(found[j])) != differ[i, j]


def test_without_a_base():
    found = compare(Scores({"a": scores(0.5, 1)}, None))
    assert found.standings[0].from_base is None and found.base is None and found.seed_sd is None
    with pytest.raises(ValueError, match="no algorithm"):
        compare(Scores({}, None))


def test_bands_pool_the_seed_variance():
    curves = {"a": scores(0.4, 3), "b": scores(0.5, 3, seed=1)}
    found = bands(curves, [False, False])
    effects = random_effects([array[:, :, 1] for array in curves.values()])
    assert (found["b"][0][1], found["b"][1][1]) == pytest.approx(
        (effects.interval([0, 1]).low, effects.interval([0, 1]).high)
    )
