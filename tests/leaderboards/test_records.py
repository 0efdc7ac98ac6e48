"""Every run that is published here passes the checks that a new one has to pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.runs.submission import check

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"
PUBLISHED = sorted(path.parent for path in RECORDS.glob("*/*/record.json"))


def test_there_are_some():
    assert any(folder.name == "base" for folder in PUBLISHED)


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_published_run_passes(folder):
    checked = check(folder)
    assert checked.graded or checked.record.diverged
