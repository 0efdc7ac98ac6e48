"""Samples any number of datasets in one stream, without a barrier between chunks, rounds or datasets.

This process only moves things: chunks to the engines, completions to the thread that judges them, verdicts to the
tallies, which say what is sampled next. It sleeps until one of them has something.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from benchmarks.engines.pool import EnginePool
from benchmarks.errors import Failure
from benchmarks.evaluation.dataset_run import DatasetRun
from benchmarks.evaluation.plan import PlannedChunk
from benchmarks.evaluation.verifying import Verifying
from benchmarks.progress import Progress, Stage
from benchmarks.seeds import derive
from benchmarks.settings import Sampling


def sample_all(pool: EnginePool | None, runs: Sequence[DatasetRun], sampling: Sampling, progress: Progress) -> None:
    """Samples until the design stops every problem, and finishes each run as soon as it is complete.

    `pool` may be None if nothing is lacking. After an error or an interrupt, what is whole is stored first.
    """
    if not runs:
        return
    names = ", ".join(run.question.dataset for run in runs)
    with progress.stage(f"sample {names}", unit="completions") as stage:
        _Stream(pool, runs, sampling, stage).run()


class _Stream:
    def __init__(self, pool: EnginePool | None, runs: Sequence[DatasetRun], sampling: Sampling, stage: Stage) -> None:
        self.pool, self.all, self.sampling, self.stage = pool, tuple(runs), sampling, stage
        self.runs = list(runs)
        """Those that are not complete."""
        self.skipped = 0
        self.places: dict[int, tuple[DatasetRun, PlannedChunk]] = {}
        """By the identity of each chunk that is sampled: two datasets may have equal ones."""
        self.clock = time.monotonic()

    def run(self) -> None:
        """Runs the stream to its end."""
        rows, seed = 512, None
        if self.pool is not None:
            rows = self.pool.rows_per_chunk
            if self.pool.streams:
                seed = self.pool.seed = stream_seed(self.runs)
        for run in self.runs:
            run.begin(rows, seed)
        self._skip()
        self._show_total()
        with Verifying() as verifying, _saved(self.runs):
            self._finish_complete()
            while self.runs:
                assert self.pool is not None, "the caller saw to it that nothing is lacking"
                self._step(self.pool, verifying)

    def _step(self, pool: EnginePool, verifying: Verifying) -> None:
        """Hands out what can be sampled, and waits for completions or verdicts."""
        while (run := self._next_run()) is not None and pool.wants_more(self._chunks_left()):
            planned = run.take()
            self.places[id(planned.chunk)] = run, planned
            pool.submit(planned.chunk, self.sampling)
        for chunk, sampled in pool.collect(verifying.wake):
            run, planned = self.places.pop(id(chunk))
            verifying.put(run.job(planned, sampled))
        for job, judged in verifying.take():
            run, planned, flat = job.what
            run.keep(planned, flat, judged, self._lap(run), pool.description)
            run.verify_s = verifying.seconds
            self.stage.advance(len(flat))
            self._skip()
            self._show_total()
        self._finish_complete()

    def _next_run(self) -> DatasetRun | None:
        """Returns the dataset whose next chunk has the lowest round: what follows on it is not known yet."""
        ready = [run for run in self.runs if run.next_round is not None]
        return min(ready, key=lambda run: run.next_round or 0, default=None)

    def _chunks_left(self) -> int:
        return sum(run.chunks_left for run in self.runs)

    def _show_total(self) -> None:
        """Shows what is known to be sampled. More rounds may follow."""
        sampling = sum(planned.chunk.rows for _, planned in self.places.values())
        self.stage.update(total=self.stage.done + sampling + sum(run.waiting for run in self.runs))

    def _skip(self) -> None:
        """Shows what was found stored since the last call."""
        resumed = sum(run.resumed for run in self.all)
        if resumed > self.skipped:
            self.stage.skip(resumed - self.skipped)
            self.skipped = resumed

    def _lap(self, run: DatasetRun) -> float:
        """Returns the seconds since something was last kept, which go to the dataset that is kept now."""
        now = time.monotonic()
        lap, self.clock = now - self.clock, now
        run.wait_s += lap
        return lap

    def _finish_complete(self) -> None:
        for run in [run for run in self.runs if run.scheduler.done]:
            run.finish()
            self.runs.remove(run)
        for run in self.runs:
            run.save()


def stream_seed(runs: Sequence[DatasetRun]) -> int:
    """Returns the seed of engines that are seeded once: the hash of what is asked and of how much of it is stored.

    An evaluation that goes on after a kill has more stored than when it began, so it repeats no sample that is kept.
    """
    return derive("stream", *(part for run in runs for part in (run.question.hash, run.stored)))


@contextlib.contextmanager
def _saved(runs: Sequence[DatasetRun]) -> Iterator[None]:
    """Stores what is whole, whatever ends the block. An error in doing so must not hide the first one."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Failure):
            for run in runs:
                run.save(now=True)  # a run that is finished has nothing left to write
        raise
