"""What the page says of the cost of training: token passes for all, seconds only where they can be compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboards.build import build
from tests.leaderboards.factory import draw_counts, words, write_run

BASE = {"test": draw_counts(0.15, 24, 1, spread=4.0)}
TRAINED = {"test": draw_counts(0.4, 24, 10)}
SHARED = {"wall_seconds": 9.0, "load_average": 3.0, "other_cores": 1.75, "alone": False}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)


def test_cost_that_can_be_compared(tmp_path: Path):
    """A run alone on its machine; one that shared it, with a critic; and a record from before this was counted."""
    passes = {"sampling": 10, "policy_forward": 200, "reference_forward": 3000, "policy_backward": 40_000}
    changes = {
        "grpo": {},
        "ppo": {
            "token_passes": {**passes, "critic_forward": 500_000, "critic_backward": 6_000_000},
            "seconds": {"generate": 123.0, "critic": 456.0}, "load": SHARED,
        },
        "rloo": {"token_passes": None, "load": None},
    }  # fmt: skip
    write_run(tmp_path / "runs", "base", BASE)
    for name, change in changes.items():
        write_run(tmp_path / "runs", name, TRAINED, BASE, training_changes=change)
    page = build(tmp_path / "runs", tmp_path / "page.html").path.read_text(encoding="utf-8")
    table = words(page).split("What it cost")[1].split("Evidence")[0]
    # 10 + 200 + 3000 + 500,000; 40,000 + 6,000,000; 500,000 + 6,000,000; and the cores that others used.
    assert "503,210 6,040,000 6,500,000 1.8 – – – –" in table
    assert "5,634,420 3,000,001 0 0.0 210 3.5 305 519" in table
    assert table.count("– – – – – – – –") == 1
    assert " 123 " not in table and " 456 " not in table and " critic " not in table
