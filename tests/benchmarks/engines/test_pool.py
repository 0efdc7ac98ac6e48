"""The pool: any number of workers gives the same completions; whatever ends a worker is one line in the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from benchmarks.engines import Chunk
from benchmarks.engines.pool import EnginePool, EngineSpec, open_pool
from benchmarks.engines.settings import EngineSettings
from benchmarks.errors import Failure, UsageError
from benchmarks.settings import Sampling
from tests.benchmarks.tiny_model import make_folder

ROOT = Path(__file__).resolve().parents[3]
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=20)
PATIENCE_S = 60
"""How long a test waits for something that must come; never part of what it asserts."""


def chunks(number: int, n: int = 3) -> list[Chunk]:
    return [Chunk((f"{i} {i + 1}:{2 * i + 1}\n", "2 3:6\n"), n, 1000 + i, f"c{i}") for i in range(number)]


def scripted(workers: int, **settings: object) -> EnginePool:
    return EnginePool(EngineSpec("scripted", "scripted", settings=settings), workers)


def eventually(condition) -> bool:
    """Whether the condition comes to hold; asks again and again."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_the_number_of_workers_does_not_matter():
    results = []
    for workers in (1, 2, 3):
        with scripted(workers) as pool:
            results.append(dict(pool.run(chunks(8), SAMPLING)))
            assert pool.description == "scripted 1"
    assert set(results[0]) == set(chunks(8))
    assert results[0] == results[1] == results[2]


def test_the_number_of_workers_does_not_matter_to_a_real_model(tmp_path):
    """Bit for bit: the engine fixes its threads, so the order of sums is the same everywhere."""
    folder = str(make_folder(tmp_path / "model"))
    results = []
    for workers in (1, 2):
        with EnginePool(EngineSpec("transformers", folder), workers) as pool:
            results.append(dict(pool.run(chunks(4, n=6), SAMPLING)))
    assert results[0] == results[1]


def test_workers_serve_one_run_after_the_other():
    with scripted(2) as pool:
        first = dict(pool.run(chunks(5), SAMPLING))
        workers = [worker.process.pid for worker in pool._workers]
        assert dict(pool.run(chunks(5), SAMPLING)) == first
        assert list(pool.run([], SAMPLING)) == []
        assert [worker.process.pid for worker in pool._workers] == workers
    assert not any(psutil.pid_exists(pid) for pid in workers)


def test_no_process_is_started_for_one_worker():
    with scripted(1) as pool:
        list(pool.run(chunks(3), SAMPLING))
        assert pool._workers == []


def test_workers_do_not_run_ahead_of_their_reader():
    with scripted(2) as pool, closing(pool.run(chunks(40), SAMPLING)) as results:
        for _ in range(10):
            next(results)
            assert all(1 <= worker.outstanding <= 2 for worker in pool._workers)


def test_no_chunk_waits_for_a_busy_worker_at_the_end():
    with scripted(2) as pool:
        seen = []
        for _ in pool.run(chunks(9), SAMPLING):
            seen.append([worker.outstanding for worker in pool._workers])
    assert all(max(outstanding) <= 1 for outstanding in seen[-2:])


@pytest.mark.parametrize("workers", [1, 2])
def test_what_an_engine_raises_is_one_line(workers):
    with scripted(workers, crash_on="9 9:1\n") as pool, pytest.raises(Failure) as caught:
        list(pool.run([*chunks(3), Chunk(("9 9:1\n",), 2, 1, "odd")], SAMPLING))
    assert str(caught.value) == "sampling failed at chunk odd: RuntimeError: scripted to crash on '9 9:1\\n'"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_engine_that_cannot_be_made_is_wrong_usage(workers):
    with scripted(workers, p=1.5) as pool:
        with pytest.raises(UsageError) as caught:
            list(pool.run(chunks(2), SAMPLING))
        assert str(caught.value) == "p must be in 0..1, got 1.5."
        assert pool._workers == []


def test_a_killed_worker_is_named_with_its_exit_code():
    with scripted(2, kill_on="9 9:1\n") as pool, pytest.raises(Failure) as caught:
        list(pool.run([*chunks(3), Chunk(("9 9:1\n",), 2, 1, "odd")], SAMPLING))
    assert "was killed by SIGKILL (exit code -9; out of memory?)" in str(caught.value)
    assert pool._workers == []


def test_leaving_early_ends_the_workers():
    with scripted(2) as pool:
        results = pool.run(chunks(20), SAMPLING)
        next(results)
        workers = [worker.process.pid for worker in pool._workers]
        results.close()
        assert not any(psutil.pid_exists(pid) for pid in workers)
        assert dict(pool.run(chunks(2), SAMPLING)).keys() == set(chunks(2))  # and it can be used again


