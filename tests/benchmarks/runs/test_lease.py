"""Leases between real processes: one holder at a time, whoever is killed, stopped, or on another machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.errors import Failure
from benchmarks.runs.lease import FILE, LEASE_S, hold, holder_of

ROOT = Path(__file__).parents[3]
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """Starts processes of lease_user.py and ends those that are left."""
    started = []

    def call(what: str, *rest: object, lease_s: float = LEASE_S, host: str = "here", jump_s: float = 0):
        arguments = [what, tmp_path, lease_s, host, jump_s, *rest]
        command = [sys.executable, "-m", "tests.benchmarks.runs.lease_user", *map(str, arguments)]
        started.append(subprocess.Popen(command, cwd=ROOT))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.wait()


def said(folder: Path) -> list[str]:
    path = folder / "said"
    return path.read_text().splitlines() if path.exists() else []


def wait_for(folder: Path, line: str) -> None:
    until = time.monotonic() + 120
    while not any(one.startswith(line) for one in said(folder)):
        assert time.monotonic() < until, f"nobody said '{line}': {said(folder)}"
        time.sleep(0.02)


def test_one_holder_at_a_time_with_kills(start, tmp_path):
    """A killed holder is followed at once: its process is known to be dead. None of the others is ever disturbed."""
    first = start("turns", 10_000)
    others = [start("turns", 15) for _ in range(2)]
    wait_for(tmp_path, str(others[0].pid))
    first.kill()
    assert [process.wait(timeout=120) for process in others] == [0, 0]
    assert {str(process.pid) for process in others} <= set(said(tmp_path))
    assert not (tmp_path / "run").exists(), "no lease stays behind, nor an empty folder"


def test_who_waits_says_for_whom(start, tmp_path):
    first = start("hold", "first", 600)
    wait_for(tmp_path, "first has it")
    second = start("hold", "second", 0)
    wait_for(tmp_path, f"second waits for {first.pid}")
    holder = holder_of(tmp_path / "run")
    assert holder is not None and holder.pid == first.pid and str(first.pid) in str(holder)
    first.kill()
    first.wait()
    assert second.wait(timeout=120) == 0
    assert said(tmp_path)[-2:] == ["second has it", "second gives it back"]
    assert holder_of(tmp_path / "run") is None


@pytest.mark.parametrize("jump_s", [0, 86_400, -86_400])
def test_a_living_holder_on_another_machine_is_left_alone(start, tmp_path, jump_s):
    """For six times as long as the lease lasts; the one who waits may have a clock that is a day off."""
    start("hold", "far", 6, lease_s=1, host="far")
    wait_for(tmp_path, "far has it")
    near = start("hold", "near", 0, lease_s=1, jump_s=jump_s)
    assert near.wait(timeout=120) == 0
    assert [line for line in said(tmp_path) if "waits" not in line] == [
        "far has it", "far gives it back", "near has it", "near gives it back",
    ]  # fmt: skip


@pytest.mark.parametrize("stamp", [1.0, 4e9])
def test_a_dead_holder_on_another_machine_is_followed(start, tmp_path, stamp):
    """Also if the time of its last sign of life is long ago, or to come, for the clock of the one who waits."""
    far = start("hold", "far", 600, lease_s=1, host="far")
    wait_for(tmp_path, "far has it")
    far.kill()
    os.utime(tmp_path / "run" / FILE, (stamp, stamp))
    assert start("hold", "near", 0, lease_s=1).wait(timeout=120) == 0
    assert said(tmp_path)[-1] == "near gives it back"


def test_who_was_stopped_too_long_has_lost_it(start, tmp_path):
    far = start("hold", "far", 8, lease_s=1, host="far")
    wait_for(tmp_path, "far has it")
    far.send_signal(signal.SIGSTOP)
    near = start("hold", "near", 30, lease_s=1)
    wait_for(tmp_path, "near has it")
    far.send_signal(signal.SIGCONT)
    wait_for(tmp_path, "far lost it")
    assert far.wait(timeout=120) == 0 and "far gives it back" not in said(tmp_path)
    assert "was taken over by another process" in said(tmp_path)[-1] and near.poll() is None


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(Failure, match=r"cannot write .*file/run/\.lease: Not a directory"),
        hold(tmp_path / "file" / "run"),
    ):
        pass
