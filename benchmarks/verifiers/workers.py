"""Killable worker processes: if a judge hangs, crashes or exhausts memory, only its own item is lost.

A worker is a fresh interpreter (never a fork of a parent that holds threads or an accelerator). It imports one factory,
calls it, and then judges one item after the other over a pipe. At an item's deadline the parent kills the worker and
replaces it, so nothing inside it (a regular expression, a C loop, a swallowed exception) can hold on. The deadline is
in seconds of the worker's processor time, which the kernel counts, because on a busy machine (during training, for
example) a wall clock would fail innocent items. The parent kills a worker that waits without computing after
WAIT_FACTOR times as many seconds. The time that a worker needs to start counts for no item.

This guard does NOT stop the following. A worker runs as the same user, with the same files and network, so it is not a
sandbox for code: judges must parse and never execute what they are given. The memory limit bounds the address space of
one worker (Linux), but not the disk or the sum over workers. On a machine so starved that a worker gets less than a
tenth of a core, an innocent item can lose its verdict (but does not get a wrong one).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NoReturn

from benchmarks.errors import Failure

Judge = Callable[..., str]
"""What a factory returns: called with the strings of an item, it returns one string or raises."""

_BOOT = (
    "import json, sys; path = json.loads(sys.argv[1]); "
    "sys.path[:] = [path[0], *sys.path]; import benchmarks; sys.path[:] = path[1:]; "  # this one, and no other folder
    "from benchmarks.verifiers.workers import worker_main; worker_main(sys.argv[2:])"
)
_ROOT = str(Path(__file__).resolve().parents[2])
_READY = b"ready"
WAIT_FACTOR = 10
_SPARE_S = 1.0
_DEADLINE_SIGNALS = (-signal.SIGPROF, -signal.SIGALRM)
_ITEMS_PER_WORKER = 5_000
_IDLE_CHECK_S = 5.0


@dataclass(frozen=True)
class Reply:
    """The outcome of one item: either `value` (what the judge returned) or `lost` (why there is none)."""

    value: str | None = None
    lost: str | None = None
    """Either "deadline", "died" (the worker ended by itself), or the name of the exception that the judge raised."""


class WorkerPool:
    """Runs `factory()(*item)` for many items in killable processes. No process starts before the first item.

    factory: "module:function". It is called once in each worker, imports what the judge needs, and returns the judge.
    timeout_s: seconds of processor time for one item. startup_s: seconds for a worker to become ready.
    memory_bytes: address space of one worker. workers: largest number (None: one for each core, up to 8).
    """

    def __init__(
        self,
        factory: str,
        *,
        timeout_s: float = 5.0,
        startup_s: float = 300.0,
        memory_bytes: int = 2 << 30,
        workers: int | None = None,
    ) -> None:
        self._factory, self._memory_bytes = factory, memory_bytes
        self._timeout_s, self._startup_s = timeout_s, startup_s
        self._size = workers or min(8, _cores())
        self._lock = threading.Lock()
        self._workers: list[_VerifierWorker] = []
        self._finalizer = weakref.finalize(self, _kill_all, self._workers)

    def map(self, items: Sequence[Sequence[str]]) -> list[Reply]:
        """Returns one reply for each item, in order. Thread-safe. Raises `Failure` if workers cannot start."""
        with self._lock:
            self._workers[:] = [worker for worker in self._workers if worker.owner == os.getpid()]
            batch = _Batch(items)
            try:
                while batch.open:
                    self._feed(batch)
                    self._collect(batch)
            finally:
                for worker in [w for w in self._workers if w.index is not None]:
                    self._discard(worker)
            return [reply or Reply(lost="died") for reply in batch.replies]

    def close(self) -> None:
        """Kills all workers. The pool can be used again and then starts new ones."""
        with self._lock:
            _kill_all(self._workers)

    def _feed(self, batch: _Batch) -> None:
        """Gives every ready worker an item, and starts workers while there are more items than workers."""
        while len(self._workers) < min(self._size, batch.open):
            arguments = [self._factory, str(self._memory_bytes), str(self._timeout_s)]
            self._workers.append(_VerifierWorker(arguments, time.monotonic() + self._startup_s))
        for worker in [w for w in self._workers if w.ready and w.index is None]:
            if not batch.todo:
                return
            index = batch.todo[0]
            try:
                worker.give(index, batch.items[index], time.monotonic() + WAIT_FACTOR * self._timeout_s)
            except OSError:  # it died while idle, so no item is to blame
                self._discard(worker)
            else:
                batch.todo.popleft()

    def _collect(self, batch: _Batch) -> None:
        """Waits for the next event (a reply, a worker that becomes ready, a death, a deadline) and handles it."""
        active = {worker.pipe: worker for worker in self._workers if not worker.ready or worker.index is not None}
        if not active:
            return
        patience = min(worker.deadline for worker in active.values()) - time.monotonic()
        happened = wait(list(active), timeout=max(0.0, patience))
        for pipe in happened:
            if isinstance(pipe, Connection):
                self._receive(active[pipe], batch)
        now = time.monotonic()
        for worker in [w for pipe, w in active.items() if pipe not in happened and w.deadline <= now]:
            self._lose(worker, batch, "deadline")

    def _receive(self, worker: _VerifierWorker, batch: _Batch) -> None:
        try:
            message = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            self._lose(worker, batch, "died")
            return
        if not worker.ready:
            worker.ready = True
            return
        value, lost, last = json.loads(message)
        if worker.index is not None:
            batch.settle(worker.index, Reply(value, lost))
            worker.index = None
        if last:
            self._discard(worker)

    def _lose(self, worker: _VerifierWorker, batch: _Batch, why: str) -> None:
        """Discards a worker and loses its item. Raises `Failure` if the worker never became ready."""
        index, ready = worker.index, worker.ready
        worker.index = None
        self._discard(worker)
        if not ready:
            reason = f"not ready after {self._startup_s:g} s" if why == "deadline" else worker.last_words
            raise Failure(f"a worker process for '{self._factory}' could not start: {reason}")
        if worker.exit_code in _DEADLINE_SIGNALS:
            why = "deadline"
        if index is not None:
            batch.settle(index, Reply(lost=why))

    def _discard(self, worker: _VerifierWorker) -> None:
        worker.kill()
        self._workers.remove(worker)


class _Batch:
    """The items of one call: those that still wait (`todo`), how many lack a reply (`open`), and the replies."""

    def __init__(self, items: Sequence[Sequence[str]]) -> None:
        self.items = items
        self.todo = deque(range(len(items)))
        self.open = len(items)
        self.replies: list[Reply | None] = [None] * len(items)

    def settle(self, index: int, reply: Reply) -> None:
        self.replies[index] = reply
        self.open -= 1


class _VerifierWorker:
    """The parent's view of one process, which is starting (not ready), idle (index None), or busy with item `index`."""

    def __init__(self, arguments: list[str], deadline: float) -> None:
        self.owner = os.getpid()
        self.ready = False
        self.index: int | None = None
        self.deadline = deadline
        self.exit_code: int | None = None
        self.last_words = ""
        self.pipe, theirs = multiprocessing.Pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `kill`)
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _BOOT,
                    json.dumps([_ROOT, *sys.path]),
                    str(theirs.fileno()),
                    str(self.owner),
                    *arguments,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,  # an interrupt from the keyboard is the parent's to handle
            )

    def give(self, index: int, item: Sequence[str], deadline: float) -> None:
        """Sends the item. Raises OSError if the process is gone."""
        self.pipe.send_bytes(json.dumps(list(item)).encode())
        self.index, self.deadline = index, deadline

    def kill(self) -> None:
        """Ends the process now, and keeps the last line that it wrote to stderr while it started."""
        self.pipe.close()
        self._process.kill()
        self.exit_code = self._process.wait()
        with self._errors as errors:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
        self.last_words = lines[-1] if lines else f"exit code {self.exit_code}"