def streaming(workers: int, **settings: object) -> EnginePool:
    return EnginePool(EngineSpec("scripted-stream", "scripted", settings=settings), workers)


def test_streaming_workers_hold_what_they_want_and_no_more():
    """They want 12 samples and get chunks of 6. What they have finished is known before a chunk comes back."""
    with streaming(2, rows=12) as pool:
        found = []
        for chunk, completions in pool.run(chunks(40), SAMPLING):
            found.append(chunk)
            assert [len(row) for row in completions] == [3, 3]
            assert all(worker.load <= 12 + 6 for worker in pool._workers)
    assert set(found) == set(chunks(40)) and len(found) == 40


def test_streaming_engines_have_seeds_of_their_own():
    """And the same pool seed gives the same streams of random numbers: the chunk here is all that each one gets."""
    texts = []
    for seed in (0, 0, 1):
        with streaming(2, p=0.0) as pool:
            pool.seed = seed
            found = {chunk.key: completions for chunk, completions in pool.run(chunks(2), SAMPLING)}
            texts.append([found[key][1][0].text for key in sorted(found)])
    assert texts[0] == texts[1]
    assert len({*texts[0], *texts[2]}) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_streaming_engine_raises_is_one_line(workers):
    line = "sampling failed at chunk"
    with streaming(workers, crash_on="9 9:1\n") as pool, pytest.raises(Failure, match=line) as caught:
        list(pool.run([*chunks(3), Chunk(("9 9:1\n",), 2, 1, "odd")], SAMPLING))
    assert "scripted to crash" in str(caught.value) and "\n" not in str(caught.value)
    assert pool.outstanding == 0


def test_a_killed_streaming_worker_is_named_with_its_exit_code():
    with streaming(2, kill_on="9 9:1\n") as pool, pytest.raises(Failure, match="was killed by SIGKILL"):
        list(pool.run([*chunks(3), Chunk(("9 9:1\n",), 2, 1, "odd")], SAMPLING))


SCRIPT = """
from benchmarks.engines import Chunk
from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.settings import Sampling

if __name__ == "__main__":
    chunks = [Chunk(("2 3:6\\n",), 1, i, str(i)) for i in range(100000)]
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=20)
    pool = EnginePool(EngineSpec("scripted", "scripted", settings={"delay_s": 0.05}), 2)
    for chunk, _ in pool.run(chunks, sampling):
        print(*(worker.process.pid for worker in pool._workers), flush=True)
"""


@pytest.fixture
def script(tmp_path):
    """A process that samples without end in two workers, and the workers' process ids."""
    (tmp_path / "endless.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "endless.py")], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    workers = [int(pid) for pid in process.stdout.readline().split()]
    yield process, workers
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_ctrl_c_ends_everything(script):
    """The signal goes to the whole group, as a terminal sends it."""
    process, workers = script
    assert len(workers) == 2
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=PATIENCE_S)[1]
    assert not any(psutil.pid_exists(pid) for pid in workers)
    assert errors.count("Traceback") == 1, errors  # the parent's, which the command line turns into a line
    assert "KeyboardInterrupt" in errors


def test_workers_end_with_a_parent_that_is_killed(script):
    process, workers = script
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in workers))


def test_a_pool_from_a_suites_settings():
    pool = open_pool(EngineSettings(name="scripted", workers=3, rows_per_batch=64, settings={"p": 0.5}), "m")
    assert (pool.spec.name, pool.workers, pool.rows_per_batch) == ("scripted", 3, 64)
    with pytest.raises(UsageError, match=r"unknown setting of engine 'scripted' 'delay'\. Did you mean 'delay_s'"):
        open_pool(EngineSettings(name="scripted", settings={"delay": 1}), "m")
    with pytest.raises(ValueError, match=r"unknown engine 'vlm'\. Did you mean 'vllm'"):
        open_pool(EngineSettings(name="vlm"), "m")
    with pytest.raises(UsageError, match="model '/no/such/folder' does not exist"):
        open_pool(EngineSettings(name="transformers"), "/no/such/folder")


def test_workers_share_the_accelerators(monkeypatch):
    """Placed on groups of devices, by the names that the process itself was given."""
    from benchmarks.engines import pool, vllm

    monkeypatch.setattr("benchmarks.engines.accelerators", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    monkeypatch.setattr(vllm.VllmEngine, "uses_accelerators", True)
    spec = EngineSpec("vllm", "m", settings={"tensor_parallel_size": 2})
    visible = [place["CUDA_VISIBLE_DEVICES"] for place in pool._places(spec, None)]
    assert visible == ["2,3", "5,7"]
    assert len(pool._places(EngineSpec("vllm", "m"), None)) == 4
    with pytest.raises(UsageError, match="needs 8 accelerators per worker, but there are 4"):
        pool._places(EngineSpec("vllm", "m", settings={"tensor_parallel_size": 8}), None)
