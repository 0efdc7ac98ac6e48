"""One test's suite, resources and folder of runs on the cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.micro import write

ROOT = Path(__file__).parents[2]
PATIENCE_S = 900.0


class Lab:
    """A suite, resources and a folder of runs, and SLURM's and our commands on them."""

    def __init__(self, folder: Path, environment: dict[str, str], changes: dict[str, Any], **resources: Any) -> None:
        self.folder, self.environment, self.runs = folder, environment, folder / "runs" / "micro"
        self.suite = write(folder, changes)
        asked = {"partition": "low", "time_min": 10, "signal_s": 20, "cpus": 1} | resources
        (folder / "cluster.yaml").write_text(yaml.safe_dump(asked))

    def start(self, *command: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def grid(self, *more: str) -> subprocess.Popen[str]:
        return self.submit("grid", *more)

    def submit(self, command: str, *more: str) -> subprocess.Popen[str]:
        options = ["--suite", self.suite, "--out", self.folder / "runs", "--cluster", self.folder / "cluster.yaml"]
        return self.start(sys.executable, "-m", "benchmarks", command, "--launcher", "slurm", *options, *more)

    def say(self, *command: object) -> str:
        process = self.start(*command)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    def states(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.say(sys.executable, "-m", "benchmarks", "status", self.runs, "--json"))
        return {row["cell"]: row for row in rows}

    def queue(self) -> list[str]:
        return self.say("squeue", "-h", "-r", "-o", "%i %T").splitlines()

    def starts(self, cell: str) -> int:
        """How often the cell's command was started."""
        return (self.runs / "logs" / f"{cell}.log").read_text().count("$ rlvr-gap bench")

    def wait(self, what: str, condition: Callable[[], Any]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"waited for {what}; the queue: {self.queue()}; {self.states()}"
            time.sleep(0.5)