def _cores() -> int:
    """Returns the number of cores that this process may use; a batch system may give it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kill_all(workers: list[_VerifierWorker]) -> None:
    """Ends the workers that this process started. A forked child inherits the list, but must not end them."""
    for worker in workers:
        if worker.owner == os.getpid():
            worker.kill()
    workers.clear()


# ------------------------------------------------------------------------------------------ inside a worker


def worker_main(arguments: list[str]) -> NoReturn:
    """Runs a worker. Arguments: the pipe's descriptor, parent's pid, factory, memory in bytes, seconds per item."""
    descriptor, parent, factory, memory_bytes, timeout_s = arguments
    pipe = Connection(int(descriptor))
    module, _, function = factory.partition(":")
    judge: Judge = getattr(importlib.import_module(module), function)()
    _limit(int(memory_bytes))
    pipe.send_bytes(_READY)
    _silence()
    with contextlib.suppress(EOFError, OSError):
        for count in range(1, _ITEMS_PER_WORKER + 1):
            _serve(pipe, judge, int(parent), float(timeout_s), last=count == _ITEMS_PER_WORKER)
    os._exit(0)


def _serve(pipe: Connection, judge: Judge, parent: int, timeout_s: float, *, last: bool) -> None:
    while not pipe.poll(_IDLE_CHECK_S):
        if os.getppid() != parent:  # it was killed, and a fork of it may still hold the other end of the pipe
            os._exit(0)
    item = json.loads(pipe.recv_bytes())
    # The kernel ends the process at these; no Python code has to run for it, and they outlive a killed parent.
    signal.setitimer(signal.ITIMER_PROF, timeout_s)
    signal.setitimer(signal.ITIMER_REAL, WAIT_FACTOR * timeout_s + _SPARE_S)
    value, lost = None, None
    try:
        value = judge(*item)
    except Exception as error:  # noqa: BLE001  (whatever it is, the parent hears of it)
        lost = type(error).__name__
        last = True  # after a failed allocation (say) this process is not to be trusted with another item
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    pipe.send_bytes(json.dumps([value, lost, last]).encode())
    if last:
        os._exit(0)


def _limit(memory_bytes: int) -> None:
    with contextlib.suppress(ValueError, OSError):  # some systems refuse this limit: the deadline remains
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    sys.set_int_max_str_digits(0)  # a ValueError on a long number would be swallowed; its time is bounded anyway


def _silence() -> None:
    """Discards stderr once the worker runs, because parsers write there about each malformed answer."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    os.close(sink)
