"""Two machines train as one process does: two agents on the loopback device stand for them, two processes each.

What differs between this and two real machines is the network alone: the agents share nothing but a folder and an
address to meet at, and each starts its processes by the command that `bench --nodes 2` uses.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.launchers.base import PROGRAM_FILE
from benchmarks.runs.machines import Machines
from tests.algorithms import distributed_worker as worker
from tests.algorithms.test_distributed import ROOT, WORLD, Run
from tests.benchmarks import micro

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

MACHINES, PROCESSES = 2, 4
CLEAN = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}


def free_endpoint() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{server.getsockname()[1]}"


def together(commands: list[list[str]]) -> list[str]:
    """Runs the commands at the same time and returns what each printed; all must succeed."""
    running = [
        subprocess.Popen(command, cwd=ROOT, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [process.communicate(timeout=540) for process in running]
    for process, (_, errors) in zip(running, said, strict=True):
        assert process.returncode == 0, errors[-4000:]
    return [out for out, _ in said]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worker.make_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def one(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("one")
    for name in worker.ON_MACHINES:
        worker.given_step(name, policy, folder, 1)
    return Run(folder, 1)


@pytest.fixture(scope="module")
def machines(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, endpoint = tmp_path_factory.mktemp("machines"), free_endpoint()
    arguments = [str(policy), str(folder), str(PROCESSES), str(MACHINES)]
    commands = []
    for index in range(MACHINES):
        command = Machines(MACHINES, index, endpoint).command(PROCESSES // MACHINES, arguments)
        program = command.index(PROGRAM_FILE)
        commands.append([*command[:program], "-m", "tests.algorithms.distributed_worker", *command[program + 1 :]])
    together(commands)
    return Run(folder, PROCESSES)


@pytest.mark.parametrize("name", worker.ON_MACHINES)
def test_weights(name: str, one: Run, machines: Run) -> None:
    """As one process has them, and the same on the other machine."""
    ours, theirs, other = one.weights(name), machines.weights(name), machines.weights(name, rank=PROCESSES - 1)
    assert machines.told(name)["world"] == PROCESSES
    assert set(ours) == set(theirs) == set(other)
    for key, weight in ours.items():
        assert torch.equal(theirs[key], other[key]), key
        torch.testing.assert_close(theirs[key], weight, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}")
    assert machines.told(name)["cost"] == one.told(name)["cost"]


def test_hybrid_sharding(one: Run, machines: Run) -> None:
    """Each machine holds all weights, spread over its processes; the update is that of one process."""
    hybrid = Run(machines.folder / "hybrid", PROCESSES)
    ours, theirs = one.weights("ppo"), hybrid.weights("ppo")
    assert hybrid.told("ppo")["sharded"] == sorted(ours) == sorted(theirs)
    for key, weight in ours.items():
        torch.testing.assert_close(theirs[key], weight, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}")


ACCELERATE = (
    f"{sys.executable} -m accelerate.commands.launch --multi_gpu --num_machines 2 --num_processes 2 "
    "--machine_rank {index} --main_process_ip {host} --main_process_port {port} "
    "--mixed_precision no --dynamo_backend no"
)
"""`--multi_gpu` says that the processes are started by torchrun's agent; they find no GPU and train on CPUs."""


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_bench_trains_on_two_machines(launcher: str, tmp_path: Path) -> None:
    """The same command on each; the first evaluates, and the second has nothing to say when training is over."""
    suite, endpoint = micro.write(tmp_path, {"evaluation.datasets.test.problems": 2}), free_endpoint()
    command = [sys.executable, "-m", "benchmarks", "bench", "--suite", str(suite), "--out", str(tmp_path / "runs")]
    command += ["--algo", "grpo", "--workers", "1", "--quiet", "--nodes", "2", "--rdzv-endpoint", endpoint]
    host, port = endpoint.split(":")
    start = ACCELERATE if launcher == "accelerate" else ""
    commands = [
        [*command, "--node-rank", str(index), "--launch", start.format(index=index, host=host, port=port)]
        for index in range(MACHINES)
    ]
    first, second = together(commands)
    assert "gap" in first and second == ""
    cell = tmp_path / "runs" / "micro" / "grpo-s0"
    assert json.loads((cell / "train" / "result.json").read_text())["processes"] == WORLD
    assert json.loads((cell / "record.json").read_text())["training"]["updates"] == 4
    assert load_file(cell / "train" / "final" / "model.safetensors")
