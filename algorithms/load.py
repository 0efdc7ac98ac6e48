"""Whether a run had its machines to itself: processor time of everything on them beside that of the run."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from algorithms.cost import Cost, peak_memory_bytes


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds, since some moment of the past."""

    wall: float
    busy: float
    """Of all processors of this machine, whoever used them."""
    own: float
    """Of this process and all that it has started."""


def processor_time() -> ProcessorTime:
    """Now; the difference of two says what happened between them."""
    machine = psutil.cpu_times()
    resting = machine.idle + getattr(machine, "iowait", 0.0)
    guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)  # counted as the host's as well
    this = psutil.Process()
    ended = this.cpu_times()
    own = ended.children_user + ended.children_system + sum(map(_used, [this, *this.children(recursive=True)]))
    return ProcessorTime(time.monotonic(), sum(machine) - guests - resting, own)


class MachineWatch:
    """Notes in a run's cost what its machines did; every process has one."""

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self._before = processor_time()

    def update(self, cost: Cost) -> None:
        """Adds what happened since the last call, on all machines; every process must call it."""
        before, now = self._before, processor_time()
        self._before = now
        busy = now.busy - before.busy if self.accelerator.is_local_main_process else 0.0
        cost.load.wall_seconds += now.wall - before.wall
        cost.load.other_cpu_seconds += float(self.accelerator.reduce(self._tensor(busy - (now.own - before.own))))
        cost.load.load_average = os.getloadavg()[0]
        peak = int(self.accelerator.gather(self._tensor(peak_memory_bytes())).max())
        cost.peak_memory_bytes = max(cost.peak_memory_bytes, peak)

    def _tensor(self, value: float) -> torch.Tensor:
        return torch.tensor([value], dtype=torch.float64, device=self.accelerator.device)


def _used(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
