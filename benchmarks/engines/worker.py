"""Runs an engine in a worker process, which takes chunks and sends completions back.

Each worker has its own pipe. So there is no lock that a killed worker could hold, its end is noticed at once with its
exit code, and a full pipe keeps a fast worker from running ahead of a slow reader. Workers never see Ctrl-C; the parent
ends them. A worker whose parent is gone ends itself.
"""

from __future__ import annotations

import contextlib
import inspect
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import engines
from benchmarks.engines.base import Chunk, Completions, Engine, StreamingEngine
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.settings import Sampling

_TELL_ROWS = 8
"""A worker with a streaming engine tells its parent after so many finished samples, which are fewer than a chunk's."""
_GRACE_S = 5.0
"""Time in which a worker may end before it is killed."""


@dataclass(frozen=True)
class EngineSpec:
    """Everything that a worker needs to make its engine. `name` is resolved, so it is never `auto`."""

    name: str
    model_path: str
    revision: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def streams(self) -> bool:
        """Whether it is a `StreamingEngine`."""
        return issubclass(engines.get(self.name), StreamingEngine)

    def make(self, seed: int = 0) -> Engine:
        """Returns the engine with its model loaded. Raises UsageError for a model that cannot be loaded.

        `seed` is for a `StreamingEngine`. In all others a chunk's own seed decides.
        """
        settings = {**self.settings, **({"seed": seed} if self.streams else {})}
        return engines.get(self.name)(self.model_path, self.revision, **settings)  # type: ignore[call-arg]

    @property
    def precision(self) -> str:
        """The number format in which the engine computes, resolved."""
        return engines.get(self.name).precision(self.model_path, self.revision, self.settings)

    @property
    def version(self) -> str:
        """The installed version of the engine."""
        return engines.get(self.name).installed_version()

    def with_precision(self, precision: str) -> EngineSpec:
        """Returns the spec of an engine that computes in this number format, if the engine has such a setting."""
        known = inspect.signature(engines.get(self.name)).parameters
        return replace(self, settings={**self.settings, "dtype": precision}) if "dtype" in known else self

    def tokenizer(self) -> Any:
        """Returns the model's tokenizer. Raises UsageError if there is none."""
        return engines.get(self.name).load_tokenizer(self.model_path, self.revision)

    def check(self) -> None:
        """Raises UsageError for a setting that the engine does not know. It loads nothing."""
        known = [n for n in list(inspect.signature(engines.get(self.name)).parameters)[2:] if n != "seed"]
        for name in self.settings:
            if name not in known:
                raise unknown(f"setting of engine '{self.name}'", name, known)


# ------------------------------------------------------------------------------------------------ the parent's side


