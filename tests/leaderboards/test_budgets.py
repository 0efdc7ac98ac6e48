"""The front page's table at equal generated tokens. Expected numbers are those of `test_equal_cost.py`, by hand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from leaderboards import budgets, frames
from leaderboards.budget_plots import means
from leaderboards.load import load
from leaderboards.sections import make_sections
from leaderboards.website import build_site
from tests.leaderboards.factory import words, write_run
from tests.leaderboards.test_equal_cost import BASE, HALF, counts, run


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)


def write_budgets(folder: Path) -> Path:
    """Three seeds each of one that generated 1000 tokens, and of one that generated twice as many."""
    write_run(folder, "base", {"test": counts(BASE)})
    for seed in range(3):
        run(folder, "grpo", 1000, seed=seed)
        run(folder, "dapo", 2000, {40: (800, counts(HALF))}, seed=seed)
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    return write_budgets(tmp_path / "runs")


def views_of(root: Path) -> list[budgets.View]:
    entries, broken = load([root])
    return budgets.views(make_sections(entries, broken))


def test_both_budgets_by_the_same_table(root):
    steps, tokens = views_of(root)
    assert [view.choices["budget"] for view in (steps, tokens)] == ["equal steps", "equal generated tokens"]
    assert steps.columns == tokens.columns and steps.id != tokens.id
    assert {key: value for key, value in steps.choices.items() if key != "budget"}.items() <= tokens.choices.items()
    ends = {row.label: row.cells[2] for row in steps.rows}
    read = {row.label: row.cells[2] for row in tokens.rows}
    assert ends["dapo"].value == pytest.approx(3 / 4)  # END
    assert read["dapo"].value == pytest.approx(13 / 24)  # at 1000 tokens
    assert read["grpo"].value == ends["grpo"].value == pytest.approx(3 / 4)
    assert read["dapo"].interval and tokens.level == steps.level


def test_it_says_the_target_what_was_interpolated_and_what_is_left_out(root):
    run(root, "dapo", 3000, seed=3)
    run(root, "rloo", 1500)
    _, tokens = views_of(root)
    assert "after 1,000 generated tokens" in tokens.notes[0] and tokens.notes[1].count("linearly in tokens: dapo.") == 1
    why = "tokens, and no checkpoint from before was evaluated."
    assert set(tokens.left_out) == {
        f"dapo, seed 3: it generated 3,000 {why}",
        f"rloo, seed 0: it generated 1,500 {why}",
    }
    rows = {row.label: row for row in tokens.rows}
    assert "rloo" not in rows
    assert [cell.text for cell in rows["dapo"].cells[-2:]] == ["1 k", "3 of 4"]
    assert (rows["dapo"].cells[-2].interval, rows["grpo"].cells[-2].interval) == ("interpolated", "not interpolated")


def test_the_picture_shows_means_over_seeds_at_each_evaluation(root):
    """The base at 0 tokens, dapo's checkpoint and both ends: the base's pass@16 of 1/2 less 3/16, 1/2 and 3/4."""
    run(root, "dapo", 2600, seed=3)  # no checkpoint, so step 40 is not known of all seeds
    run(root, "rloo", 2000, {40: (800, counts(HALF))})
    entries, broken = load([root])
    found = means(frames.points(make_sections(entries, broken)).query("verdict == 'answer'"))
    rows = {label: part[["step", "tokens", "gap"]].values.tolist() for label, part in found.groupby("label")}
    assert rows["rloo"] == [[0, 0, 5 / 16], [40, 800, 0], [80, 2000, -1 / 4]]
    assert rows["dapo"] == [[0, 0, 5 / 16], [80, 2150, -1 / 4]]  # (3 * 2000 + 2600) / 4
    _, tokens = views_of(root)
    [axes] = tokens.picture.draw().axes
    drawn = [line.get_xydata().tolist() for line in axes.lines]
    # In points: rloo, and dapo without its fourth seed, which is left out of the comparison.
    assert drawn.count([[0, 31.25], [800, 0], [2000, -25]]) == 2
    assert [x for x, _ in drawn[-1]] == [1000, 1000] and "upright line is at 1,000 tokens" in tokens.picture.caption


def test_there_is_no_choice_where_nothing_was_evaluated_along_the_way(root):
    for folder in root.glob("dapo-*"):
        (folder / "points/step-40/eval/test/counts.jsonl").unlink()  # so that no checkpoint can be used
    [steps] = views_of(root)
    assert steps.choices["budget"] == "equal steps"
    assert "The cheapest run generated 1,000 tokens" in steps.notes[0]
    left_out = [one for one in steps.left_out if "it generated 2,000 tokens" in one]
    unused = [one for one in steps.left_out if "checkpoint after step 40 cannot be used" in one]
    assert len(left_out) == len(unused) == 3 and len(steps.left_out) == 6


def test_equal_steps_say_nothing_where_all_generated_as_many(root):
    for folder in root.glob("dapo-*"):
        shutil.rmtree(folder)
    [steps] = views_of(root)
    assert steps.notes == steps.left_out == ()


def test_the_page_has_it(root, tmp_path):
    build_site(root, tmp_path / "site")
    html = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert re.findall('data-budget="(.*?)"', html) == ["equal steps", "equal generated tokens"]
    assert "countdown: test, by answer, at equal generated tokens" in words(html)
    assert html.count("Every algorithm is compared after 1,000 generated tokens") == 1
