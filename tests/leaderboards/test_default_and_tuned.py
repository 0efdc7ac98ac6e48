"""Default and tuned settings side by side, and whether tuning changes the order."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.records.study import write_summary
from benchmarks.suites.preset import TUNED
from leaderboards.build import gather
from leaderboards.default_and_tuned import VARIANT, DefaultAndTuned, default_and_tuned
from leaderboards.website import build_site
from tests.leaderboards.factory import Elements, draw_counts, words, write_run
from tests.leaderboards.test_study_page import summary

SEEDS = (0, 1, 2)


def runs(folder: Path, rates: dict[str, float], variants: dict[str, float]) -> Path:
    """Three seeds of each algorithm at its rate of success, and of its tuned variant."""
    base = {"test": draw_counts(0.2, 40, seed=1)}
    write_run(folder, "base", base)
    for variant, rated in ((None, rates), (VARIANT, variants)):
        for algorithm, rate in rated.items():
            for seed in SEEDS:
                trained = {"test": draw_counts(rate, 40, seed=10 + seed)}
                write_run(folder, algorithm, trained, base, seed=seed, variant=variant)
    return folder


def study(folder: Path, algorithm: str, best: int | None, **known: object) -> None:
    name = f"{algorithm}-gap-0123abcd"
    known = {"study": name, "algorithm": algorithm, "best": best, **known}
    write_summary(folder / "sweeps" / name / "summary.json", summary(**known))


def tables(folder: Path, tmp_path: Path) -> list[DefaultAndTuned]:
    found = gather(folder, tmp_path / "index.html")
    assert not found.broken
    return default_and_tuned(found.sections, found.studies)


def test_the_variant_is_called_like_the_preset():
    assert VARIANT == TUNED


def test_a_kept_default_stands_on_both_sides(tmp_path):
    folder = runs(tmp_path / "s", {"grpo": 0.5, "ppo": 0.3}, {"ppo": 0.4})
    study(folder, "grpo", None)
    study(folder, "ppo", 1)
    for table in tables(folder, tmp_path):
        kept, tuned = table.rows
        assert (kept.algorithm, kept.kept, kept.tuned, kept.difference) == ("grpo", True, kept.default, None)
        assert tuned.tuned is not None and tuned.difference is not None
        # the base is the same, so the difference of the gaps is that of pass@1 the other way around
        gained = tuned.tuned.pass_at_1.value - tuned.default.pass_at_1.value
        assert tuned.difference.value == pytest.approx(-gained) and gained > 0
        assert table.answer == "Tuning does not change the order of the mean gaps."


def test_a_swap_is_named_with_whether_it_is_beyond_doubt(tmp_path):
    folder = runs(tmp_path / "s", {"grpo": 0.4, "ppo": 0.38}, {"ppo": 0.95})
    study(folder, "grpo", None)
    study(folder, "ppo", 1)
    (table, *_) = tables(folder, tmp_path)
    assert table.swapped == table.beyond_doubt == (("grpo", "ppo"),)
    assert "swaps the mean gaps of grpo and ppo" in table.answer and "differ beyond doubt: grpo and ppo" in table.answer


def test_a_swap_of_two_that_cannot_be_told_apart(tmp_path):
    folder = runs(tmp_path / "s", {"grpo": 0.40, "ppo": 0.38}, {"ppo": 0.42})
    study(folder, "grpo", None)
    study(folder, "ppo", 1)
    (table, *_) = tables(folder, tmp_path)
    assert table.swapped == (("grpo", "ppo"),) and not table.beyond_doubt
    assert table.answer.endswith("No such pair differs beyond doubt with either settings.")


def test_chosen_settings_without_runs_leave_the_question_open(tmp_path):
    folder = runs(tmp_path / "s", {"grpo": 0.4, "ppo": 0.38}, {})
    study(folder, "grpo", None)
    study(folder, "ppo", 1)
    (table, *_) = tables(folder, tmp_path)
    assert [row.tuned is None for row in table.rows] == [False, True] and not table.is_whole
    assert "not compared" in table.answer


def test_studies_of_another_suite_and_undecided_ones_say_nothing_here(tmp_path):
    folder = runs(tmp_path / "s", {"grpo": 0.4, "ppo": 0.38}, {})
    study(folder, "grpo", None, suite_hash="b" * 16)
    study(folder, "ppo", None, selected=None)
    assert tables(folder, tmp_path) == []


def test_the_site_has_a_page_for_each_study_and_shows_both_settings(tmp_path):
    folder = runs(tmp_path / "s", {"grpo": 0.4, "ppo": 0.38}, {"ppo": 0.42})
    study(folder, "grpo", None)
    study(folder, "ppo", 1)
    build_site(folder, tmp_path / "site")
    text = (tmp_path / "site" / "details.html").read_text()
    said = words(text)
    assert "Tuning swaps the mean gaps of grpo and ppo." in said and "grpo the default stays" in said
    for name in ("grpo", "ppo"):
        assert f'href="studies/{name}-gap-0123abcd' in text
    pages = sorted((tmp_path / "site" / "studies").iterdir())
    assert len(pages) == 2
    for page in pages:
        Elements(page.read_text())
        assert 'href="../index.html"' in page.read_text()