class EngineWorker:
    """A worker process as its parent sees it."""

    def __init__(self, place: int, spec: EngineSpec, environment: dict[str, str], seed: int) -> None:
        self.place = place
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(spec, theirs, environment, seed), name=f"{spec.name}-{place}"
        )
        resource_tracker.ensure_running()  # its start, which comes with that of the first process, unblocks signals
        with _interrupts_blocked():  # the mask is inherited: Ctrl-C reaches the parent alone, from the first moment
            self.process.start()
        theirs.close()
        self.numbers: set[int] = set()
        """Of the chunks that were given and are not yet taken back."""
        self.streams = spec.streams
        self.rows_in_flight = 1
        """What the engine wants, once it is ready."""
        self.given = 0
        """Samples of all chunks that were given."""
        self.finished = 0
        """Samples that are known to be finished, also of chunks that are not."""
        self.description: str | None = None

    @property
    def outstanding(self) -> int:
        """Chunks that were given and are not yet taken back."""
        return len(self.numbers)

    @property
    def load(self) -> int:
        """What an engine with less of it should get the next chunk before."""
        return self.given - self.finished if self.streams else self.outstanding

    def wants_more(self, reserve: bool) -> bool:
        """Whether it would be idle otherwise, soon if `reserve`."""
        if self.streams:
            return self.load < self.rows_in_flight
        return self.outstanding < 1 + reserve

    def give(self, number: int, chunk: Chunk, sampling: Sampling) -> None:
        """Gives the worker one more chunk."""
        self.numbers.add(number)
        self.given += chunk.rows
        with contextlib.suppress(OSError):  # its end is reported by `take`
            self.connection.send((number, chunk, sampling))

    def take(self) -> tuple[int, Completions] | None:
        """Returns the number and completions of a chunk, or None for other news. Raises the worker's error."""
        try:
            kind, number, value = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(_GRACE_S)
            raise Failure(f"evaluation worker {self.place} {_end(self.process.exitcode)}.") from error
        if kind == "failed":
            message, details, usage = value
            failure = UsageError(message) if usage else Failure(message)
            failure.add_note(details)
            raise failure
        if kind == "ready":
            self.description, self.rows_in_flight = value
            return None
        if kind == "load":
            self.finished = value
            return None
        self.numbers.remove(number)
        return number, value

    def end(self) -> None:
        """Waits for a terminated process, and kills it if it does not end."""
        self.connection.close()
        self.process.join(_GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _end(exitcode: int | None) -> str:
    if exitcode is None:
        return "closed its pipe"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    name = signal.Signals(-exitcode).name
    return f"was killed by {name} (exit code {exitcode}" + ("; out of memory?)" if name == "SIGKILL" else ")")


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ------------------------------------------------------------------------------------------------ around an engine


class Here:
    """An engine in this process, which takes chunks and gives them back whatever kind of engine it is."""

    def __init__(self, spec: EngineSpec, seed: int) -> None:
        self.engine = spec.make(seed)
        self._given = 0
        self._numbers: dict[str, int] = {}
        """Of a streaming engine: the chunks in progress, by key."""
        self._waiting: deque[tuple[int, Chunk, Sampling]] = deque()
        """Of any other engine."""

    @property
    def in_progress(self) -> int:
        """The number of chunks that were not yet given back."""
        return len(self._waiting) + len(self._numbers)

    @property
    def rows_in_flight(self) -> int:
        """What the engine wants. One that samples chunks wants one at a time."""
        return self.engine.rows_in_flight if isinstance(self.engine, StreamingEngine) else 1

    @property
    def wants_more(self) -> bool:
        """Whether the engine would be idle otherwise."""
        if isinstance(self.engine, StreamingEngine):
            return self.engine.unfinished_rows < self.rows_in_flight
        return not self._waiting

    @property
    def finished(self) -> int:
        """How many samples a streaming engine has finished, also of chunks that are not."""
        return self._given - self.engine.unfinished_rows if isinstance(self.engine, StreamingEngine) else 0

    def give(self, number: int, chunk: Chunk, sampling: Sampling) -> None:
        """Takes a chunk. A streaming engine begins with it now."""
        if not isinstance(self.engine, StreamingEngine):
            self._waiting.append((number, chunk, sampling))
            return
        key = f"{number}-{chunk.key}"  # two datasets may have equal keys
        self._numbers[key] = number
        self._given += chunk.rows
        self.engine.submit(replace(chunk, key=key), sampling)

    def collect(self) -> list[tuple[int, Completions]]:
        """Returns what is complete, by number. An engine that samples chunks samples the next one."""
        if isinstance(self.engine, StreamingEngine):
            return [(self._numbers.pop(chunk.key), done) for chunk, done in self.engine.collect()]
        number, chunk, sampling = self._waiting.popleft()
        return [(number, self.engine.sample(chunk, sampling))]


@contextlib.contextmanager
def told(*chunks: Chunk) -> Iterator[None]:
    """Turns an unforeseen error into a line that names the first of the chunks in progress."""
    try:
        yield
    except (UsageError, Failure):
        raise
    except Exception as error:
        raise Failure(_line(error, chunks[0].key)) from error


def _line(error: Exception, key: str) -> str:
    """Returns one line for an unforeseen error."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"sampling failed at {f'chunk {key}' if key else 'loading the model'}: {type(error).__name__}: {first}"


# ------------------------------------------------------------------------------------------------ the worker's side


def _work(spec: EngineSpec, connection: Connection, environment: dict[str, str], seed: int) -> None:
    """Runs a worker: makes the engine, samples chunks as they come, and reports errors."""
    os.environ.update(environment)
    jobs: queue.SimpleQueue[tuple[int, Chunk, Sampling]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    keys: dict[int, str] = {}
    try:
        here, told_finished = Here(spec, seed), 0
        told_ready = here.engine.description, here.rows_in_flight
        connection.send(("ready", 0, told_ready))
        while True:
            while not here.in_progress or not jobs.empty():
                number, chunk, sampling = jobs.get()
                keys[number] = chunk.key
                here.give(number, chunk, sampling)
            done = here.collect()
            if done or here.finished - told_finished >= _TELL_ROWS:  # before what is done: the parent may wait for it
                told_finished = here.finished
                connection.send(("load", 0, told_finished))
            if (ready := (here.engine.description, here.rows_in_flight)) != told_ready:  # as when memory was short
                told_ready = ready
                connection.send(("ready", 0, told_ready))
            for number, completions in done:
                connection.send(("done", number, completions))
                del keys[number]
    except (UsageError, Failure) as error:
        message = (str(error), traceback.format_exc(), isinstance(error, UsageError))
        connection.send(("failed", 0, message))
    except Exception as error:  # noqa: BLE001  whatever it was, the parent says it
        line = _line(error, next(iter(keys.values()), ""))
        connection.send(("failed", 0, (line, traceback.format_exc(), False)))


def _receive(connection: Connection, jobs: queue.SimpleQueue[tuple[int, Chunk, Sampling]]) -> None:
    """Reads at all times, so that the parent never waits for a worker that waits for the parent."""
    while True:
        try:
            jobs.put(connection.recv())
        except (EOFError, OSError):  # the parent is gone: nobody wants what this process is doing
            os._exit(1)
