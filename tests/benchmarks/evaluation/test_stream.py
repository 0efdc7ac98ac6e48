"""One stream over rounds and datasets, with engines that take chunks at any time and are seeded once."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.errors import Failure
from benchmarks.evaluation import completions, shards
from benchmarks.evaluation.dataset_run import DatasetRun
from benchmarks.evaluation.stage import Asked, evaluate_datasets, read_result
from benchmarks.evaluation.verifying import Job, Verifying
from benchmarks.progress import Progress
from benchmarks.verifiers import Verdict
from tests.benchmarks.evaluation.evaluations import DESIGN, PROBLEMS, SAMPLING, VERIFIER, pool, rows, run

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60
NAMES = ("test", "ood")


def streaming(workers: int = 1, **settings: object) -> EnginePool:
    scripted = {"p": 0.15, "spread": True, **settings}
    return EnginePool(EngineSpec("scripted-stream", "scripted", settings=scripted), workers)


def both(folder: Path, engines: EnginePool | None = None, verifier=VERIFIER):
    """Two datasets in one stream."""
    asked = [Asked(name, PROBLEMS, verifier, 1, folder / name) for name in NAMES]
    with engines or streaming() as pool:
        return evaluate_datasets(pool, asked, design=DESIGN, sampling=SAMPLING, prompt_template="raw", seed=5)


def check(folder: Path) -> None:
    """Every problem has each of its samples once, and stops where the design says."""
    result = read_result(folder)
    assert result is not None
    found: dict[str, dict[int, str]] = {problem.problem_id: {} for problem in PROBLEMS}
    texts = []
    for row in rows(folder):
        assert row["sample"] not in found[row["problem_id"]]
        found[row["problem_id"]][row["sample"]] = row["verdict"]
        texts += [row["text"]] * (row["verdict"] == "wrong")  # the text holds a random number of 53 bits
    for problem_id, n in zip(result.counts.problem_ids, result.counts.n_N, strict=True):
        verdicts = [found[problem_id][sample] == "correct" for sample in range(n)]
        assert len(found[problem_id]) == n
        assert n == next((stop for stop in DESIGN.rounds if sum(verdicts[:stop]) >= 3), 32)
    assert len(set(texts)) == len(texts), "a sample was drawn twice"


def interrupt_after(patch: pytest.MonkeyPatch, chunks: int) -> None:
    """Ctrl-C when so many chunks have been kept."""
    kept = []

    def keep(run, *parts, original=DatasetRun.keep):
        original(run, *parts)
        kept.append(1)
        if len(kept) == chunks:
            raise KeyboardInterrupt

    patch.setattr(DatasetRun, "keep", keep)


# ------------------------------------------------------------------------------------------------ what comes of it


@pytest.mark.parametrize("workers", [1, 2])
def test_two_datasets_in_one_stream(tmp_path, workers):
    results = both(tmp_path, streaming(workers, rows=64))
    assert [result.question.dataset for result in results] == list(NAMES)
    for name in NAMES:
        check(tmp_path / name)
        assert {file.name for file in (tmp_path / name).iterdir()} == {
            "completions.parquet", "counts.jsonl", "plan.json", "result.json",
        }  # fmt: skip
    assert set(results[0].counts.n_N) == {8, 16, 32}
    assert results[0].engine == "scripted-stream 1"
    assert [result.sampled for result in both(tmp_path)] == [0, 0]


def test_chunks_of_several_datasets_are_those_of_each_alone(tmp_path):
    """With an engine that samples chunks, so the counts of a suite do not depend on what else is evaluated."""
    both(tmp_path / "both", pool(2))
    for name in NAMES:
        run(tmp_path / name, dataset=name)
        assert (tmp_path / name / "counts.jsonl").read_bytes() == (
            tmp_path / "both" / name / "counts.jsonl"
        ).read_bytes()
        assert rows(tmp_path / name) == rows(tmp_path / "both" / name)


def test_no_barrier_between_rounds(tmp_path, monkeypatch):
    """Later rounds of some problems are sampled while the first one of others is still in progress."""
    in_progress = []
    original = EnginePool.submit

    def submit(self, chunk, sampling):
        in_progress.append({running.key.partition("-")[0] for running in self._running.values()})
        original(self, chunk, sampling)

    monkeypatch.setattr(EnginePool, "submit", submit)
    both(tmp_path, streaming(rows=128))
    assert {"round00", "round01"} in in_progress


def test_parts_are_few(tmp_path, monkeypatch):
    """By default all of this is one part; with parts of 100 rows, there is one for about every 100."""
    written = []
    original = completions.write_tables

    def write(path, tables, meta):
        written.append((path.name, meta.rows))
        original(path, tables, meta)

    monkeypatch.setattr(completions, "write_tables", write)
    monkeypatch.setattr(shards, "SOONEST_S", 1000.0)
    monkeypatch.setattr(shards, "LONGEST_S", 1000.0)
    both(tmp_path / "one")
    assert sum(name.startswith("part") for name, _ in written) == 2
    monkeypatch.setattr(shards, "PART_ROWS", 100)
    written.clear()
    both(tmp_path / "more")
    parts = [count for name, count in written if name.startswith("part")]
    assert len(parts) > 4 and sum(count >= 100 for count in parts) >= len(parts) - 2, "all but the last ones"


# ------------------------------------------------------------------------------------------------ stopped and damaged


@pytest.mark.parametrize("chunks", [1, 7, 30, 70])
def test_an_interrupted_stream_goes_on(tmp_path, monkeypatch, chunks):
    """What is whole is stored at Ctrl-C, and no sample of it is drawn again."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, chunks)
        both(tmp_path)
    stored = sum(pq.read_metadata(file).num_rows for file in tmp_path.rglob("*.parquet"))
    results = both(tmp_path)
    for name in NAMES:
        check(tmp_path / name)
    assert sum(result.sampled for result in results) == sum(len(rows(tmp_path / name)) for name in NAMES) - stored


