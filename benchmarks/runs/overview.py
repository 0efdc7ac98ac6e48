"""The state of every cell in a folder of runs, read from its files alone: the cells may run on other machines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure, UsageError
from benchmarks.records.schema import Record, read_record
from benchmarks.runs import grid_plan, home, status
from benchmarks.runs.lease import holder_of
from benchmarks.runs.run_folder import RECORD, SPEC

WAITING, QUEUED, RUNNING, DONE, FAILED, DIVERGED = "waiting", "queued", "running", "done", "failed", "diverged"
STATES = (WAITING, QUEUED, RUNNING, DONE, FAILED, DIVERGED)


@dataclass(frozen=True)
class CellState:
    """One row of `rlvr-gap status`."""

    suite: str
    """The name of the folder of the suite's runs."""
    cell: str
    state: str
    said: str = ""
    """Why it failed, diverged or stopped; how far it is."""
    share: float | None = None
    """Of the stage that runs."""
    left_s: float | None = None
    """Time until the stage that runs is over."""
    where: str = ""
    """Machine and process, or the job's number."""
    log: str = ""
    seconds: float = 0.0
    """Wall clock so far, all attempts together; of a finished cell, that of training and evaluation."""
    tokens: int = 0
    """Generated so far."""

    def to_json(self) -> dict[str, Any]:
        """For `status --json`."""
        return asdict(self)


def overview(out: Path, jobs: Mapping[str, str] | None = None) -> list[CellState]:
    """All cells under OUT, or in one suite's folder of it. UsageError if there are none.

    `jobs`: the cluster's queue, where it is known, so that a job that has left it is not shown as queued for ever.
    """
    homes = [out] if _is_home(out) else sorted(path for path in _folders(out) if _is_home(path))
    if not homes:
        raise UsageError(f"{out} holds no runs: expected OUT of a grid or bench, or the folder of a suite in it.")
    return [state for folder in homes for state in states(folder, jobs)]


def states(folder: Path, jobs: Mapping[str, str] | None = None) -> list[CellState]:
    """The cells of one suite's folder: those that grids have planned, in their order, and then all others."""
    planned = grid_plan.read_plan(folder)
    others = sorted(path.parent.name for path in folder.glob(f"*/{SPEC}"))
    return [state_of(folder / name, planned.get(name, {}), jobs) for name in dict.fromkeys([*planned, *others])]


def state_of(folder: Path, planned: Mapping[str, str] = {}, jobs: Mapping[str, str] | None = None) -> CellState:
    """The state of the cell in the folder."""
    found: dict[str, Any] = {"suite": folder.parent.name, "cell": folder.name, "log": planned.get("log", "")}
    if (folder / RECORD).exists():
        return CellState(**found, **_recorded(folder, planned))
    said = status.read_status(folder)
    if said is None:
        held = holder_of(folder) if folder.is_dir() else None
        return CellState(**found, state=WAITING if held is None else RUNNING, where=str(held or ""))
    found |= {"log": said.log or found["log"], "where": f"job {said.job}" if said.job else said.where or ""}
    if said.state == status.RUNNING and holder_of(folder) is not None:
        return CellState(**found, **_running(folder, said))
    so_far: dict[str, Any] = {"seconds": said.seconds, "tokens": status.training_tokens(folder)}
    return CellState(**found, **so_far, **_not_running(said, jobs))


def _recorded(folder: Path, planned: Mapping[str, str]) -> dict[str, Any]:
    try:
        record = read_record(folder / RECORD)
    except Failure as error:
        return {"state": FAILED, "said": str(error)}
    if planned and record.spec_hash != planned["spec_hash"]:
        return {"state": FAILED, "said": "its record is of another spec: remove the folder, or choose another OUT"}
    seconds, tokens = spent(record)
    if record.diverged:
        assert record.training is not None
        why = record.training.diverged_because or ""
        return {"state": DIVERGED, "said": why, "seconds": seconds, "tokens": tokens}
    return {"state": DONE, "seconds": seconds, "tokens": tokens}


def spent(record: Record) -> tuple[float, int]:
    """Seconds and generated tokens of training and all evaluations."""
    evaluations = [*record.evaluations.values(), *(e for p in record.points.values() for e in p.evaluations.values())]
    seconds, tokens = sum(e.seconds or 0.0 for e in evaluations), sum(e.tokens or 0 for e in evaluations)
    if (training := record.training) is not None:
        seconds += sum(training.seconds.values())
        tokens += training.tokens + training.discarded.tokens + training.greedy.tokens
    return seconds, tokens


def _running(folder: Path, said: status.Status) -> dict[str, Any]:
    total = f"/{said.total:.0f}" if said.total else ""
    note = f"; {said.note}" if said.note else ""
    return {
        "state": RUNNING,
        "said": f"{said.stage}: {said.done:.0f}{total} {said.unit}".strip() + note if said.stage else "starts",
        "share": said.done / said.total if said.total else None,
        "left_s": said.left_s,
        "seconds": said.seconds + max(0.0, time.time() - said.updated),
        "tokens": status.training_tokens(folder),
    }


def _not_running(said: status.Status, jobs: Mapping[str, str] | None) -> dict[str, Any]:
    in_queue = jobs is not None and said.job is not None and said.job in jobs
    if said.state == status.FAILED:
        return {"state": FAILED, "said": said.said}
    if in_queue:
        return {"state": QUEUED, "said": "" if said.state == status.QUEUED else "queued again; it goes on where it was"}
    if said.state == status.QUEUED:
        gone = jobs is not None and bool(said.job)
        why = f"job {said.job} has left the queue before it began (cancelled, or what it needs failed)"
        return {"state": FAILED, "said": why} if gone else {"state": QUEUED, "said": ""}
    if said.state == status.STOPPED:
        if jobs is not None and said.job is not None:
            return {
                "state": FAILED,
                "said": f"job {said.job} has left the queue (cancelled?); the same command goes on",
            }
        return {"state": WAITING, "said": said.said}
    return {"state": FAILED, "said": "it ended without a word (killed?); the same command goes on"}


def _is_home(path: Path) -> bool:
    return (path / grid_plan.FILE).exists() or (path / home.FILE).exists() or any(path.glob(f"*/{SPEC}"))


def _folders(path: Path) -> list[Path]:
    return [one for one in path.iterdir() if one.is_dir()] if path.is_dir() else []
