"""Shares chunks among worker processes with an engine each, and yields results as they arrive.

Each worker has its own pipe. So there is no lock that a killed worker could hold, its end is noticed at once with its
exit code, and a full pipe keeps a fast worker from running ahead of a slow reader. Workers never see Ctrl-C; the parent
ends them. A worker whose parent is gone ends itself.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks import engines
from benchmarks.engines.base import Chunk, Completion, Engine
from benchmarks.engines.settings import EngineSettings
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.settings import Sampling

Completions = list[list[Completion]]
_GRACE_S = 5.0
"""Time in which a worker may end before it is killed."""
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class EngineSpec:
    """Everything that a worker needs to make its engine. `name` is resolved, so it is never `auto`."""

    name: str
    model_path: str
    revision: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Engine:
        """Returns the engine with its model loaded. Raises UsageError for a model that cannot be loaded."""
        return engines.get(self.name)(self.model_path, self.revision, **self.settings)  # type: ignore[call-arg]

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
        known = list(inspect.signature(engines.get(self.name)).parameters)[2:]
        for name in self.settings:
            if name not in known:
                raise unknown(f"setting of engine '{self.name}'", name, known)


class EnginePool:
    """The engines of one model. Workers start with the first chunk and serve any number of `run`s until `close`.

    `workers` is the number of processes. None means one per accelerator (or per group of them that the engine uses), or
    one per core if there are none. With one worker, chunks are sampled in this process.
    """

    def __init__(self, spec: EngineSpec, workers: int | None = None, rows_per_batch: int = 512) -> None:
        spec.check()
        self.model = engines.get(spec.name).identify(spec.model_path, spec.revision, spec.settings)
        self.spec = replace(spec, revision=self.model.revision)  # the commit: all workers load the same files
        self.rows_per_batch = rows_per_batch
        self.places = _places(spec, workers)
        self._engine: Engine | None = None
        self._workers: list[_EngineWorker] = []
        self._description: str | None = None

    @property
    def workers(self) -> int:
        """How many chunks are sampled at once."""
        return len(self.places)

    @property
    def description(self) -> str:
        """The engine with its version, or its bare name if nothing has been sampled yet."""
        return self._description or self.spec.name

    def run(self, chunks: Iterable[Chunk], sampling: Sampling) -> Iterator[tuple[Chunk, Completions]]:
        """Yields each chunk with its completions, in the order in which they are finished.

        An error of a worker is raised here, UsageError as it is and all others as Failure. A killed worker raises a
        Failure that names its exit code. Leaving the iterator early ends the workers.
        """
        if self.workers == 1:
            return self._run_here(chunks, sampling)
        return self._run_in_workers(list(chunks), sampling)

    def _run_here(self, chunks: Iterable[Chunk], sampling: Sampling) -> Iterator[tuple[Chunk, Completions]]:
        for chunk in chunks:
            try:
                if self._engine is None:
                    self._engine = self.spec.make()
                    self._description = self._engine.description
                done = self._engine.sample(chunk, sampling)
            except Exception as error:
                if isinstance(error, UsageError | Failure):
                    raise
                raise Failure(_line(error, chunk.key)) from error
            yield chunk, done

    def _run_in_workers(self, chunks: list[Chunk], sampling: Sampling) -> Iterator[tuple[Chunk, Completions]]:
        todo = deque(chunks)
        running = {chunk.key: chunk for chunk in chunks}
        if len(running) < len(chunks):
            raise ValueError("two chunks have the same key")
        try:
            self._start(min(self.workers, len(chunks)))
            self._give(todo, sampling)
            while running:
                for worker in _ready(self._workers):
                    done = worker.take()
                    self._description = worker.description
                    if done is not None:
                        self._give(todo, sampling)
                        yield running.pop(done[0]), done[1]
        except BaseException:
            self._stop()
            raise

    def _give(self, todo: deque[Chunk], sampling: Sampling) -> None:
        """Gives each idle worker a chunk, and a second one while many are left, so that none waits for its reader."""
        for reserve in (0, 1):
            for worker in self._workers:
                plenty = len(todo) > len(self._workers)
                if todo and worker.outstanding <= reserve and (plenty or not reserve):
                    worker.give(todo.popleft(), sampling)

    def _start(self, number: int) -> None:
        if number and not self._workers:
            atexit.register(self.close)  # else the interpreter would wait for workers that were never closed
        while len(self._workers) < number:
            place = len(self._workers)
            self._workers.append(_EngineWorker(place, self.spec, self.places[place]))

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()
        self._workers = []
        atexit.unregister(self.close)

    def close(self) -> None:
        """Ends the workers and frees their memory. `run` would start them again."""
        self._stop()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def __enter__(self) -> EnginePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_pool(settings: EngineSettings, model_path: str, revision: str | None = None) -> EnginePool:
    """Returns the pool for a suite's `engine`. Raises UsageError for an unknown engine, setting or model."""
    spec = EngineSpec(engines.resolve(settings.name), model_path, revision, dict(settings.settings))
    return EnginePool(spec, settings.workers, settings.rows_per_batch)


