"""Shares chunks among worker processes with an engine each, and hands results back as they arrive.

Chunks can be submitted at any time, so an evaluation that learns from results what to sample next never has to wait for
the others. With one worker, the engine is in this process. `worker.py` has what a worker process is.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from benchmarks import engines
from benchmarks.engines.base import Chunk, Completions, StreamingEngine
from benchmarks.engines.settings import EngineSettings
from benchmarks.engines.worker import EngineSpec, EngineWorker, Here, told
from benchmarks.errors import UsageError
from benchmarks.seeds import derive
from benchmarks.settings import Sampling

__all__ = ["EnginePool", "EngineSpec", "open_pool"]

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class EnginePool:
    """The engines of one model. They start with the first chunk and serve until `close`.

    `workers` is the number of processes. None means one per accelerator (or per group of them that the engine uses), or
    one per core if there are none. With one worker, the engine is in this process.
    """

    def __init__(self, spec: EngineSpec, workers: int | None = None, rows_per_batch: int = 512) -> None:
        spec.check()
        self.model = engines.get(spec.name).identify(spec.model_path, spec.revision, spec.settings)
        self.spec = replace(spec, revision=self.model.revision)  # the commit: all workers load the same files
        self.rows_per_batch = rows_per_batch
        self.places = _places(spec, workers)
        self.seed = 0
        """Seeds the engines of a `StreamingEngine`. Set it before the first chunk; later it has no effect."""
        self._here: Here | None = None
        self._workers: list[EngineWorker] = []
        self._running: dict[int, Chunk] = {}
        self._numbers = itertools.count()
        self._description: str | None = None

    @property
    def workers(self) -> int:
        """How many engines there are."""
        return len(self.places)

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that run; empty if the engine is in this process."""
        return [pid for worker in self._workers if (pid := worker.process.pid) is not None]

    @property
    def streams(self) -> bool:
        """Whether the engines take chunks at any time and are seeded once."""
        return self.spec.streams

    @property
    def rows_per_chunk(self) -> int:
        """The largest chunk that these engines should get."""
        made_by = engines.get(self.spec.name)
        return made_by.rows_per_chunk if issubclass(made_by, StreamingEngine) else self.rows_per_batch

    @property
    def description(self) -> str:
        """The engine with its version, or its bare name if nothing has been sampled yet."""
        return self._description or self.spec.name

    @property
    def outstanding(self) -> int:
        """The number of chunks that were submitted and are not yet collected."""
        return len(self._running)

    # ---------------------------------------------------------------- a stream of chunks

    def wants_more(self, left: int = 0) -> bool:
        """Tells whether to submit one more of the `left` chunks that wait, so that no engine is idle.

        A worker gets a second chunk while many are left, so that it need not wait for its reader.
        """
        if self.workers == 1:
            return self._here is None or self._here.wants_more
        if len(self._workers) < self.workers:
            return True
        reserve = left > len(self._workers)
        return any(worker.wants_more(reserve) for worker in self._workers)

    def submit(self, chunk: Chunk, sampling: Sampling) -> None:
        """Gives the chunk to the engine with the least work. Raises UsageError for a model that cannot be loaded."""
        number = next(self._numbers)
        self._running[number] = chunk
        if self.workers == 1:
            with self._ending_on_error(), told(chunk):
                self._here = self._here or Here(self.spec, self.seed)
                self._description = self._here.engine.description
                self._here.give(number, chunk, sampling)
            return
        with self._ending_on_error():
            if len(self._workers) < self.workers and all(worker.outstanding for worker in self._workers):
                self._start_one()
            min(self._workers, key=lambda worker: worker.load).give(number, chunk, sampling)

    def collect(self, wake: Any = None) -> list[tuple[Chunk, Completions]]:
        """Returns chunks that are complete. Waits for one, or until something can be read from `wake`.

        An error of a worker is raised here, UsageError as it is and all others as Failure. A killed worker raises a
        Failure that names its exit code. An error ends all workers.
        """
        also = [] if wake is None else [wake]
        if not self._running:
            if also:
                wait(also)
            return []
        with self._ending_on_error():
            done = self._collect_here() if self._here is not None else self._collect_from_workers(also)
        return [(self._running.pop(number), completions) for number, completions in done]

    def _collect_here(self) -> list[tuple[int, Completions]]:
        assert self._here is not None
        with told(*self._running.values()):
            done = self._here.collect()
        self._description = self._here.engine.description  # it can change, as when memory was short
        return done

    def _collect_from_workers(self, also: list[Any]) -> list[tuple[int, Completions]]:
        ready = set(wait([worker.connection for worker in self._workers] + also))  # a dead worker's pipe has ended
        done = [(worker, worker.take()) for worker in self._workers if worker.connection in ready]
        self._description = next((w.description for w in self._workers if w.description), self._description)
        return [found for _, found in done if found is not None]

    def run(self, chunks: Iterable[Chunk], sampling: Sampling) -> Iterator[tuple[Chunk, Completions]]:
        """Yields each chunk with its completions, in the order in which they are finished.

        The errors are those of `collect`. Leaving the iterator early ends the workers.
        """
        todo = deque(chunks)
        try:
            while todo or self._running:
                while todo and self.wants_more(len(todo)):
                    self.submit(todo.popleft(), sampling)
                yield from self.collect()
        except BaseException:
            self._stop()
            raise

    # ---------------------------------------------------------------- the workers

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stop()
            raise

    def _start_one(self) -> None:
        if not self._workers:
            atexit.register(self.close)  # else the interpreter would wait for workers that were never closed
        place = len(self._workers)
        self._workers.append(EngineWorker(place, self.spec, self.places[place], derive("engine", self.seed, place)))

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()
        self._workers = []
        self._running = {}
        if self._here is not None and self._here.in_progress:
            self._close_here()
        atexit.unregister(self.close)

    def _close_here(self) -> None:
        if self._here is not None:
            self._here.engine.close()
            self._here = None

    def close(self) -> None:
        """Ends the workers and frees their memory. A further chunk would start them again."""
        self._stop()
        self._close_here()

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
    if spec.streams and not engines.get(spec.name).uses_accelerators:
        return [{} for _ in range(workers or 1)]  # it computes elsewhere, and takes any number of chunks
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