SCRIPT = """
import sys
from pathlib import Path

from benchmarks.evaluation import shards
from tests.benchmarks.evaluation.test_stream import both, streaming

if __name__ == "__main__":
    shards.SOONEST_S = 0.0
    both(Path(sys.argv[1]), streaming(int(sys.argv[2]), delay_s=0.02, rows=64))
"""


@pytest.mark.parametrize("workers, end", [(1, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGINT)])
def test_a_killed_stream_goes_on(tmp_path, workers, end):
    (tmp_path / "slow.py").write_text(SCRIPT)
    folder = tmp_path / "e"
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), str(folder), str(workers)], stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while len(list(folder.rglob("part-*.parquet"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, end) if end == signal.SIGINT else process.kill()
    errors = process.communicate(timeout=PATIENCE_S)[1].decode()
    assert end != signal.SIGINT or errors.count("Traceback") == 1, errors
    stored = sum(pq.read_metadata(file).num_rows for file in folder.rglob("part-*.parquet"))
    assert stored > 0
    results = both(folder)
    for name in NAMES:
        check(folder / name)
    assert sum(result.sampled for result in results) == sum(len(rows(folder / name)) for name in NAMES) - stored


def test_a_kill_after_the_merge_doubles_nothing(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "benchmarks.evaluation.dataset_run.write_counts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        both(tmp_path)
    merged = next(name for name in NAMES if (tmp_path / name / "completions.parquet").exists())
    assert list((tmp_path / merged / "shards").iterdir())
    both(tmp_path)
    for name in NAMES:
        check(tmp_path / name)


def double(part: Path) -> None:
    """Leaves another part, which holds the first one's rounds and one of its own."""
    meta, (table,) = completions.read_meta(part), completions.read_tables(part)
    own = completions.make_table({n: table[n].to_pylist()[:8] for n in table.column_names} | {"round": [9] * 8})
    meta = dataclasses.replace(meta, key="part-999999-0", rows=meta.rows + 8)
    completions.write_tables(part.with_name(f"{meta.key}.parquet"), [table, own], meta)


@pytest.mark.parametrize("damage", ["cut", "foreign", "twice"])
def test_a_part_that_cannot_be_used_is_moved_aside(tmp_path, monkeypatch, caplog, damage):
    """Cut off, of another dataset, or with the same rounds as another part: what two processes would leave."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "PART_ROWS", 60)
        interrupt_after(patch, 40)
        both(tmp_path)
    first, *_ = sorted((tmp_path / "test" / "shards").iterdir())
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-50])
    elif damage == "foreign":
        shutil.copy(next((tmp_path / "ood" / "shards").iterdir()), first)
    else:
        double(first)
    both(tmp_path)
    assert len(list((tmp_path / "test" / "damaged").iterdir())) == 1
    assert "sampled again" in caplog.text
    for name in NAMES:
        check(tmp_path / name)


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def replace(source, target, original=os.replace):
        if Path(target).name.startswith("part-"):
            raise OSError(28, "No space left on device")
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(completions.os, "replace", replace)
        with pytest.raises(Failure, match=r"cannot write .*part-.*: No space left on device\.$"):
            both(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    both(tmp_path)
    for name in NAMES:
        check(tmp_path / name)


# ------------------------------------------------------------------------------------------------ verification


def no_judge(*_: object) -> None:
    raise Failure("no judge")


def test_what_a_verifier_raises_on_its_thread_ends_the_stream(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.evaluation.verifying.judge", no_judge)
    with pytest.raises(Failure, match="no judge"):
        both(tmp_path)
    assert not [thread for thread in threading.enumerate() if thread.name == "verifying"]


def test_verification_runs_beside_sampling_with_one_engine(tmp_path, monkeypatch):
    """The engine goes on while a verifier thinks: it has sampled more before the first verdict is there."""
    sampled, first_verdict = threading.Event(), threading.Event()
    original = EnginePool.collect

    class Slow(type(VERIFIER)):
        def verify_many(self, problems, texts, finished=None):
            assert sampled.wait(PATIENCE_S), "the engine waits for the verifier"
            first_verdict.set()
            return super().verify_many(problems, texts, finished)

    def collect(self, wake=None):
        found = original(self, wake)
        collected.extend(found)
        if len(collected) >= 5 and not first_verdict.is_set():
            sampled.set()
        return found

    collected: list = []
    monkeypatch.setattr(EnginePool, "collect", collect)
    both(tmp_path, streaming(rows=2000), verifier=Slow())
    assert first_verdict.is_set()


def test_verdicts_come_back_in_order_and_jobs_are_judged_together():
    asked = []

    class Counting(type(VERIFIER)):
        def verify_many(self, problems, texts, finished=None):
            asked.append(len(texts))
            return super().verify_many(problems, texts, finished)

    verifier, found = Counting(), []
    with Verifying() as verifying:
        for i in range(50):
            verifying.put(Job(verifier, [PROBLEMS[0]] * 2, [f"{i}", "x"], [True, False], i))
        while verifying.pending:
            wait([verifying.wake])
            found += verifying.take()
    assert [job.what for job, _ in found] == list(range(50))
    assert all(judged[0] == [Verdict.WRONG, Verdict.TRUNCATED] for _, judged in found)
    assert len(asked) < 50


def test_progress_counts_what_was_stored(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 40)
        both(tmp_path)
    seen = []
    progress = Progress(quiet=True)
    progress.listener = lambda stage: seen.append((stage.name, stage.done, stage.total, stage.skipped))
    asked = [Asked(name, PROBLEMS, VERIFIER, 1, tmp_path / name) for name in NAMES]
    with streaming() as engines:
        evaluate_datasets(
            engines, asked, design=DESIGN, sampling=SAMPLING, prompt_template="raw", seed=5, progress=progress
        )
    name, done, total, skipped = seen[-1]
    assert name == "sample test, ood"
    assert done == total == sum(len(rows(tmp_path / name)) for name in NAMES)
    assert skipped > 0
