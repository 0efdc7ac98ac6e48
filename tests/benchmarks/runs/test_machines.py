"""Where machines meet and how their processes are started, from the command line and from a launcher's variables."""

from __future__ import annotations

import sys

import pytest

from algorithms import pause
from benchmarks.errors import UsageError
from benchmarks.launchers.base import PROGRAM_FILE
from benchmarks.runs import machines
from benchmarks.runs.machines import Machines

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
SLURM = {"SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "gpu[03-04]", "SLURM_JOB_ID": "45007"}


def find(count: int, environment: dict[str, str], index: int | None = None, endpoint: str = "") -> Machines:
    return Machines.find(count, index, endpoint, "", environment)


def test_one_machine_needs_nothing():
    assert find(1, SLURM) == Machines()
    assert Machines().command(2, ["x"]) == [*TORCHRUN, "--standalone", "--nproc_per_node", "2", PROGRAM_FILE, "x"]


@pytest.mark.parametrize(
    ("environment", "index", "endpoint", "expected"),
    [
        ({}, 1, "node1:5000", (1, "node1:5000")),
        ({"MASTER_ADDR": "10.0.0.5", "NODE_RANK": "2"}, None, "", (2, "10.0.0.5:29500")),
        ({"MASTER_ADDR": "10.0.0.5", "MASTER_PORT": "7", "NODE_RANK": "0"}, None, "", (0, "10.0.0.5:7")),
        ({"NODE_RANK": "2", **SLURM}, 0, "node1", (0, "node1:29500")),
        (SLURM, None, "", (1, "gpu03:25007")),
        ({**SLURM, "SLURM_STEP_NODELIST": "gpu04", "MASTER_PORT": "7"}, None, "", (1, "gpu04:7")),
        ({**SLURM, "MASTER_ADDR": "10.0.0.5"}, None, "", (1, "10.0.0.5:29500")),
    ],
)
def test_where_machines_meet(environment, index, endpoint, expected, monkeypatch):
    monkeypatch.setattr(machines, "_first_host", {"gpu[03-04]": "gpu03", "gpu04": "gpu04"}.__getitem__)
    found = find(3, environment, index, endpoint)
    assert (found.index, found.endpoint) == expected


@pytest.mark.parametrize(
    ("environment", "index", "endpoint", "line"),
    [
        ({}, None, "node1:1", "needs this machine's number: --node-rank, NODE_RANK, or srun"),
        ({}, 2, "node1:1", "this machine's number is 2; expected 0 to 1 with --nodes 2"),
        ({}, 0, "", "needs a place to meet: --rdzv-endpoint HOST:PORT of the first machine, or MASTER_ADDR"),
        ({}, 0, "node1:one", "the port of 'node1:one' is not a number; expected HOST:PORT"),
        ({**SLURM, "PATH": ""}, 0, "", "cannot tell the first machine of 'gpu\\[03-04\\]'"),
    ],
)
def test_what_is_missing_is_said(environment, index, endpoint, line, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=line):
        find(2, environment, index, endpoint)


def test_only_the_first_machine_takes_a_pause_back(tmp_path):
    """A signal that reaches another machine leaves the file where the first one's training reads it."""
    asked = tmp_path / pause.FILE
    with pause.training_in(tmp_path):
        with pause.training_in(tmp_path, first=False):
            pause._handle(0, None)
            assert pause.was_asked(tmp_path)
        assert asked.exists()
    assert not asked.exists()
    asked.touch()
    with pause.training_in(tmp_path, first=False):
        assert pause.was_asked(tmp_path)


def test_commands():
    found = Machines(2, 1, "10.0.0.5:7")
    where = ["--nnodes", "2", "--node-rank", "1", "--master-addr", "10.0.0.5", "--master-port", "7"]
    program = [PROGRAM_FILE, "train-cell", "a folder"]
    assert found.command(8, program[1:]) == [*TORCHRUN, *where, "--nproc_per_node", "8", *program]
    own = Machines(2, 1, "10.0.0.5:7", "accelerate launch --num_machines 2 --main_process_ip '10.0.0.5'")
    start = ["accelerate", "launch", "--num_machines", "2", "--main_process_ip", "10.0.0.5"]
    assert own.command(8, program[1:]) == [*start, *program]
