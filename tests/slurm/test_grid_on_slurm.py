"""Grids on a real SLURM of one node (`cluster.py`): it preempts, it ends jobs at their limit, and people cancel them.

Without SLURM's programs or root these tests are skipped, unless RLVR_GAP_TEST_SLURM=1 says that they must run.
"""

from __future__ import annotations

import json

import pytest

from benchmarks.records.schema import read_record
from tests.slurm.lab import Lab

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}
SLOW = {
    "evaluation.design": {"rounds": [10]},
    "engine": {"name": "scripted", "workers": 1, "rows_per_batch": 2, "settings": {"p": 0.5, "delay_s": 3.0}},
}
"""20 chunks of three seconds each: with its start, longer than the shortest time limit of SLURM, a minute."""
LONG = SCRIPTED | {"training.budget": {"steps": 30}, "training.save_every_steps": 1000}
"""A training that saves nothing before its end unless it is told to."""


def test_two_people_who_start_the_same_grid_run_every_cell_once(cluster, tmp_path):
    lab = Lab(tmp_path, cluster, SCRIPTED)
    people = [lab.grid("--algos", "grpo rloo", "--set", "training.learning_rate=1e-3") for _ in range(2)]
    said = ["".join(process.communicate()) for process in people]
    assert [process.returncode for process in people] == [0, 0], said
    assert sum("in the queue already" in one for one in said) == 1
    assert set(lab.states()) == {"base", "grpo-s0", "rloo-s0"}
    lab.wait("an empty queue", lambda: not lab.queue())
    assert {row["state"] for row in lab.states().values()} == {"done"}
    assert {cell: lab.starts(cell) for cell in lab.states()} == {"base": 1, "grpo-s0": 1, "rloo-s0": 1}
    base = read_record(lab.runs / "base" / "record.json")
    for cell in ("grpo-s0", "rloo-s0"):
        record = read_record(lab.runs / cell / "record.json")
        assert record.gap is not None and record.provenance.started >= base.provenance.finished


def test_a_preempted_cell_goes_on_from_its_step(cluster, tmp_path):
    lab = Lab(tmp_path, cluster, LONG)
    process = lab.grid("--algos", "grpo")
    assert process.wait() == 0
    train = lab.runs / "grpo-s0" / "train"
    log = train / "log.jsonl"
    lab.wait("three steps", lambda: log.exists() and len(log.read_text().splitlines()) >= 3)
    assert not list(train.glob("checkpoint-*"))
    lab.say("sbatch", "-p", "high", "--exclusive", "-o", tmp_path / "high.out", "--wrap", "sleep 3")
    lab.wait("a checkpoint", lambda: list(train.glob("checkpoint-*/checksums.json")))
    saved = next(train.glob("checkpoint-*"))
    step = int(saved.name.partition("-")[2]) // 2
    assert 3 <= step < 30
    lab.wait("an empty queue", lambda: not lab.queue())
    assert lab.states()["grpo-s0"]["state"] == "done" and lab.starts("grpo-s0") == 2
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, 31)), "every step once"
    assert saved.stat().st_mtime < (train / "result.json").stat().st_mtime and saved.is_dir()
    said = (lab.runs / "logs" / "grpo-s0.log").read_text()
    assert "interrupted; the same command goes on from here" in said


def test_a_cell_at_its_time_limit_is_queued_again(cluster, tmp_path):
    """It needs more than a minute and may run for one; what it has sampled until then is kept."""
    lab = Lab(tmp_path, cluster, SLOW, time_min=1, signal_s=20)
    assert lab.grid("--algos", "base").wait() == 0
    shards = lab.runs / "base" / "eval" / "test" / "shards"
    log = lab.runs / "logs" / "base.log"
    lab.wait("a second start", lambda: log.exists() and lab.starts("base") >= 2 and list(shards.glob("*.parquet")))
    kept = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.parquet")}
    lab.wait("more shards", lambda: len(list(shards.glob("*.parquet"))) > len(kept) or not lab.queue())
    now = {path.name: path.stat().st_mtime_ns for path in shards.glob("*.parquet")}
    assert not now or kept.items() <= now.items()
    lab.wait("an empty queue", lambda: not lab.queue())
    assert lab.states()["base"]["state"] == "done"
    assert read_record(lab.runs / "base" / "record.json").evaluations["test"].completions == 40


def test_a_cancelled_cell_shows_as_failed_and_the_same_command_goes_on(cluster, tmp_path):
    lab = Lab(tmp_path, cluster, SLOW)
    assert lab.grid("--algos", "grpo").wait() == 0
    assert {row["state"] for row in lab.states().values()} <= {"queued", "running"}
    shards = lab.runs / "base" / "eval" / "test" / "shards"
    lab.wait("the first shard", lambda: list(shards.glob("*.parquet")))
    lab.wait("a share of the work", lambda: (lab.states()["base"]["share"] or 0) > 0)
    row = lab.states()["base"]
    assert row["state"] == "running" and 0 < row["share"] < 1 and row["log"].endswith("base.log")
    lab.say("scancel", row["where"].split()[1])
    lab.wait("an empty queue", lambda: not lab.queue())
    states = lab.states()
    assert states["base"]["state"] == "failed" and "left the queue" in states["base"]["said"]
    assert states["grpo-s0"]["state"] == "failed" and "before it began" in states["grpo-s0"]["said"]
    again = lab.grid("--algos", "grpo")
    assert again.wait() == 0 and len(lab.queue()) == 2