def _places(spec: EngineSpec, workers: int | None) -> list[dict[str, str]]:
    """Returns the environment of each worker, which says what accelerators it may see."""
    devices = _devices() if engines.get(spec.name).uses_accelerators else []
    each = engines.get(spec.name).devices_per_worker(spec.settings)
    if not devices:
        return [{} for _ in range(workers or len(os.sched_getaffinity(0)))]
    if len(devices) < each:
        raise UsageError(f"engine '{spec.name}' needs {each} accelerators per worker, but there are {len(devices)}.")
    groups = [devices[i : i + each] for i in range(0, len(devices) - each + 1, each)]
    return [{_VISIBLE: ",".join(groups[i % len(groups)])} for i in range(workers or len(groups))]


def _devices() -> list[str]:
    """Returns the accelerators of this process by the names that CUDA_VISIBLE_DEVICES takes."""
    count = engines.accelerators()
    listed = [name for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return (listed or [str(i) for i in range(count)])[:count]


# ------------------------------------------------------------------------------------------------ the parent's side


class _EngineWorker:
    """A worker process as its parent sees it."""

    def __init__(self, place: int, spec: EngineSpec, environment: dict[str, str]) -> None:
        self.place = place
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(spec, theirs, environment), name=f"{spec.name}-{place}")
        resource_tracker.ensure_running()  # its start, which comes with that of the first process, unblocks signals
        with _interrupts_blocked():  # the mask is inherited: Ctrl-C reaches the parent alone, from the first moment
            self.process.start()
        theirs.close()
        self.outstanding = 0
        """Chunks that were given and are not yet taken back."""
        self.description: str | None = None

    def give(self, chunk: Chunk, sampling: Sampling) -> None:
        """Gives the worker one more chunk."""
        self.outstanding += 1
        with contextlib.suppress(OSError):  # its end is reported by `take`
            self.connection.send((chunk, sampling))

    def take(self) -> tuple[str, Completions] | None:
        """Returns the key and completions of a chunk, or None if the engine is ready. Raises the worker's error."""
        try:
            kind, key, value = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(_GRACE_S)
            raise Failure(f"evaluation worker {self.place} {_end(self.process.exitcode)}.") from error
        if kind == "failed":
            message, details, usage = value
            failure = UsageError(message) if usage else Failure(message)
            failure.add_note(details)
            raise failure
        if kind == "ready":
            self.description = value
            return None
        self.outstanding -= 1
        return key, value

    def end(self) -> None:
        """Waits for a terminated process, and kills it if it does not end."""
        self.connection.close()
        self.process.join(_GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _ready(workers: list[_EngineWorker]) -> list[_EngineWorker]:
    """Waits for workers that have something to say and returns them. The pipe of a dead worker reads as ended."""
    ready = set(wait([worker.connection for worker in workers]))
    return [worker for worker in workers if worker.connection in ready]


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


# ------------------------------------------------------------------------------------------------ the worker's side


def _work(spec: EngineSpec, connection: Connection, environment: dict[str, str]) -> None:
    """Runs a worker: makes the engine, samples chunks as they come, and reports errors."""
    os.environ.update(environment)
    jobs: queue.SimpleQueue[tuple[Chunk, Sampling]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()
    key = ""
    try:
        engine = spec.make()
        connection.send(("ready", key, engine.description))
        while True:
            chunk, sampling = jobs.get()
            key = chunk.key
            connection.send(("done", key, engine.sample(chunk, sampling)))
    except (UsageError, Failure) as error:
        message = (str(error), traceback.format_exc(), isinstance(error, UsageError))
        connection.send(("failed", key, message))
    except Exception as error:  # noqa: BLE001  whatever it was, the parent says it
        connection.send(("failed", key, (_line(error, key), traceback.format_exc(), False)))


def _line(error: Exception, key: str) -> str:
    """Returns one line for an unforeseen error and attaches its traceback."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"sampling failed at {f'chunk {key}' if key else 'loading the model'}: {type(error).__name__}: {first}"


def _receive(connection: Connection, jobs: queue.SimpleQueue[tuple[Chunk, Sampling]]) -> None:
    """Reads at all times, so that the parent never waits for a worker that waits for the parent."""
    while True:
        try:
            jobs.put(connection.recv())
        except (EOFError, OSError):  # the parent is gone: nobody wants what this process is doing
            os._exit(1)
