"""A SLURM cluster of one node, private to the tests: its own key, ports, partitions and folder. It needs root.

    python -m tests.slurm.cluster FOLDER     start one and print what to export; it ends with this process

Partition `low` is preempted by `high`, and a preempted job is queued again. Debian's packages slurm-wlm and munge have
all that is needed; there is no accounting.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.runs.lease import end_with_parent

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
CPUS, MEMORY_MB = 2, 3000

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
# A credential outlives its job by this: a job that is queued again has to wait for it.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
AuthType=auth/munge
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# Preempted jobs get the user's signal first, and then the partition's time to save what they have.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} CoresPerSocket={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=high Nodes={host} MaxTime=60 PriorityTier=10 PreemptMode=OFF
"""


def lacking() -> str | None:
    """Why no cluster can be started here; None if one can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None and not Path("/usr/sbin", tool).exists()]
    if absent:
        return f"{', '.join(absent)} not found: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "a private SLURM needs root"


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster within the block; gives the environment in which SLURM's commands reach it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge").mkdir(mode=0o700)
    (folder / "munge" / "key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge" / "key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    control_port, node_port = _free_ports()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder, host=host, control_port=control_port, node_port=node_port, cpus=CPUS, memory=MEMORY_MB
        )
    )
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    with contextlib.ExitStack() as daemons:
        for command in _daemons(folder, host):
            daemons.enter_context(_daemon(command, environment, folder))
        _wait_until_idle(environment)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--me"], env=environment, check=False)
            _wait_until_empty(environment)


def _daemons(folder: Path, host: str) -> list[list[str]]:
    files = {"key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder / 'munge' / name}" for option, name in files.items()]
    return [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", host],
    ]  # fmt: skip


@contextlib.contextmanager
def _daemon(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("w") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True, preexec_fn=end_with_parent
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_idle(environment: dict[str, str]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if set(done.stdout.split()) == {"idle"}:
            return
        time.sleep(0.2)
    raise RuntimeError(f"the cluster is not idle after a minute: {done.stdout} {done.stderr}")


def _wait_until_empty(environment: dict[str, str]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        done = subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True, check=False)
        if not done.stdout.strip():
            return
        time.sleep(0.2)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


if __name__ == "__main__":
    if why := lacking():
        sys.exit(why)
    with one_node(Path(sys.argv[1]).resolve()) as found:
        print(f"export SLURM_CONF={found['SLURM_CONF']}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
