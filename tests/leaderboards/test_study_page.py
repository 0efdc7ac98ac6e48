"""The page of a study: self-contained, escaped, the same bytes, and with the pictures that its study can have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks.records.study import (
    Parameter,
    Repeat,
    Selected,
    Setting,
    Span,
    Spent,
    StudySummary,
    Trial,
    write_summary,
)
from leaderboards.build import build
from leaderboards.study_page import build_study_page, render_study, study_pictures
from leaderboards.study_words import changes, cost, decision, luck
from tests.leaderboards.factory import Elements, draw_counts, words, write_run

EVIL = "<script>alert(1)</script>"
NOTHING = {"trials": (), "importance_quantile": None, "default": None, "finalists": (), "selected": None, "best": None}
ALWAYS = ("history", "rungs", "importances")


def trial(number: int, score: float | None, state: Any = "complete", **known: Any) -> Trial:
    data: dict[str, Any] = {
        "number": number, "state": state,
        "params": {"training.learning_rate": 10 ** (-5 + number / 4), "training.g": "a"},
        "changes": ("training.learning_rate=0.00018789852661499484",), "seed": 0, "score": score,
        "pass_at_k": None if score is None else 0.9 - score / 2, "objective": None, "rungs": {25: 0.1, 50: 0.2},
        "tokens": 1000, "steps": 4, "seconds": 1.0, "reason": None,
    }  # fmt: skip
    return Trial(**(data | known))


def setting(number: int | None, *scores: float) -> Setting:
    repeats = tuple(Repeat(seed=i, score=s, pass_at_k=0.7, gap=0.8 - s, tokens=9) for i, s in enumerate(scores))
    lead = None if number is None else Span(value=0.1, low=0.04, high=0.16)
    return Setting(trial=number, changes=(), repeats=repeats, objective=Span(value=0.3, low=0.2, high=0.4), lead=lead)


def summary(**known: Any) -> StudySummary:
    rate = Parameter(name="training.learning_rate", log=True, default=1e-4, range="1e-05 to 0.001 (log)",
                     importance=0.9, by_chance=0.8)  # fmt: skip
    choice = Parameter(name="training.g", log=False, default="a", range="a, b", choices=("a", "b"), importance=0.1,
                       by_chance=0.7)  # fmt: skip
    span = Span(value=0.12, low=0.06, high=0.18)
    data: dict[str, Any] = {
        "study": "grpo-gap-0123abcd", "suite": "countdown", "suite_hash": "a" * 16, "algorithm": "grpo",
        "objective": "gap", "k": 16, "n_problems": 40, "base_pass_at_k": 0.8, "budget_tokens": 1000, "asked_trials": 4,
        "parameters": (rate, choice), "importance_quantile": 0.5,
        "trials": (trial(0, 0.3), trial(1, 0.5), trial(2, None, "pruned", reason=EVIL), trial(3, 0.4)),
        "default": setting(None, 0.3, 0.31), "finalists": (setting(1, 0.4, 0.42),), "best": 1, "front": (),
        "selected": Selected(winner=1, seen=0.2, fresh=span, luck=Span(value=0.08, low=None, high=None), noise=0.015,
                             noise_df=2),
        "spent": Spent(trials=3000, repeats=36, saved=1000),
    }  # fmt: skip
    return StudySummary(**(data | known))


def test_the_page_loads_and_runs_nothing(tmp_path):
    path = build_study_page(summary(study=EVIL, algorithm="<b>x"), tmp_path / "index.html")
    text = path.read_text()
    page = Elements(text)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.found}
    policy = next(a["content"] for tag, a in page.found if tag == "meta" and a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert EVIL not in text and "&lt;script&gt;alert(1)" in text and text.lstrip().startswith("<!doctype html>")
    ids = [a["id"] for _, a in page.found if "id" in a]
    assert len(ids) == len(set(ids)) > 20, "pictures share no ids"
    assert not re.search(r'(?:src|href)="(?!#)', text)


def test_the_same_summary_gives_the_same_bytes() -> None:
    assert render_study(summary()) == render_study(summary())


def test_what_is_said() -> None:
    said = words(render_study(summary()))
    assert "Trial 1 replaces the default. On fresh seeds its lead is +10.0 [+4.0, +16.0] points of pass@1." in said
    assert "The rest, +8.0 points, was selection." in said and "standard deviation of 1.5 points" in said
    # 1000 saved of 3000 + 1000
    assert "Stopping trials early saved 1 k tokens (25 %)." in said and "trial 1 chosen" in said
    assert "3 complete trials for 2 parameters are few" in said


def test_the_default_stays() -> None:
    assert decision(summary(best=None)).startswith("The default stays")
    assert "No setting is chosen yet" in decision(summary(best=None, selected=None))
    # E max of 3 standard normals: 3 / (2 sqrt(pi)) = 0.846
    assert "best of 3 equally good settings looks 0.85" in luck(summary(selected=None))


def test_values_are_rounded_for_reading_alone() -> None:
    assert changes(("training.learning_rate=0.00018789852661499484", "training.loss=token_mean")) == (
        "learning_rate=0.0001879, loss=token_mean"
    )


@pytest.mark.parametrize(
    "known, pictures",
    [
        ({}, {"finalists", *ALWAYS}),
        (NOTHING, set()),
        ({"objective": "pareto", "front": (0, 1), "best": None}, {"finalists", "front", *ALWAYS}),
    ],
    ids=["decided", "nothing yet", "two objectives"],
)  # fmt: skip
def test_pictures_there_are(known, pictures):
    assert set(study_pictures(summary(**known))) == pictures
    Elements(render_study(summary(**known)))
    assert cost(summary(**known)).startswith("3.04 k tokens")


def test_the_leaderboard_links_to_its_studies(tmp_path):
    base = {"test": draw_counts(0.2, 30, seed=1)}
    write_run(tmp_path / "countdown", "base", base)
    folders = [tmp_path / "countdown" / "sweeps" / name for name in ("grpo-gap-0123abcd", "bare", "damaged")]
    for folder in folders:
        write_summary(folder / "summary.json", summary(study=folder.name))
    build_study_page(summary(), folders[0] / "index.html")
    (folders[2] / "summary.json").write_text("{")
    page = build(tmp_path / "countdown", tmp_path / "site" / "index.html")
    text = page.path.read_text()
    assert 'href="../countdown/sweeps/grpo-gap-0123abcd/index.html"' in text and text.count("/index.html") == 1
    assert "bare" in words(text) and "Trial 1 replaces the default." in words(text)
    assert [one.where for one in page.broken] == ["sweeps/damaged/summary.json"]
    Elements(text)
