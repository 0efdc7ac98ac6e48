"""Kills processes of a running grid at random points, and compares what it ends with to a grid that was left alone."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.files import file_sha256
from benchmarks.records.schema import read_record

ROOT = Path(__file__).parents[2]
TAG = "RLVR_GAP_TEST_FAULTS"
"""Environment variable that the processes of one grid have in common, whoever started them."""
_NOT_COMPARED = ("provenance", "completions_file", "seconds", "load", "peak_memory_bytes")


class Killer:
    """Runs `command` until it succeeds, and meanwhile kills one process after another: runners, cells, workers."""

    def __init__(self, command: list[str], out: Path, rng: random.Random) -> None:
        self.command, self.out, self.rng = command, out, rng
        self.tag = secrets.token_hex(8)
        self.runners: list[subprocess.Popen[bytes]] = []
        self.kills = self.starts = 0
        self.killed: Callable[[int], None] = lambda kills: None

    def run(self, kills: int) -> None:
        """Kills at most so many processes; the grid may be done before."""
        try:
            while self._start() and self.kills < kills:
                if self._wait_for_the_moment():
                    self._kill_one()
            before = self.starts
            while self._start():  # nobody kills any more
                assert self.starts <= before + 5, "the grid fails again and again, although nobody disturbs it"
                time.sleep(0.2)
        finally:
            self._kill_all()

    def _start(self) -> bool:
        """Sees to it that a runner runs, sometimes two; False once one has succeeded and all have ended."""
        self.runners = [one for one in self.runners if one.poll() is None or one.returncode == 0]
        if any(one.returncode == 0 for one in self.runners):
            return bool(self._alive())
        wanted = 2 if self.rng.random() < 0.05 else 1
        for _ in range(wanted - len(self.runners)):
            command = [*self.command, "--retry", self.rng.choice("02")]
            self.starts += 1
            with (self.out.parent / f"{self.out.name}.said").open("a") as said:
                self.runners.append(
                    subprocess.Popen(command, cwd=ROOT, env={**os.environ, TAG: self.tag}, stdout=said, stderr=said)
                )
        return True

    def _wait_for_the_moment(self) -> bool:
        """Until so many files have changed, or some time has gone by: most moments are those in which things happen."""
        changes, soon = self.rng.randint(1, 30), self.rng.random() < 0.2
        until = time.monotonic() + (self.rng.uniform(0, 2) if soon else 60)
        before, seen = self._files(), 0
        while seen < changes and time.monotonic() < until and any(one.poll() is None for one in self.runners):
            time.sleep(0.005)
            now = self._files()
            seen, before = seen + len(now ^ before), now
        return any(one.poll() is None for one in self.runners)

    def _files(self) -> set[tuple[str, int]]:
        found = set()
        for folder, _, names in os.walk(self.out):
            for name in names:
                with contextlib.suppress(OSError):
                    path = os.path.join(folder, name)
                    found.add((path, os.stat(path).st_mtime_ns))
        return found

    def _kill_one(self) -> None:
        if alive := self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(alive), signal.SIGKILL)
                self.kills += 1
                self.killed(self.kills)
        for one in self.runners:
            one.poll()

    def _alive(self) -> list[int]:
        """The processes of this grid, also those whose parent was killed."""
        mark = f"{TAG}={self.tag}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return sorted(found)

    def _kill_all(self) -> None:
        while alive := self._alive():
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for one in self.runners:
                one.poll()
            time.sleep(0.05)


def grid(suite: Path, out: Path, *more: str) -> list[str]:
    """The command of a grid with two cells side by side."""
    options = ["--suite", str(suite), "--out", str(out), "--jobs", "2", "--quiet"]
    return [sys.executable, "-m", "benchmarks", "grid", *options, *more]


def results(home: Path) -> dict[str, Any]:
    """All that a grid's records say, but for times, versions and memory; and the files that they were made from."""
    found: dict[str, Any] = {}
    for path in sorted(home.glob("*/record.json")):
        cell = path.parent
        found[cell.name] = {
            "record": _comparable(read_record(path).to_json()),
            "completions": {
                str(one.relative_to(cell)): pq.read_table(one).to_pylist()
                for one in sorted(cell.rglob("completions.parquet"))
            },
            "files": {
                str(one.relative_to(cell)): file_sha256(one)
                for pattern in ("counts.jsonl", "log.jsonl", "final/*.safetensors")
                for one in sorted(cell.rglob(pattern))
            },
        }
    return found


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(one) for key, one in value.items() if key not in _NOT_COMPARED}
    return value


def left_over(home: Path) -> list[str]:
    """What a finished cell's folder must not hold any more."""
    patterns = ("*/.lease", "*/status.json", "*/.*.tmp", "*/eval/*/shards", "*/eval/*/.*", "*/train/pause")
    return [str(path.relative_to(home)) for pattern in patterns for path in home.glob(pattern)]
