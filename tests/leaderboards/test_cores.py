"""Work that is spread over cores gives what it gives one by one, and a site does not depend on it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from leaderboards import website
from leaderboards.build import gather
from leaderboards.cores import ThisProcess, cores
from tests.leaderboards.factory import draw_counts, write_log, write_run


def square_and_process(number: int) -> tuple[int, int]:
    """What the tests spread."""
    if number < 0:
        raise ValueError(f"{number} is below zero")
    return number * number, os.getpid()


needs_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores"
)


@needs_cores
def test_work_is_done_in_other_processes_and_in_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # pytest-xdist has threads of its own
    with cores() as pool:
        found = list(pool.map(square_and_process, range(20)))
        with pytest.raises(ValueError, match="-1 is below zero"):
            list(pool.map(square_and_process, [1, -1]))
    assert [square for square, _ in found] == [n * n for n in range(20)]
    assert os.getpid() not in {process for _, process in found}


def test_a_process_with_threads_is_not_copied():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with cores() as pool:
            assert isinstance(pool, ThisProcess)
            assert list(pool.map(square_and_process, [3])) == [(9, os.getpid())]
            with pytest.raises(ValueError, match="-1 is below zero"):
                pool.submit(square_and_process, -1).result()
    finally:
        stop.set()
        thread.join()


@needs_cores
def test_files_read_by_other_processes_are_those_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base = {"test": draw_counts(0.15, 12, 1)}
    write_run(tmp_path / "runs", "base", base)
    runs = [write_run(tmp_path / "runs", "grpo", {"test": draw_counts(0.4, 12, 5 + s)}, base, seed=s) for s in range(3)]
    logs = [write_log(run.parent, 5, seed) for seed, run in enumerate(runs)]
    logs[1].write_text("no log\n")
    with open(runs[2].parent / "eval" / "test" / "counts.jsonl", "a", encoding="utf-8") as file:
        file.write("\n")  # not the counts of its record any more
    alone = gather(tmp_path / "runs", tmp_path / "index.html")
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    with cores() as pool:
        found = gather(tmp_path / "runs", tmp_path / "index.html", pool)
    assert [one.where.split("/")[-2] for one in alone.broken] == ["grpo-s2", "grpo-s1"]
    assert found.broken == alone.broken
    for one, other in zip(found.entries, alone.entries, strict=True):
        assert list(one.kept) == list(other.kept)
        assert repr(one.kept) == repr(other.kept)


@needs_cores
def test_a_site_is_the_same_with_and_without_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)
    base = {"test": draw_counts(0.15, 12, 1)}
    write_run(tmp_path / "runs", "base", base)
    for seed in range(3):
        write_run(tmp_path / "runs", "grpo", {"test": draw_counts(0.4, 12, 5 + seed)}, base, seed=seed)
    for name, threads in (("one", 2), ("other", 1)):
        monkeypatch.setattr(threading, "active_count", lambda threads=threads: threads)
        website.build_site(tmp_path / "runs", tmp_path / name)
    files = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.*")}
    assert files == {path: (tmp_path / "other" / path).read_bytes() for path in files}
    assert any(path.suffix == ".svg" for path in files)
