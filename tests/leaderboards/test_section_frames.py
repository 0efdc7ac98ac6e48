"""The tables behind a section's plots, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from leaderboards import section_frames
from leaderboards.load import load
from leaderboards.sections import Section, make_sections
from tests.leaderboards.factory import draw_counts, write_run

PROBLEMS = 12
BASE = {"test": draw_counts(0.15, PROBLEMS, 1, spread=4.0)}
TRAINED = {("grpo", 0.5): (0, 1, 2), ("ppo", 0.4): (0, 1, 2), ("rloo", 0.3): (0,)}


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    """A base, two algorithms with three seeds, and one with a single seed, which generated fewer tokens."""
    folder = tmp_path_factory.mktemp("frames")
    write_run(folder, "base", BASE)
    for (name, rate), seeds in TRAINED.items():
        for seed in seeds:
            tokens = {"tokens": 1000 if name == "rloo" else 3000 + 300 * seed}
            counts = {"test": draw_counts(rate, PROBLEMS, 10 + seed, spread=4.0)}
            write_run(folder, name, counts, BASE, seed=seed, training_changes=tokens)
    entries, broken = load([folder])
    [section] = make_sections(entries, broken)
    assert broken == []
    return section


def test_coverage_by_hand():
    """Three problems, pass@k of the base 1, 1/2, 0 and of the policy 1, 1/2, 1.

    Both: (1 + 1/4 + 0) / 3 = 5/12. Policy alone: (0 + 1/4 + 1) / 3 = 5/12. Base alone: 1/4 / 3 = 1/12. Neither: 1/12.
    """
    found = section_frames.covered(np.array([1, 0.5, 0]), np.array([1, 0.5, 1]))
    assert found == pytest.approx({"both": 5 / 12, "trained_only": 5 / 12, "base_only": 1 / 12, "neither": 1 / 12})


def test_front_by_hand():
    """(2, 5) loses to (1, 4) in both, and (3, 4) in cost; (3, 1) has the lowest gap. Equal points share their place."""
    points = [(1, 4), (2, 5), (3, 1), (3, 4), (1, 4)]
    assert section_frames.on_front(points) == [True, False, True, False, True]


def test_bins_by_hand():
    """0.3 and 3/10 as 0.1 + 0.2 are in the bin from 0.3, 1 in the last; the second seed has all four at 0."""
    at_1 = np.array([[0.0, 0.1 + 0.2, 0.29, 1.0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(section_frames.binned(at_1), [2.5, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0.5])
    np.testing.assert_array_equal(section_frames.binned(np.array([[3 / 10, 0.7, 0.6]]))[[3, 6, 7]], [1, 1, 1])


def test_tables_say_what_they_are_about(section: Section):
    for make in (section_frames.forest, section_frames.pareto, section_frames.coverage, section_frames.histogram):
        table = make([section])
        assert set(table["label"]) - {"base"} == {"grpo", "ppo", "rloo"}
        assert set(table["suite"]) == {"countdown"} and set(table["verdict"]) == {"answer"}


def test_forest_holds_for_all_at_once(section: Section):
    table = section_frames.forest([section]).set_index("label")
    alone = {one.name: one.from_base.gap for one in section.comparisons["answer"].standings}
    assert (
        table["gap"].is_monotonic_increasing
        and table.loc["base", "gap"] == section.comparisons["answer"].joint_base.own_gap.value
    )
    for name, one in alone.items():
        assert table.loc[name, "gap_low"] < one.low < one.high < table.loc[name, "gap_high"]


def test_pareto(section: Section):
    table = section_frames.pareto([section]).set_index("label")
    assert table["training_tokens"].to_dict() == {"rloo": 1000, "grpo": 3300, "ppo": 3300}
    assert table["on_front"].to_dict() == {"rloo": True, "grpo": True, "ppo": False}


def test_ranks_are_of_those_with_a_place(section: Section):
    table = section_frames.ranks([section])
    assert set(table["label"]) == set(section.comparisons["answer"].placed) == {"grpo", "ppo"}
    np.testing.assert_allclose(table.groupby("label")["share"].sum(), 1)


def test_histogram_counts_every_problem(section: Section):
    table = section_frames.histogram([section])
    np.testing.assert_allclose(table.groupby("label")["problems"].sum(), PROBLEMS)
    lowest = table[(table["label"] == "base") & (table["low"] == 0)]["problems"].item()
    assert lowest == np.sum(BASE["test"].c_N / BASE["test"].n_N < 0.1)
