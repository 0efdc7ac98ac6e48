"""The machines that train a cell together: where they meet, and the command that starts a machine's processes.

Every machine runs the same `bench` command in the same folder, which lies on a disk that all of them share. The first
one evaluates and writes the record. The others wait until training can begin, take part in it, and end.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.errors import UsageError
from benchmarks.launchers.base import PROGRAM_FILE

DEFAULT_PORT = 29500
_SLURM_PORTS = range(20_000, 40_000)
_NUMBERS = ("NODE_RANK", "SLURM_NODEID")


@dataclass(frozen=True)
class Machines:
    """How many machines there are, which one this is, and where they meet."""

    count: int = 1
    index: int = 0
    """This machine's number, from 0."""
    endpoint: str = ""
    """HOST:PORT of the first machine; empty for one machine."""
    launcher: str = ""
    """What the user starts processes with in place of torchrun, such as `accelerate launch --num_machines 2`."""

    @classmethod
    def find(
        cls, count: int, index: int | None, endpoint: str, launcher: str, environment: Mapping[str, str] = os.environ
    ) -> Machines:
        """Completes what the command line leaves open from torchrun's or SLURM's variables.

        Raises UsageError if several machines do not know their number or where to meet.
        """
        if count == 1:
            return cls(launcher=launcher)
        if index is None:
            given = [environment[name] for name in _NUMBERS if environment.get(name, "").isdigit()]
            if not given:
                raise UsageError(f"--nodes {count} needs this machine's number: --node-rank, NODE_RANK, or srun.")
            index = int(given[0])
        if not 0 <= index < count:
            raise UsageError(f"this machine's number is {index}; expected 0 to {count - 1} with --nodes {count}.")
        return cls(count, index, _endpoint(count, endpoint, environment), launcher)

    def command(self, processes: int, arguments: list[str]) -> list[str]:
        """The command that starts this machine's `processes` training processes, each as `rlvr-gap ARGUMENTS`."""
        program = [PROGRAM_FILE, *arguments]
        if self.launcher:
            return [*shlex.split(self.launcher), *program]
        meeting = ["--standalone"]
        if self.count > 1:
            host, _, port = self.endpoint.rpartition(":")
            meeting = ["--nnodes", str(self.count), "--node-rank", str(self.index)]
            meeting += ["--master-addr", host, "--master-port", port]
        start = [sys.executable, "-m", "torch.distributed.run", *meeting, "--nproc_per_node", str(processes)]
        return [*start, *program]


def _endpoint(count: int, endpoint: str, environment: Mapping[str, str]) -> str:
    host, port = endpoint or environment.get("MASTER_ADDR", ""), environment.get("MASTER_PORT", "")
    if ":" in host:
        host, _, port = host.rpartition(":")
    if not host and (nodes := environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")):
        host = _first_host(nodes)
        job = int(environment.get("SLURM_JOB_ID", "0"))
        port = port or str(_SLURM_PORTS[job % len(_SLURM_PORTS)])  # jobs that share a machine do not meet
    if not host:
        raise UsageError(
            f"--nodes {count} needs a place to meet: --rdzv-endpoint HOST:PORT of the first machine, or MASTER_ADDR."
        )
    port = port or str(DEFAULT_PORT)
    if not port.isdigit():
        raise UsageError(f"the port of '{host}:{port}' is not a number; expected HOST:PORT, as node1:{DEFAULT_PORT}.")
    return f"{host}:{port}"


def _first_host(nodes: str) -> str:
    """Of a list of SLURM's, such as `gpu[03-05]`; the machine with SLURM_NODEID 0."""
    try:
        command = ["scontrol", "show", "hostnames", nodes]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        raise UsageError(f"cannot tell the first machine of '{nodes}' (scontrol): give --rdzv-endpoint.") from error
