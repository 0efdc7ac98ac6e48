"""A suite whose trials take seconds, and the workers of a study on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.runs.lease import Holder, holder_of
from tests.benchmarks.micro import write

ROOT = Path(__file__).parents[2]
SWEEP: dict[str, Any] = {
    "tokens": 1200, "trials": 4, "samples": 4, "repeats": 2, "finalists": 1, "most_seeds": 2, "random_trials": 2,
    "dataset": {"task": "countdown", "split": "validation", "problems": 4},
}  # fmt: skip
PATIENCE_S = 280


def suite(folder: Path, **changes: Any) -> Path:
    """The suite as a file."""
    return write(folder, {"sweep": {**SWEEP, **changes}})


class Workers:
    """Processes that work on one study."""

    def __init__(self, folder: Path, storage: str = "") -> None:
        self.folder, self.storage = folder, storage
        self.out, self.suite = folder / "runs", suite(folder)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, number: int = 1) -> None:
        """Starts so many."""
        command = [sys.executable, "-m", "benchmarks", "sweep-worker", "--algos", "grpo", "--heartbeat", "2"]
        command += ["--suite", str(self.suite), "--out", str(self.out), "--workers", "1"]
        environment = {**os.environ, "RLVR_GAP_STORAGE": self.storage, "OMP_NUM_THREADS": "1"}
        for _ in range(number):
            with (self.folder / f"worker-{len(self.started)}.log").open("wb") as log:
                self.started.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment))

    @property
    def home(self) -> Path:
        """The study's folder."""
        return next((self.out / "micro" / "sweeps").glob("grpo-*/study.json")).parent

    def kill_one_that_trains(self) -> str:
        """SIGKILL for a worker whose trial has begun to train; returns the trial's name."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            for log in (self.out / "micro" / "sweeps").glob("grpo-*/trials/*/train/log.jsonl"):
                name, lease = log.parents[1].name, log.parents[3] / "running" / log.parents[1].name
                holder: Holder | None = holder_of(lease)
                if holder is not None and log.stat().st_size:
                    os.kill(holder.pid, signal.SIGKILL)
                    return name
            assert any(one.poll() is None for one in self.started), self.said()
            time.sleep(0.05)
        raise AssertionError(f"no worker trains: {self.said()}")

    def end(self) -> list[int]:
        """Waits for all, and returns their exit codes."""
        try:
            return [one.wait(PATIENCE_S) for one in self.started]
        finally:
            for one in self.started:
                if one.poll() is None:
                    one.kill()

    def said(self) -> str:
        """The last lines of all logs."""
        logs = sorted(self.folder.glob("worker-*.log"))
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in logs)
