"""Whatever is killed, a grid ends with the records of one that was left alone."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.micro import write
from tests.faults.killing import ROOT, Killer, grid, left_over, results

pytestmark = pytest.mark.slow
SMALL = {
    "evaluation.design": {"rounds": [2, 4], "stop_after": 2}, "evaluation.k": 4,
    "engine": {"name": "scripted", "workers": 2, "rows_per_batch": 2, "settings": {"p": 0.5, "delay_s": 0.15}},
    "training.budget": {"steps": 3},
}  # fmt: skip
CELLS = ("--algos", "grpo rloo remax")
"""Three trainings, of which two run at once. Most of the time goes into starting again what was killed."""
KILLS_A_GRID = (15, 30)
"""After so many, a grid is left alone until it ends."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """The suite, and what a grid that nobody disturbs ends with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    suite = write(folder, SMALL)
    subprocess.run(grid(suite, folder / "runs", *CELLS), cwd=ROOT, check=True, capture_output=True)
    found = results(folder / "runs" / "micro")
    assert set(found) == {"base", "grpo-s0", "rloo-s0", "remax-s0"}
    assert all(cell["completions"] and cell["files"] for cell in found.values())
    return suite, found


def kill(kills: int, undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, capsys) -> None:
    """So many kills, over as many grids as that takes; each must end like the undisturbed one."""
    suite, expected = undisturbed
    seed = int(os.environ.get("RLVR_GAP_FAULTS_SEED") or random.SystemRandom().randrange(2**32))
    with capsys.disabled():
        print(f"\n{kills} kills, RLVR_GAP_FAULTS_SEED={seed}", flush=True)

    def say(kills: int) -> None:
        with capsys.disabled():
            print(f"{kills} kills, {grids} grids done", flush=True)

    rng, done, grids = random.Random(seed), 0, 0
    while done < kills:
        out = tmp_path / f"runs{grids}"
        killer = Killer(grid(suite, out, *CELLS), out, rng)
        killer.killed = lambda more, before=done: None if more % 5 else say(before + more)  # type: ignore[misc]
        killer.run(min(kills - done, rng.randint(*KILLS_A_GRID)))
        assert killer.kills, "a grid that nobody killed says nothing"
        assert results(out / "micro") == expected, f"after {killer.kills} kills, seed {seed}"
        assert left_over(out / "micro") == [], f"after {killer.kills} kills, seed {seed}"
        done, grids = done + killer.kills, grids + 1
        say(done)
    with capsys.disabled():
        print(f"{done} kills in {grids} grids of {len(expected)} cells: all records as without", flush=True)


def test_ten_kills(undisturbed, tmp_path, capsys):
    kill(10, undisturbed, tmp_path, capsys)


@pytest.mark.faults
def test_a_hundred_kills(undisturbed, tmp_path, capsys):
    kill(100, undisturbed, tmp_path, capsys)
