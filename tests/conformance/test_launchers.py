"""Launchers that wait for their tasks: add one to WAITING. SLURM's has tests of its own on a cluster (tests/slurm)."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import launchers
from benchmarks.errors import UsageError
from benchmarks.launchers import local
from benchmarks.launchers.base import Options, Task

WAITING = ["inprocess", "local"]


class Seen:
    """What a launcher told. `busy`: how often the launcher is told that somebody else works on a task."""

    def __init__(self, **busy: int) -> None:
        self.busy = busy
        self.events: list[tuple[str, str]] = []
        self.reasons: dict[str, str | None] = {}

    def is_busy(self, task: Task) -> bool:
        self.busy[task.name] = self.busy.get(task.name, 0) - 1
        return self.busy[task.name] >= 0

    def started(self, task: Task) -> None:
        self.events.append(("started", task.name))

    def queued(self, task: Task, job: str) -> None:
        raise AssertionError("this launcher does not queue")

    def ended(self, task: Task, reason: str | None) -> None:
        self.events.append(("ended", task.name))
        self.reasons[task.name] = reason

    def tick(self) -> None:
        pass

    def stopping(self, tasks: int) -> None:
        raise AssertionError("nobody stops it")


@pytest.fixture
def counts(tmp_path) -> Path:
    """A file that `gap` can read."""
    path = tmp_path / "counts.jsonl"
    path.write_text('{"problem_id": "a", "n": 4, "correct": 1}\n{"problem_id": "b", "n": 4, "correct": 2}\n')
    return path


def task(name: str, counts: Path, *after: str) -> Task:
    """Compares the file with itself; fails if it is not there."""
    command = ("gap", "--base", str(counts), "--trained", str(counts), "--k", "4")
    return Task(name, command, counts.parent / "logs" / f"{name}.log", after)


@pytest.mark.parametrize("name", WAITING)
def test_every_task_once_after_those_that_it_needs(name, counts):
    seen = Seen()
    tasks = [task("first", counts), *(task(f"then{i}", counts, "first") for i in range(3))]
    launchers.get(name).run(tasks, Options(jobs=2), seen)
    assert seen.reasons == {one.name: None for one in tasks}
    assert sorted(seen.events) == sorted((what, one.name) for what in ("started", "ended") for one in tasks)
    assert seen.events.index(("ended", "first")) < min(seen.events.index(("started", f"then{i}")) for i in range(3))


@pytest.mark.parametrize("name", WAITING)
def test_one_that_fails_stops_nothing_but_what_needs_it(name, counts):
    seen, missing = Seen(), counts.parent / "missing.jsonl"
    tasks = [task("bad", missing), task("good", counts), task("lost", counts, "bad"), task("fine", counts, "good")]
    launchers.get(name).run(tasks, Options(jobs=2), seen)
    assert (seen.reasons["good"], seen.reasons["fine"]) == (None, None)
    assert "missing.jsonl" in (seen.reasons["bad"] or "")
    assert seen.reasons["lost"] == "it needs bad, which failed" and ("started", "lost") not in seen.events
    assert all("\n" not in (reason or "") for reason in seen.reasons.values())


def test_retries_are_counted_and_wrong_input_is_not_tried_again(counts):
    seen, missing = Seen(), counts.parent / "missing.jsonl"
    wrong = Task("wrong", ("gap", "--nonsense"), counts.parent / "logs" / "wrong.log")
    launchers.get("local").run([task("bad", missing), wrong], Options(jobs=1, retry=2), seen)
    logs = {name: (counts.parent / "logs" / f"{name}.log").read_text().count("$ rlvr-gap") for name in ("bad", "wrong")}
    assert logs == {"bad": 3, "wrong": 1}
    assert "exit code 1" in (seen.reasons["bad"] or "") and "exit code 2" in (seen.reasons["wrong"] or "")


def test_tasks_that_somebody_else_works_on_come_last(counts, monkeypatch):
    """When they are let go they are started too, if only to see what was done."""
    monkeypatch.setattr(local, "TICK_S", 0.05)
    seen = Seen(theirs=1000)
    tasks = [task("theirs", counts), task("mine", counts), task("more", counts)]
    ended = seen.ended

    def let_go(done: Task, reason: str | None) -> None:
        ended(done, reason)
        if done.name == "more":
            seen.busy["theirs"] = 3  # a little longer, with nothing else left to do

    monkeypatch.setattr(seen, "ended", let_go)
    launchers.get("local").run(tasks, Options(jobs=1), seen)
    assert [name for what, name in seen.events if what == "started"] == ["mine", "more", "theirs"]
    assert set(seen.reasons.values()) == {None}


def test_a_log_that_cannot_be_written_fails_one_task(counts):
    seen = Seen()
    (counts.parent / "file").write_text("")
    bad = Task("bad", ("gap",), counts.parent / "file" / "bad.log")
    launchers.get("local").run([bad, task("good", counts)], Options(jobs=1, retry=1), seen)
    assert seen.reasons["good"] is None and "could not be started: " in (seen.reasons["bad"] or "")


def test_an_unknown_launcher():
    with pytest.raises(UsageError, match=r"unknown launcher 'slrum'\. Did you mean 'slurm'"):
        launchers.get("slrum")
