"""Processor time of others beside a run: what they used, and nothing of what the run itself used."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from algorithms import load
from algorithms.cost import PASSES, Cost, TokenPasses
from algorithms.load import MachineWatch, ProcessorTime


class World:
    """accelerate.Accelerator as seen by the first of `processes`, which all do the same."""

    device = torch.device("cpu")

    def __init__(self, processes: int, local: bool = True) -> None:
        self.processes, self.is_local_main_process = processes, local

    def reduce(self, tensor: Tensor) -> Tensor:
        return tensor * self.processes

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor.repeat(self.processes)


@pytest.mark.parametrize(("local", "expected"), [(True, 7.0), (False, -3.0)])
def test_others(local: bool, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s busy of which 3 are ours; a process that is not its machine's first only takes its own off."""
    times = iter([ProcessorTime(100, 50, 20), ProcessorTime(105, 60, 23), ProcessorTime(106, 60, 23)])
    monkeypatch.setattr(load, "processor_time", lambda: next(times))
    watch, cost = MachineWatch(World(1, local)), Cost()
    watch.update(cost)
    assert (cost.load.wall_seconds, cost.load.other_cpu_seconds) == (5, expected)
    watch.update(cost)
    assert (cost.load.wall_seconds, cost.load.other_cpu_seconds) == (6, expected)
    assert cost.peak_memory_bytes > 0


def test_a_child_is_ours() -> None:
    """A second of work in a process that we started, ended or not, is not somebody else's."""
    before = load.processor_time()
    work = "import time\nwhile time.process_time() < 0.5: pass\n"
    subprocess.run([sys.executable, "-c", work], check=True)
    with subprocess.Popen([sys.executable, "-c", work + "print(flush=True)\ninput()"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        after = load.processor_time()
        child.communicate(b"\n")
    assert after.own - before.own >= 0.9
    assert after.busy - before.busy >= 0.9


def test_token_passes_of_all_processes() -> None:
    passes, cost = TokenPasses(World(2)), Cost()
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    with torch.no_grad():
        passes.count("policy", mask)
    passes.count("policy", mask, mask)
    passes.count("critic", mask)
    passes.update_tokens = 2
    assert passes.end_update(cost) == 4
    expected = {**dict.fromkeys(PASSES, 0), "policy_forward": 18, "policy_backward": 12}
    assert cost.token_passes == {**expected, "critic_forward": 6, "critic_backward": 6}
    assert passes.end_update(cost) == 0 and Cost.from_json(cost.to_json()) == cost
