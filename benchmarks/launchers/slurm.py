"""Submits commands to SLURM through submitit: one job for each, in arrays, after the jobs that they depend on.

A job runs its command in a process of its own. When SLURM tells it that it will be preempted or has reached its time
limit, it passes SIGTERM on, waits for the command to save a checkpoint, and queues itself again. If SLURM sends no
signal or the machine dies, the job goes on from the last checkpoint when SLURM queues it again.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure, UsageError
from benchmarks.launchers.base import BEGINS, INTERRUPTED, PROGRAM_FILE, USAGE_ERROR, Options, Task, Watch, last_line
from benchmarks.launchers.resources import Resources

JOB_NAME = "rlvr-gap"
"""By it the jobs of all people are found in the queue: two of them may have started the same grid."""
LARGEST_ARRAY = 1000
"""SLURM's own default for MaxArraySize is 1001."""
_POLL_S = 0.2


@dataclass
class Job:
    """What a job does. submitit stores it, and calls `checkpoint` when SLURM sends the job its signal."""

    command: tuple[str, ...]
    log: str
    retry: int
    grace_s: float
    """Time for the command to save what it has."""

    def __call__(self) -> None:
        """Runs the command. Raises RuntimeError if it fails, so that the job is a failed one to SLURM too."""
        code = 0
        for _ in range(self.retry + 1):
            code = self._run()
            if code == INTERRUPTED:  # SLURM has told all of the job's processes to end, and not this one alone
                time.sleep(self.grace_s)  # until it ends the job, or queues it again
            if code in (0, USAGE_ERROR, INTERRUPTED):
                break
        if code and os.environ.get("SLURM_PROCID", "0") != "0":
            time.sleep(self.grace_s)  # the first machine's job says why, or queues itself again
        if code:
            raise RuntimeError(f"exit code {code}: {last_line(Path(self.log))}")

    def _run(self) -> int:
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"{BEGINS}{' '.join(self.command)}\n")
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, PROGRAM_FILE, *self.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_ignore_usr2,
            )  # fmt: skip
        while self._process.poll() is None:  # never a blocking wait: `checkpoint` interrupts this loop
            time.sleep(_POLL_S)
        return self._process.returncode

    def checkpoint(self) -> Any:
        """Ends the command, and returns what the job is queued again with."""
        from submitit.helpers import DelayedSubmission

        process = vars(self).get("_process")
        if process is not None:
            _end(process.pid, self.grace_s)
        return DelayedSubmission(Job(self.command, self.log, self.retry, self.grace_s))


def _ignore_usr2() -> None:
    """SLURM may send its signal to all processes of the job; it is for the one that queues the job again."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _end(pid: int, grace_s: float) -> None:
    """SIGTERM, and SIGKILL if that does not help in time."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + grace_s
        while time.monotonic() < until:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(_POLL_S)
        os.killpg(pid, signal.SIGKILL)


class Slurm:
    """Submits, and does not wait."""

    waits = False

    def run(self, tasks: Sequence[Task], options: Options, watch: Watch) -> None:
        """Submits all tasks; those that come after the same ones are a job array. Not possible: Failure."""
        submitted: dict[str, str] = dict(options.submitted)
        left = list(tasks)
        while left:
            names = {task.name for task in left}
            ready = [task for task in left if not names & set(task.after)]
            for after in dict.fromkeys(task.after for task in ready):
                group = [task for task in ready if task.after == after]
                for start in range(0, len(group), LARGEST_ARRAY):
                    part = group[start : start + LARGEST_ARRAY]
                    submitted |= self._submit(
                        part, [submitted[one] for one in after if one in submitted], options, watch
                    )
            left = [task for task in left if task.name not in submitted]

    def _submit(self, tasks: Sequence[Task], after: Sequence[str], options: Options, watch: Watch) -> dict[str, str]:
        for task in tasks:
            task.log.parent.mkdir(parents=True, exist_ok=True)
            watch.queued(task, "")
        executor = _executor(options, after)
        grace_s = max(1.0, 0.8 * options.resources.signal_s)
        try:
            with executor.batch():
                jobs = [executor.submit(Job(task.command, str(task.log), options.retry, grace_s)) for task in tasks]
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("submitit", "subprocess"):
                raise
            raise Failure(f"SLURM took no job: {' '.join(str(error).split())}") from error
        for task, job in zip(tasks, jobs, strict=True):
            watch.queued(task, job.job_id)
        return {task.name: job.job_id for task, job in zip(tasks, jobs, strict=True)}


def _executor(options: Options, after: Sequence[str]) -> Any:
    if shutil.which("sbatch") is None:
        raise UsageError("--launcher slurm needs SLURM's commands (sbatch, srun): run it on a login node.")
    try:
        import submitit
    except ImportError as error:
        raise UsageError("--launcher slurm needs the extra: pip install 'rlvr-gap[slurm]'.") from error
    executor = submitit.SlurmExecutor(options.folder, max_num_timeout=options.resources.requeue_limit)
    try:
        executor.update_parameters(**parameters(options.resources, after))
    except ValueError as error:
        raise UsageError(f"the cluster's resources: {' '.join(str(error).split())}") from error
    return executor


def parameters(resources: Resources, after: Sequence[str] = ()) -> dict[str, Any]:
    """Resources as submitit's parameters."""
    r = resources
    wanted = {
        "job_name": JOB_NAME, "partition": r.partition, "account": r.account, "qos": r.qos,
        "constraint": r.constraint, "time": r.time_min, "nodes": r.nodes, "ntasks_per_node": 1,
        "gpus_per_node": r.gpus or None, "cpus_per_task": r.cpus, "array_parallelism": r.array_limit,
        "mem": r.memory_gb, "signal_delay_s": r.signal_s,
        "dependency": f"afterok:{':'.join(after)}" if after else None, "stderr_to_stdout": True,
        "srun_args": ["--kill-on-bad-exit=1"],
        # srun has not taken this over from sbatch since 22.05.
        "setup": ["export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}", *_our_packages(), *r.setup],
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **r.sbatch},
    }  # fmt: skip
    return {name: value for name, value in wanted.items() if value is not None}


def _our_packages() -> list[str]:
    """Lines that let a job import this copy of the project, and no folder of such a name in its working directory."""
    root = Path(PROGRAM_FILE).parents[1]
    found = [] if root.name.endswith("-packages") else [f"export PYTHONPATH={shlex.quote(str(root))}:$PYTHONPATH"]
    return ["export PYTHONSAFEPATH=1", *found]


def queue() -> Mapping[str, str] | None:
    """Everybody's jobs of grids, `12` or `12_3` -> state such as PENDING. None where SLURM does not answer."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", f"--name={JOB_NAME}", "--noheader", "--array", "--format=%i %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
