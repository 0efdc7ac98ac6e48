"""What `status` prints: it fits into 80 characters, and says why cells failed and where their logs are."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmarks.cli.cells import summary, table
from benchmarks.runs.overview import CellState

NAME = "grpo-s0-learning_rate-5e-5-group_size-4"
STATES = [
    CellState("micro", "base", "done", seconds=190, tokens=1_190_000, log="runs/micro/logs/base.log"),
    CellState("micro", NAME, "running", f"train {NAME}: 30/100 steps", 0.3, 400.0, "node17:81823", seconds=19_000),
    CellState("micro", "ppo-s0", "failed", "cannot write [x]: No space left on device.", where="node17:4"),
    CellState("micro", "rloo-s0", "diverged", "the policy collapsed", seconds=90, tokens=33_333),
    CellState("micro", "dapo-s0", "queued", where="job 12_3"),
    CellState("other", "base", "waiting"),
]


def shown(states: list[CellState], width: int) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table(states, width))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_in_80_characters():
    lines = shown(STATES, 80)
    assert max(map(len, lines)) <= 80
    assert lines[0] == "micro: 5 cells: 1 queued, 1 running, 1 done, 1 failed, 1 diverged"
    (row,) = [line for line in lines if line.startswith("base") and "done" in line]
    assert row.split() == ["base", "done", "3", "min", "10", "s", "1.19", "M"]
    assert any("30 % train: 30/100" in line and "6 min 40 s" in line for line in lines), "its name is said once"
    assert "failed ppo-s0 (node17:4): cannot write [x]: No space left on device." in lines
    assert "diverged rloo-s0: the policy collapsed" in lines
    assert any("queued" in line and "job 12_3" in line for line in lines)
    assert "logs runs/micro/logs/CELL.log" in lines and "other: 1 cells: 1 waiting" in lines


def test_wide_terminals_see_where():
    assert any("running" in line and "node17:81823" in line for line in shown(STATES, 120))


@pytest.mark.parametrize("number", [61, 2000])
def test_many_cells_are_counted_and_the_ones_that_matter_are_shown(number):
    done = [CellState("micro", f"grpo-s{i}", "done") for i in range(number)]
    failed = [CellState("micro", f"ppo-s{i}", "failed", "no") for i in range(30)]
    lines = shown([*done, *failed, STATES[1]], 80)
    assert lines[0].startswith(f"micro: {number + 31} cells: 1 running, {number} done, 30 failed")
    assert not any(line.startswith("grpo-s1 ") for line in lines)
    assert "failed ppo-s19: no" in lines and "and 10 more: --json has them all" in lines
    assert len(lines) < 100


def test_one_line():
    assert summary(STATES) == (
        "6 cells: 1 waiting, 1 queued, 1 running, 1 done, 1 failed, 1 diverged; "
        f"{NAME} 30 % train: 30/100 steps (6 min 40 s left)"
    )
