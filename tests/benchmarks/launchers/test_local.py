"""How cores and accelerators are shared out, and that nothing is left running."""

from __future__ import annotations

import pytest

from benchmarks.launchers.local import Share, default_jobs, share_out, visible_gpus


@pytest.mark.parametrize(
    "jobs, cores, gpus, shares",
    [
        (2, [0, 1], [], [((0,), ()), ((1,), ())]),
        (2, [0, 1, 2, 3, 4], [], [((0, 2, 4), ()), ((1, 3), ())]),
        (2, [0, 1], ["0", "1", "2", "3"], [((0,), ("0", "2")), ((1,), ("1", "3"))]),
        (3, [0, 1], ["5", "7"], [((0,), ("5",)), ((1,), ("7",)), ((0,), ("5",))]),
    ],
)
def test_shares(jobs, cores, gpus, shares):
    assert share_out(jobs, cores, gpus) == [Share(*one) for one in shares]


@pytest.mark.parametrize("cores, gpus, processes, jobs", [(2, 0, 1, 2), (64, 8, 1, 8), (64, 8, 4, 2), (2, 0, 4, 1)])
def test_default_jobs(cores, gpus, processes, jobs):
    assert default_jobs(cores, gpus, processes) == jobs


def test_threads_are_shared_between_processes_and_keep_below_the_callers_limit(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    share = Share(tuple(range(8)), ("0", "3"))
    assert share.environment(2)["OMP_NUM_THREADS"] == "4" and share.environment(2)["CUDA_VISIBLE_DEVICES"] == "0,3"
    assert share.environment(16)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert share.environment(1)["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert "CUDA_VISIBLE_DEVICES" not in Share((0,), ()).environment(1)


@pytest.mark.parametrize("given, found", [("0,2", ["0", "2"]), ("", []), ("-1", [])])
def test_visible_gpus(monkeypatch, given, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == found
