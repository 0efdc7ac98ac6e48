"""The states of cells, from the files that they leave in each of them."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from benchmarks.errors import Failure, UsageError
from benchmarks.progress import Progress
from benchmarks.runs import grid_plan, home, status
from benchmarks.runs.lease import FILE, hold, holder_of
from benchmarks.runs.overview import overview, state_of
from benchmarks.runs.run_folder import Place, write_spec
from benchmarks.runs.status import Status, read_status, reporting, write_status
from benchmarks.suites.schema import parse
from tests.benchmarks.micro import data

SUITE = parse(data())
HERE = f"{socket.gethostname()}:{os.getpid()}"


def state(folder: Path, jobs: dict[str, str] | None = None) -> tuple[str, str]:
    found = state_of(folder, jobs=jobs)
    return found.state, found.said


def test_a_cell_that_nobody_has_begun(tmp_path):
    assert state(tmp_path / "grpo-s0") == ("waiting", "")


def test_a_living_cell_runs_and_a_killed_one_has_failed(tmp_path):
    folder = tmp_path / "grpo-s0"
    with hold(folder):
        progress = {"stage": "train", "done": 3, "total": 12, "unit": "steps", "left_s": 9}
        write_status(folder, Status(status.RUNNING, where=HERE, **progress))
        found = state_of(folder)
        assert (found.state, found.said, found.share, found.left_s) == ("running", "train: 3/12 steps", 0.25, 9)
        write_status(folder, Status(status.STOPPED, said="somebody whom this one has followed"))
        assert state(folder) == ("running", "starts")
        write_status(folder, Status(status.RUNNING, where=HERE, **progress))
    killed = state_of(folder)
    assert killed.state == "failed" and "without a word" in killed.said


@pytest.mark.parametrize(
    "written, jobs, expected",
    [
        (Status(status.QUEUED, job="7_1"), {"7_1": "PENDING"}, "queued"),
        (Status(status.QUEUED, job="7_1"), None, "queued"),
        (Status(status.QUEUED, job="7_1"), {"7_2": "PENDING"}, "failed"),
        (Status(status.QUEUED, job="7_1"), {"7_1": "RUNNING"}, "running"),
        (Status(status.RUNNING, job="7_1"), {"7_1": "RUNNING"}, "running"),
        (Status(status.QUEUED), {}, "waiting"),
        (Status(status.STOPPED, job="7", said="interrupted"), {"7": "PENDING"}, "queued"),
        (Status(status.STOPPED, job="7", said="interrupted"), {}, "failed"),
        (Status(status.STOPPED, said="interrupted"), {}, "waiting"),
        (Status(status.RUNNING, job="7"), {"7": "PENDING"}, "queued"),
        (Status(status.RUNNING, job="7"), {}, "failed"),
        (Status(status.FAILED, said="no space"), {}, "failed"),
    ],
)
def test_what_the_queue_says_of_a_cell_that_does_not_run(tmp_path, written, jobs, expected):
    write_status(tmp_path / "cell", written)
    found, said = state(tmp_path / "cell", jobs)
    assert found == expected and (found != "failed" or said)


def test_a_job_that_ended_before_it_began_names_its_log(tmp_path):
    """Its set-up failed, say: then nothing is in the cell's own log."""
    log = tmp_path / "jobs" / "7_1_0_log.out"
    log.parent.mkdir()
    log.write_text("module: command not found")
    write_status(tmp_path / "cell", Status(status.QUEUED, job="7_1"))
    assert state(tmp_path / "cell", {})[1].endswith(f"; see {log})")


def test_a_process_number_that_was_given_away_holds_nothing(tmp_path):
    """The holder was killed, and its number is that of another living process now."""
    folder = tmp_path / "grpo-s0"
    with hold(folder):
        lease = folder / FILE
        text = lease.read_text()
        assert holder_of(folder) is not None
        lease.write_text("".join(f"start={int(line[6:]) + 1}\n" if line.startswith("start=") else line
                                 for line in text.splitlines(keepends=True)))  # fmt: skip
        assert holder_of(folder) is None
        lease.write_text(text)


def test_reporting_follows_progress_and_says_how_it_ended(tmp_path):
    progress = Progress(quiet=True)
    with reporting(tmp_path, progress), progress.stage("train", 4, "steps") as stage:
        stage.advance(2)
        stage.update("sample", 8)
        found = read_status(tmp_path)
        assert found is not None and (found.state, found.stage, found.attempts) == ("running", "sample", 1)
    assert read_status(tmp_path) is None
    for error, expected in ((Failure("no space."), "failed"), (KeyboardInterrupt(), "stopped")):
        with pytest.raises(type(error)), reporting(tmp_path, progress):
            raise error
        found = read_status(tmp_path)
        assert found is not None and found.state == expected and found.said
    assert found.attempts == 2


def test_a_status_that_cannot_be_written_or_read_ends_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    write_status(tmp_path / "file" / "cell", Status(status.RUNNING))
    (tmp_path / status.FILE).write_text('{"state": ')
    assert read_status(tmp_path) is None


def test_all_cells_planned_or_begun(tmp_path):
    cells = grid_plan.plan(SUITE, ["grpo"], ["0", "1"], Place(tmp_path))
    folder = tmp_path / "micro"
    grid_plan.note_plan(folder, cells)
    grid_plan.note_plan(folder, grid_plan.plan(SUITE, ["rloo"], ["0"], Place(tmp_path)))
    write_spec(folder / "ppo-s3", {"algorithm": "ppo"})
    assert [found.cell for found in overview(tmp_path)] == ["base", "grpo-s0", "grpo-s1", "rloo-s0", "ppo-s3"]
    assert overview(folder) == overview(tmp_path) and {found.suite for found in overview(folder)} == {"micro"}
    with pytest.raises(UsageError, match="holds no runs"):
        overview(tmp_path / "elsewhere")


def test_the_first_suite_has_the_folder_and_another_one_does_not_get_it(tmp_path):
    folder, other = tmp_path / "micro", parse(data({"evaluation.k": 4}))
    home.claim_home(folder, SUITE)
    home.claim_home(folder, SUITE)
    assert json.loads((folder / home.FILE).read_text())["hash"] == SUITE.hash
    with pytest.raises(Failure, match="belongs to another suite of this name"):
        home.claim_home(folder, other)
    assert home.settle(Place(tmp_path), SUITE).home == folder
    assert home.settle(Place(tmp_path), other).home == tmp_path / f"micro-{other.hash[:8]}"
    (folder / home.FILE).write_text("{}")
    with pytest.raises(Failure, match=r"suite\.json is damaged"):
        home.settle(Place(tmp_path), SUITE)
