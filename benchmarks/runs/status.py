"""How far a cell is, as files say it, so that it can be seen from any machine that shares the disk.

The process that runs a cell writes `status.json` in its folder every few seconds. A finished cell has none, because its
record says everything. A cell whose status says `running` but whose lease nobody holds was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.errors import Failure, UsageError
from benchmarks.files import loads_strict, read_text, write_json_atomic
from benchmarks.progress import Progress, Stage
from benchmarks.runs.run_folder import TRAIN

FILE = "status.json"
EVERY_S = 2.0
"""At most one write in this time."""
RUNNING, QUEUED, FAILED, STOPPED = "running", "queued", "failed", "stopped"


@dataclass(frozen=True)
class Status:
    """What a status file says."""

    state: str
    """running, queued (with a job's number), failed, or stopped (by a signal; it goes on when it is run again)."""
    log: str | None = None
    job: str | None = None
    """Number of the cluster's job."""
    where: str | None = None
    """Machine and process."""
    said: str = ""
    """The last line of the error, or why it stopped."""
    stage: str = ""
    done: float = 0.0
    total: float | None = None
    unit: str = ""
    left_s: float | None = None
    note: str = ""
    """Of a training: its last step's reward, accuracy, entropy and completion length."""
    seconds: float = 0.0
    """Wall clock that all attempts have taken so far."""
    attempts: int = 0
    updated: float = 0.0
    """Seconds since 1970."""


def read_status(folder: Path) -> Status | None:
    """The folder's status; None if it has none, or one that cannot be read."""
    path = folder / FILE
    try:
        return Status(**loads_strict(read_text(path)))
    except (Failure, ValueError, TypeError):
        return None


def write_status(folder: Path, status: Status) -> None:
    """Writes the folder's status. A disk that is full must not end a run for its status alone: nothing is raised."""
    with contextlib.suppress(Failure):
        write_json_atomic(folder / FILE, asdict(replace(status, updated=round(time.time(), 3))), durable=False)


class Reporter:
    """Writes a cell's status while its process works on it."""

    def __init__(self, folder: Path) -> None:
        before = read_status(folder)
        self._folder, self._began, self._last = folder, time.monotonic(), float("-inf")
        self._spent = before.seconds if before else 0.0
        job = os.environ.get("SLURM_JOB_ID") and _job()
        self.status = Status(
            RUNNING, log=before.log if before else None, job=job, attempts=(before.attempts if before else 0) + 1,
            where=f"{socket.gethostname()}:{os.getpid()}",
        )  # fmt: skip
        self.write()

    @classmethod
    def attach(cls, folder: Path) -> Reporter:
        """Reports for another process, which has begun the cell and waits for this one."""
        begun = read_status(folder)
        reporter = cls(folder)
        if begun is not None:
            reporter.status = replace(reporter.status, attempts=begun.attempts, where=begun.where)
        return reporter

    def write(self, **changes: object) -> None:
        """Writes the status with the changes and the time that was spent."""
        seconds = round(self._spent + time.monotonic() - self._began, 3)
        self.status = replace(self.status, seconds=seconds, **changes)  # type: ignore[arg-type]
        write_status(self._folder, self.status)
        self._last = time.monotonic()

    def hear(self, stage: Stage) -> None:
        """A stage has advanced."""
        if time.monotonic() - self._last < EVERY_S and stage.name == self.status.stage:
            return
        left = None
        if stage.rate and stage.total is not None:
            left = round(max(0.0, stage.total - stage.done) / stage.rate, 1)
        done = {
            "stage": stage.name,
            "done": stage.done,
            "total": stage.total,
            "unit": stage.unit,
            "left_s": left,
            "note": stage.note,
        }
        self.write(said="", **done)


@contextlib.contextmanager
def reporting(folder: Path, progress: Progress) -> Iterator[Reporter]:
    """Within the block, the folder's status follows `progress`. At its end there is none, or one that says why."""
    reporter, before = Reporter(folder), progress.listener
    progress.listener = reporter.hear
    try:
        yield reporter
    except KeyboardInterrupt:
        reporter.write(state=STOPPED, said="it was interrupted; the same command goes on")
        raise
    except BaseException as error:
        reporter.write(state=FAILED, said=last_line(error))
        raise
    else:
        with contextlib.suppress(OSError):
            (folder / FILE).unlink(missing_ok=True)
    finally:
        progress.listener = before


def last_line(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    return (text if isinstance(error, Failure | UsageError) else f"{type(error).__name__}: {text}")[:500]


def training_tokens(folder: Path) -> int:
    """Tokens that a training under way has generated: of the last whole line of its log."""
    path = folder / TRAIN / "log.jsonl"
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            lines = file.read().splitlines()
        return int(json.loads(lines[-1])["cost/tokens"])
    except (OSError, ValueError, KeyError, IndexError):
        return 0


def _job() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
