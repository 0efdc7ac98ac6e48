"""A training that diverged stands apart: it is no broken file, and it has no score."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.records.schema import read_record
from leaderboards.build import build
from leaderboards.terminal import report
from tests.leaderboards.factory import draw_counts, words, write_run

BASE = {"test": draw_counts(0.15, 8, 1)}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base, a run of it, and a training that diverged."""
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)
    for name in ("curves", "costs"):  # pictures take most of the time
        monkeypatch.setattr(f"leaderboards.pictures.{name}", lambda *_: [])
    folder = tmp_path / "countdown"
    write_run(folder, "base", BASE)
    write_run(folder, "grpo", {"test": draw_counts(0.4, 8, 2)}, BASE)
    why = {"diverged": True, "diverged_because": "the loss is <nan>"}
    write_run(folder, "ppo", {}, {}, training_changes=why)
    return folder


def test_on_the_page(runs):
    page = build(runs, runs / "page.html")
    html = (runs / "page.html").read_text()
    assert page.n_records == 3 and page.broken == ()
    (diverged,) = page.diverged
    assert str(diverged) == (
        f"{runs.name}/ppo-s0/record.json: the loss is <nan> (after 300 steps, {256 * 33 * 300 + 17} tokens)"
    )
    text = words(html)
    assert "1 training diverged" in text and "Trainings that diverged" in text and "could not be used" not in text
    assert "the loss is &lt;nan&gt; (after 300 steps" in html


def test_on_the_terminal(runs):
    """There are no numbers of it to show, alone or beside others."""
    alone = [read_record(runs / "ppo-s0" / "record.json")]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(report(alone, {"page": "page.html"}))
    assert capture.get().split() == ["page", "page.html"]
    records = [read_record(runs / name / "record.json") for name in ("base", "grpo-s0", "ppo-s0")]
    with console.capture() as capture:
        console.print(report(records, {"page": "page.html"}))
    assert "countdown: grpo-s0" in capture.get() and "ppo" not in capture.get()
