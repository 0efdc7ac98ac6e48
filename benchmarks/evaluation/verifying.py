"""Judges completions in a thread of its own, so that engines never wait for a verifier.

A verifier with worker processes, such as `math`, judges truly beside the sampling. One that computes in Python shares
the interpreter with an engine in the same process, and costs it as much time as before.

The verifier is called outside of the main thread, where Python delivers no signals.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.evaluation.grading import extract, judge
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict, Verifier

WAITING_ROWS = 4096
"""With so many completions not yet judged, sampling waits: a kill loses them."""
_AT_ONCE = 2048
_PATIENCE_S = 5.0

Graded = tuple[list[Verdict], list[bool | None], list[str | None]]
"""Of each completion: the verdict, whether its chain holds, and the answer that it states (`grading.py`)."""


@dataclass(frozen=True)
class Job:
    """Completions of one chunk to be judged. `what` is handed back with the verdicts."""

    verifier: Verifier
    problems: Sequence[Problem]
    texts: Sequence[str]
    finished: Sequence[bool]
    what: Any = field(repr=False)


class Verifying:
    """The thread, which runs within the `with` block. Verdicts come back in the order of the jobs."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """Time that the thread spent on judging."""
        self._jobs: deque[Job] = deque()
        self._done: deque[tuple[Job, Graded]] = deque()
        self._pending = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="verifying", daemon=True)

    @property
    def pending(self) -> int:
        """The number of jobs whose verdicts were not yet taken."""
        return self._pending

    @property
    def wake(self) -> int:
        """A file descriptor that can be read from whenever `take` has something to return or to raise."""
        return self._read

    def put(self, job: Job) -> None:
        """Adds a job. Waits while too many completions are not yet judged."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or sum(len(j.texts) for j in self._jobs) < WAITING_ROWS)
            self._jobs.append(job)
            self._pending += 1
            self._changed.notify_all()

    def take(self) -> list[tuple[Job, Graded]]:
        """Returns the verdicts that are there, without waiting. Raises what a verifier has raised."""
        with self._changed:
            if self._error is not None:
                raise self._error
            if not self._done:
                return []
            os.read(self._read, 1)
            done, self._done = list(self._done), deque()
            self._pending -= len(done)
            return done

    def _work(self) -> None:
        while (jobs := self._next()) is not None:
            began = time.monotonic()
            try:
                judged = self._judge(jobs)
            except BaseException as error:  # noqa: BLE001  raised again by `take`, in the thread that can handle it
                self._tell([], error)
                return
            self.seconds += time.monotonic() - began
            self._tell(list(zip(jobs, judged, strict=True)), None)

    def _next(self) -> list[Job] | None:
        """Waits for jobs and returns the first ones of one verifier, so that all of its processes have work."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._ended)
            if self._ended:
                return None
            jobs = [self._jobs.popleft()]
            while self._jobs and self._jobs[0].verifier is jobs[0].verifier and _rows(jobs) < _AT_ONCE:
                jobs.append(self._jobs.popleft())
            self._changed.notify_all()
            return jobs

    @staticmethod
    def _judge(jobs: list[Job]) -> list[Graded]:
        problems = [problem for job in jobs for problem in job.problems]
        texts = [text for job in jobs for text in job.texts]
        finished = [flag for job in jobs for flag in job.finished]
        verdicts, chains = judge(jobs[0].verifier, problems, texts, finished)
        answers = extract(jobs[0].verifier, problems, texts)
        found, start = [], 0
        for job in jobs:
            rows = slice(start, start + len(job.texts))
            found.append((verdicts[rows], chains[rows], answers[rows]))
            start = rows.stop
        return found

    def _tell(self, done: list[tuple[Job, Graded]], error: BaseException | None) -> None:
        with self._changed:
            if not self._done and not self._ended:  # one byte for all that has not been taken
                os.write(self._write, b".")
            self._done.extend(done)
            self._error = error
            self._changed.notify_all()

    def __enter__(self) -> Verifying:
        self._read, self._write = os.pipe()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE_S)  # after an interrupt, what is being judged need not end
        os.close(self._read)
        os.close(self._write)


def _rows(jobs: Sequence[Job]) -> int:
    return sum(len(job.texts) for job in jobs)
