"""Several commands at once on one OUT, in real processes: each folder has one holder, and nothing is lost or mixed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.schema import read_record
from benchmarks.runs.lease import holder_of
from benchmarks.runs.overview import state_of
from benchmarks.suites.schema import BASE_MODELS
from tests.benchmarks.micro import write
from tests.faults.killing import left_over, results

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow
DATASETS = {
    "test": {"task": "countdown", "split": "test", "problems": 4},
    "ood": {"task": "countdown", "split": "ood", "problems": 4},
}
SCRIPTED = {
    "evaluation.datasets": DATASETS,
    "engine": {"name": "scripted", "workers": 1, "rows_per_batch": 2, "settings": {"p": 0.5, "delay_s": 0.1}},
}
ALGORITHMS = ("grpo", "rloo", "remax")
MODEL = BASE_MODELS / "countdown"
PATIENCE_S = 240


class Crowd:
    """Processes that work on one OUT."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.suite = write(folder, SCRIPTED)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *command: object) -> subprocess.Popen[str]:
        more = [] if command[0] == "import" else ["--suite", self.suite]
        arguments = [sys.executable, "-m", "benchmarks", *command, *more, "--out", self.runs]
        self.started.append(
            subprocess.Popen(
                [str(one) for one in arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        return self.started[-1]

    def bench(self, algorithm: str) -> subprocess.Popen[str]:
        return self.start("bench", "--algo", algorithm)

    def kill_holder(self, folder: Path, after: str) -> int:
        """SIGKILL for whoever holds the folder once files match; gives the process's place among the started ones."""
        until = time.monotonic() + PATIENCE_S
        while (holder := holder_of(folder)) is None or not list(folder.glob(after)):
            assert time.monotonic() < until and any(one.poll() is None for one in self.started), "nobody holds it"
            time.sleep(0.02)
        os.kill(holder.pid, signal.SIGKILL)
        return [one.pid for one in self.started].index(holder.pid)

    def end(self) -> list[tuple[int, str]]:
        """Exit code and standard error of each process; none is left."""
        said = [one.communicate(timeout=PATIENCE_S)[1] for one in self.started]
        codes = [one.returncode for one in self.started]
        self.started = []
        return list(zip(codes, said, strict=True))


@pytest.fixture
def crowd(tmp_path) -> Iterator[Crowd]:
    made = Crowd(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> tuple[list[tuple[int, str]], dict[str, Any], Path]:
    """What three processes that start together say, the results, and the folder."""
    made = Crowd(tmp_path_factory.mktemp("together"))
    for algorithm in ALGORITHMS:
        made.bench(algorithm)
    said = made.end()
    home = made.runs / "micro"
    return said, results(home), home


def test_three_algorithms_at_once_share_one_base(together):
    said, found, home = together
    assert [code for code, _ in said] == [0, 0, 0], said
    assert set(found) == {"base", *(f"{name}-s0" for name in ALGORITHMS)} and left_over(home) == []
    # Each process samples two datasets with its own policy, and one of the three samples the base's two as well.
    sampled = [err.count("done in") - err.count("train ") for _, err in said]
    assert sorted(err.count("sample test") for _, err in said) == [1, 1, 2], sampled
    assert sum("base is in the hands of process" in err for _, err in said) == 2
    base = read_record(home / "base" / "record.json")
    rows = {name: len(kept) for name, kept in found["base"]["completions"].items()}
    assert rows == {f"eval/{name}/completions.parquet": e.completions for name, e in base.evaluations.items()}
    for name in ALGORITHMS:
        record = read_record(home / f"{name}-s0" / "record.json")
        assert set(record.gap or {}) == set(DATASETS) and record.provenance.finished >= base.provenance.finished


def test_a_waiter_takes_over_from_a_holder_that_was_killed(together, crowd):
    """First the one that samples the base is killed, then the one that has taken it over."""
    _, expected, _ = together
    for algorithm in ALGORITHMS:
        crowd.bench(algorithm)
    base, killed = crowd.runs / "micro" / "base", []
    killed.append(crowd.kill_holder(base, "eval/test/shards/*.parquet"))
    crowd.started[killed[0]].wait()
    killed.append(crowd.kill_holder(base, "eval/ood/shards/*.parquet"))
    codes = [code for code, _ in crowd.end()]
    assert sorted(codes) == [-signal.SIGKILL, -signal.SIGKILL, 0] and len(set(killed)) == 2
    for place in killed:
        crowd.bench(ALGORITHMS[place])
    assert [code for code, _ in crowd.end()] == [0, 0]
    assert results(base.parent) == expected and left_over(base.parent) == []


def evaluate(crowd: Crowd, *more: object) -> subprocess.Popen[str]:
    return crowd.start("evaluate", MODEL, "--name", "it", *more)


@pytest.mark.parametrize("kill", [False, True])
def test_two_datasets_at_once_are_both_in_the_record(crowd, kill):
    for dataset in DATASETS:
        evaluate(crowd, "--dataset", dataset)
    folder = crowd.runs / "micro" / "model-it"
    place = crowd.kill_holder(folder, "eval/*/shards/*.parquet") if kill else None
    said = crowd.end()
    if place is not None:
        assert said[place][0] == -signal.SIGKILL and set(read_record(folder / "record.json").evaluations) == {
            list(DATASETS)[1 - place]
        }
        evaluate(crowd, "--dataset", list(DATASETS)[place])
        said = [*said[:place], *said[place + 1 :], *crowd.end()]
    assert [code for code, _ in said] == [0] * len(said), said
    record = read_record(folder / "record.json")
    assert set(record.evaluations) == set(DATASETS) and left_over(folder.parent) == []
    for name, found in record.evaluations.items():
        lines = (folder / "eval" / name / "counts.jsonl").read_text().splitlines()[1:]
        assert sum(json.loads(line)["n"] for line in lines) == found.completions


def test_imports_and_regrades_at_once(crowd, tmp_path):
    """Four imports add a dataset each to one record; two re-grades of one run change nothing and disturb nobody."""
    counts = tmp_path / "counts.jsonl"
    counts.write_text('{"problem_id": "a", "n": 4, "correct": 1}\n{"problem_id": "b", "n": 4, "correct": 2}\n')
    names: Sequence[str] = ["one", "two", "three", "four"]
    options = ["--suite-name", "theirs", "--model", "m", "--source", "a paper"]
    for name in names:
        crowd.start("import", "counts", counts, *options, "--dataset", name)
    assert [code for code, _ in crowd.end()] == [0] * 4
    assert set(read_record(crowd.runs / "theirs" / "imported-m" / "record.json").evaluations) == set(names)
    evaluate(crowd)
    assert [code for code, _ in crowd.end()] == [0]
    folder = crowd.runs / "micro" / "model-it"
    before = results(folder.parent)["model-it"]["files"]
    for _ in range(2):
        crowd.start("evaluate", folder, "--regrade")
    assert [code for code, _ in crowd.end()] == [0, 0]
    assert results(folder.parent)["model-it"]["files"] == before and left_over(folder.parent) == []


def test_ctrl_c_ends_the_cells_of_a_grid_and_the_same_command_goes_on(crowd):
    folder = crowd.runs / "micro" / "base"
    process = crowd.start("grid", "--algos", "base")
    until = time.monotonic() + PATIENCE_S
    while not list(folder.glob("eval/test/shards/*.parquet")):
        assert time.monotonic() < until and process.poll() is None, process.communicate()
        time.sleep(0.02)
    holder = holder_of(folder)
    assert holder is not None and holder.pid != process.pid
    process.send_signal(signal.SIGINT)
    ((code, said),) = crowd.end()
    assert code == 130 and said.splitlines()[-1] == "rlvr-gap: interrupted; the same command goes on from here."
    assert "1 cells save what they have and end" in said
    assert holder_of(folder) is None and not holder.lives
    state = state_of(folder)
    assert (state.state, state.said) == ("waiting", "it was interrupted; the same command goes on")
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("eval/test/shards/*.parquet")}
    assert kept
    crowd.start("grid", "--algos", "base")
    assert [code for code, _ in crowd.end()] == [0] and state_of(folder).state == "done"


def test_two_grids_share_the_cells(crowd):
    """Each leaves alone what the other works on, and both end with all records."""
    for _ in range(2):
        crowd.start("grid", "--algos", "grpo rloo", "--jobs", "1")
    said = crowd.end()
    assert [code for code, _ in said] == [0, 0], said
    home = crowd.runs / "micro"
    assert {path.parent.name for path in home.glob("*/record.json")} == {"base", "grpo-s0", "rloo-s0"}
    text = "".join((home / "logs" / f"{name}.log").read_text() for name in ("base", "grpo-s0", "rloo-s0"))
    assert text.count("train grpo-s0: 2/2") == text.count("train rloo-s0: 2/2") == 1, "each was trained once"
    assert left_over(home) == []
