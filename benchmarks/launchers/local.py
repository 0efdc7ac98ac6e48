"""Runs commands side by side on this machine, each in a process of its own, so that a crash or a leak ends with it.

Cores, or accelerators, are shared out: each command is confined to its share, and counts that as the whole machine. A
command that runs alone, because all others wait for it, gets everything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from benchmarks.launchers.base import (
    BEGINS,
    INTERRUPTED,
    PROGRAM_FILE,
    USAGE_ERROR,
    Options,
    Task,
    Watch,
    lacking,
    last_line,
)

TICK_S = 1.0
_GRACE_S = 60.0
"""Time in which an interrupted command may save what it has before it is killed."""


@dataclass(frozen=True)
class Share:
    """What one command may use."""

    cores: tuple[int, ...]
    gpus: tuple[str, ...]

    def environment(self, processes: int) -> dict[str, str]:
        """Threads for each training process: no more than the caller's own limit; and the accelerators."""
        threads = max(1, len(self.cores) // processes)
        limit = os.environ.get("OMP_NUM_THREADS", "")
        threads = min(threads, int(limit)) if limit.isdigit() and int(limit) > 0 else threads
        gpus = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}
        return {**os.environ, "OMP_NUM_THREADS": str(threads), **gpus}


def share_out(jobs: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Share]:
    """`jobs` shares that differ by at most one core; accelerators go round where there are fewer than jobs."""
    return [
        Share(tuple(cores[i::jobs]) or (cores[i % len(cores)],), tuple(gpus[i::jobs]) or _turn(gpus, i))
        for i in range(jobs)
    ]


def _turn(gpus: Sequence[str], i: int) -> tuple[str, ...]:
    return (gpus[i % len(gpus)],) if gpus else ()


def default_jobs(cores: int, gpus: int, processes: int) -> int:
    """One command for each accelerator, or else for each core, that its training processes take."""
    return max(1, (gpus or cores) // processes)


def visible_cores() -> list[int]:
    """The cores that this process may use. Not every system lets a process be confined to some."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def visible_gpus() -> list[str]:
    """The accelerators that commands may use, as CUDA_VISIBLE_DEVICES names them."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [one for one in given.split(",") if one.strip() and one.strip() != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(i) for i, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU ")]


class Local:
    """A pool of commands. What the tasks print goes to their logs."""

    waits = True

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()

    def run(self, tasks: Sequence[Task], options: Options, watch: Watch) -> None:
        """Runs up to `options.jobs` tasks at once. Ctrl-C and SIGTERM are handed on, and end all of them."""
        cores, gpus = visible_cores(), visible_gpus()
        processes = options.resources.processes
        jobs = min(options.jobs or default_jobs(len(cores), len(gpus), processes), max(1, len(tasks)))
        everything, free = Share(tuple(cores), tuple(gpus)), share_out(jobs, cores, gpus)
        with ThreadPoolExecutor(jobs) as pool, _stop_on_signals():
            try:
                self._schedule(list(tasks), pool, free, everything, options, watch)
            except BaseException:
                watch.stopping(len(self._running))
                self._stop()
                raise

    def _schedule(
        self,
        left: list[Task],
        pool: ThreadPoolExecutor,
        free: list[Share],
        everything: Share,
        options: Options,
        watch: Watch,
    ) -> None:
        ended: dict[str, str | None] = {}
        names = {task.name for task in left}
        running: dict[Future[str | None], tuple[Task, Share]] = {}
        while left or running:
            for task in [task for task in left if lacking(task, ended)]:
                left.remove(task)
                ended[task.name] = lacking(task, ended)
                watch.ended(task, ended[task.name])
            ready = [task for task in left if all(name in ended or name not in names for name in task.after)]
            for task in _not_busy(ready, len(free), watch):
                share = free.pop()
                alone = len(ready) == 1 and not running
                watch.started(task)
                running[pool.submit(self._try, task, everything if alone else share, options)] = (task, share)
                left.remove(task)
            if left and not running:
                time.sleep(TICK_S)  # others work on all that is left
            for future in wait(running, timeout=TICK_S, return_when=FIRST_COMPLETED).done:
                task, share = running.pop(future)
                free.append(share)
                ended[task.name] = future.result()
                watch.ended(task, ended[task.name])
            watch.tick()

    def _try(self, task: Task, share: Share, options: Options) -> str | None:
        """Runs the task up to `options.retry` + 1 times. None, or why it failed."""
        reason: str | None = None
        for _ in range(options.retry + 1):
            try:
                code = self._run(task, share, options.resources.processes)
            except OSError as error:  # no room for its log, or no memory for a process
                reason = f"it could not be started: {error.strerror or error} ({error.filename or task.log})"
                continue
            if code == 0:
                return None
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            reason = f"{how}, {task.log}: {last_line(task.log)}"
            if code in (USAGE_ERROR, INTERRUPTED) or self._stopping.is_set():
                break
        return reason

    def _run(self, task: Task, share: Share, processes: int) -> int:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, share.cores)  # of this thread, and so of what it starts
        with task.log.open("a", encoding="utf-8") as log:
            log.write(f"{BEGINS}{' '.join(task.command)}\n")
            log.flush()
            process = subprocess.Popen(
                [sys.executable, PROGRAM_FILE, *task.command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=share.environment(processes), start_new_session=True,
            )  # fmt: skip
        self._running[task.name] = process
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        code = process.wait()
        del self._running[task.name]
        return code

    def _stop(self) -> None:
        """Tells all commands to save what they have and to end. A second Ctrl-C kills them, and so does time."""
        self._stopping.set()
        for process in list(self._running.values()):
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + _GRACE_S
        with contextlib.suppress(KeyboardInterrupt):
            while self._running and time.monotonic() < until:
                time.sleep(0.1)
        for process in list(self._running.values()):
            process.kill()


def _not_busy(ready: Sequence[Task], most: int, watch: Watch) -> list[Task]:
    """The first tasks that nobody else works on. The others are started when they are let go, to see what was done."""
    chosen: list[Task] = []
    for task in ready:
        if len(chosen) == most:
            break
        if not watch.is_busy(task):
            chosen.append(task)
    return chosen


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[None]:
    """SIGTERM and the end of the terminal interrupt, so that commands do not stay behind without a runner."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
