"""Algorithms at equal tokens. All expected numbers are derived by hand, in comments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import rlvr_gap as rg
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.statistics.passk import FixedDesign
from leaderboards.equal_cost import weights
from tests.leaderboards.factory import evaluation, write_run

N = 16
BASE = (0, 0, 4, 8)
"""Correct ones among 16 samples of four problems: pass@1 is 0, 0, 1/4, 1/2, so 3/16 in the mean."""
HALF = (4, 8, 8, 12)
"""1/4, 1/2, 1/2, 3/4: 1/2 in the mean."""
END = (8, 16, 8, 16)
"""1/2, 1, 1/2, 1: 3/4 in the mean."""


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)


def counts(correct: tuple[int, ...], problems: str = "p") -> Counts:
    n_N, c_N = np.full(len(correct), N), np.array(correct)
    verdicts = {"wrong": (n_N - c_N).tolist(), "truncated": [0] * len(correct), "error": [0] * len(correct)}
    return Counts(tuple(f"{problems}{i}" for i in range(len(correct))), n_N, c_N, FixedDesign(N), verdicts)


def run(root: Path, algorithm: str, tokens: int, points: dict[int, tuple[int, Counts]] | None = None, seed: int = 0):
    """A run that ended at END after 80 steps. `points`: step -> (tokens by then, counts)."""
    base = counts(BASE)
    changes = {"steps": 80, "tokens": tokens}
    path = write_run(root, algorithm, {"test": counts(END)}, {"test": base}, seed=seed, training_changes=changes)
    record = json.loads(path.read_text())
    for step, (by_then, found) in (points or {}).items():
        made = evaluation(found, path.parent / "points" / f"step-{step}", "test").model_dump(mode="json")
        made["counts"]["path"] = f"points/step-{step}/eval/test/counts.jsonl"
        gap = sampling_efficiency_gap(base, counts(HALF), N).to_json()
        one = {"evaluations": {"test": made}, "gap": {"test": gap}, "tokens": by_then, "completions": 256 * step}
        record["points"][str(step)] = one
    path.write_text(json.dumps(record))


@pytest.fixture
def root(tmp_path) -> Path:
    write_run(tmp_path / "runs", "base", {"test": counts(BASE)})
    run(tmp_path / "runs", "grpo", 1000)
    return tmp_path / "runs"


def row(root: Path, label: str):
    table = rg.load(root).equal_tokens()
    return table[(table.label == label) & (table.verdict == "answer")].iloc[0]


def test_weights():
    assert weights([0, 100, 300], 200) == (1, 2, 0.5)
    assert weights([0, 100, 300], 50) == (0, 1, 0.5)
    assert weights([0, 100, 300], 100) == (1, 2, 0.0)  # the checkpoint itself
    assert weights([0, 100, 204], 200) == (2, 2, 1.0)  # 204 = 1.02 * 200 stands as it is
    assert weights([0, 100, 205], 200) == (1, 2, pytest.approx(100 / 105))


def test_between_a_checkpoint_and_the_end(root):
    run(root, "dapo", 2000, {40: (800, counts(HALF))})
    found = row(root, "dapo")
    # At 1000 tokens, (1000 - 800) / (2000 - 800) = 1/6 of the way from 1/2 to 3/4: 1/2 + 1/24 = 13/24.
    assert found.pass_at_1 == pytest.approx(13 / 24)
    # The base's pass@16 is 1/2: its 16 samples hold a correct one for two problems of four. 1/2 - 13/24 = -1/24.
    assert found.gap == pytest.approx(-1 / 24)
    assert found.gain_at_1 == pytest.approx(13 / 24 - 3 / 16)
    assert (found.target_tokens, found.interpolated, found.seeds) == (1000, 1, 1)
    assert (found.between_low, found.between_high) == (800, 2000)
    cheapest = row(root, "grpo")
    assert cheapest.pass_at_1 == pytest.approx(3 / 4) and cheapest.interpolated == 0


def test_between_the_base_and_a_checkpoint(root):
    run(root, "dapo", 4000, {40: (2000, counts(HALF))})
    # Half of the way from 3/16 to 1/2: 11/32.
    assert row(root, "dapo").pass_at_1 == pytest.approx(11 / 32)


def test_up_to_two_percent_more_stands_as_it_is(root):
    run(root, "rloo", 1020)
    found = row(root, "rloo")
    assert found.pass_at_1 == pytest.approx(3 / 4) and (found.interpolated, found.between_low) == (0, 1020)


def test_a_seed_that_cannot_be_compared_is_listed(root):
    run(root, "dapo", 2000, {40: (800, counts(HALF))})
    run(root, "dapo", 3000, seed=1)
    found = row(root, "dapo")
    assert found.seeds == 1 and found.pass_at_1 == pytest.approx(13 / 24)
    assert found.remarks == "it generated 3,000 tokens, and no checkpoint from before was evaluated"
    run(root, "remax", 1021)
    found = row(root, "remax")
    assert found.seeds == 0 and np.isnan(found.pass_at_1) and "generated 1,021 tokens" in found.remarks


@pytest.mark.parametrize("damage", ["counts", "problems", "tokens"])
def test_a_checkpoint_that_cannot_be_used_is_not_used(root, damage):
    run(root, "dapo", 2000, {40: (800, counts(HALF, "other" if damage == "problems" else "p"))})
    path = root / "dapo-s0" / "record.json"
    if damage == "counts":
        (path.parent / "points/step-40/eval/test/counts.jsonl").unlink()
    if damage == "tokens":
        record = json.loads(path.read_text())
        record["points"]["40"]["tokens"] = None
        path.write_text(json.dumps(record))
    found = row(root, "dapo")
    assert found.seeds == 0 and "; its checkpoint after step 40 cannot be used: " in found.remarks


def test_points(root):
    run(root, "dapo", 2000, {40: (800, counts(HALF))})
    table = rg.load(root).points().query("verdict == 'answer' and label == 'dapo'")
    assert table[["step", "tokens"]].values.tolist() == [[0, 0], [40, 800], [80, 2000]]
    assert table.pass_at_1.tolist() == pytest.approx([3 / 16, 1 / 2, 3 / 4])
    assert table.gap.tolist() == pytest.approx([5 / 16, 0, -1 / 4])  # 1/2 less each of these


def test_three_seeds_have_intervals(root):
    for seed in range(3):
        run(root, "grpo", 1000, seed=seed)
        run(root, "dapo", 2000, {40: (800, counts(HALF))}, seed=seed)
    found = row(root, "dapo")
    assert found.seeds == found.interpolated == 3
    assert found.gap == pytest.approx(-1 / 24) and found.gap_low < found.gap < found.gap_high
