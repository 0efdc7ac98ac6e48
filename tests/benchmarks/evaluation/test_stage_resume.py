"""The evaluation stage, stopped and damaged: nothing lost, nothing mixed, and one line for what cannot be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.engines.scripted import ScriptedEngine
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation import completions
from benchmarks.evaluation import stage as evaluate
from benchmarks.evaluation.stage import read_result
from benchmarks.settings import Stops
from benchmarks.statistics.passk import FixedDesign
from benchmarks.tasks.prompts import Template
from tests.benchmarks.evaluation.evaluations import PROBLEMS, SAMPLING, VERIFIER, pool, rows, run

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60
"""How long a test waits for something that must come; never part of what it asserts."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished evaluation, to be read only."""
    folder = tmp_path_factory.mktemp("finished") / "eval" / "test"
    return folder, run(folder)


@pytest.fixture
def own(finished, tmp_path):
    """A finished evaluation of one's own."""
    return shutil.copytree(finished[0], tmp_path / "own")


def test_a_finished_dataset_is_not_done_again(own):
    before = {file.name: file.read_bytes() for file in own.iterdir()}
    engines = pool(crash_on=PROBLEMS[0].prompt)
    assert run(own, engines).sampled == 0
    assert {file.name: file.read_bytes() for file in own.iterdir()} == before


SCRIPT = """
import sys
from pathlib import Path

from tests.benchmarks.evaluation.evaluations import pool, run

if __name__ == "__main__":
    run(Path(sys.argv[1]), pool(workers=int(sys.argv[2]), delay_s=0.4))
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_evaluation_goes_on(finished, tmp_path, workers, end):
    """Killed in the middle; what is whole by then is kept, and the counts are those of an uninterrupted one."""
    (tmp_path / "slow.py").write_text(SCRIPT)
    folder = tmp_path / "e"
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), str(folder), str(workers)], stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while len(list(folder.glob("shards/*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, end) if end == signal.SIGINT else process.kill()
    process.communicate(timeout=PATIENCE_S)
    kept = sum(pq.read_metadata(file).num_rows for file in folder.glob("shards/*.parquet"))
    assert kept >= 3 * 8
    assert read_result(folder) is None
    result = run(folder)
    assert result.sampled == len(rows(folder)) - kept
    assert (folder / "counts.jsonl").read_bytes() == (finished[0] / "counts.jsonl").read_bytes()
    assert rows(folder) == rows(finished[0])


def interrupted(folder: Path, monkeypatch, when: str) -> None:
    """An evaluation that dies at the first call of `when` in `evaluate`, as a kill there would leave it."""
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, when, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(folder)


@pytest.mark.parametrize("when", ["write_counts", "write_json_atomic"])
def test_a_kill_after_the_merge_doubles_nothing(finished, tmp_path, monkeypatch, when):
    folder = tmp_path / "e"
    interrupted(folder, monkeypatch, when)
    assert (folder / "completions.parquet").exists() and (folder / "shards").exists()
    result = run(folder)
    assert result.sampled == 0 and result.engine == "scripted 1"
    assert rows(folder) == rows(finished[0])
    assert not (folder / "shards").exists()


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path, finished):
    folder = tmp_path / "e"
    folder.mkdir()
    for name in (".plan.json.0123.tmp", ".completions.parquet.4567.tmp"):
        (folder / name).write_text("half of")
    run(folder)
    assert {file.name for file in folder.iterdir()} == {file.name for file in finished[0].iterdir()}


@pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "empty"])
def test_a_damaged_shard_is_moved_aside_and_sampled_again(finished, tmp_path, monkeypatch, caplog, damage):
    folder = tmp_path / "e"
    with monkeypatch.context() as patch:
        patch.setattr(evaluate.Run, "finish", lambda _: None)
        run(folder)
    first, second = sorted(folder.glob("shards/*.parquet"))[:2]
    content = first.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 255
    first.write_bytes(
        {"cut": content[:-50], "flip": bytes(flipped), "foreign": second.read_bytes(), "empty": b""}[damage]
    )
    broken = first.read_bytes()
    result = run(folder)
    assert result.sampled == 48
    assert rows(folder) == rows(finished[0])
    assert [file.read_bytes() for file in (folder / "damaged").iterdir()] == [broken]
    assert "is damaged or not a file of completions" in caplog.text and "sampled again" in caplog.text


# ------------------------------------------------------------------------------------------------ refusing


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": 6}, "with seed = 5, but you asked for 6: choose another folder"),
        ({"design": FixedDesign(32)}, r"design.rounds = \[8, 16, 32\], but you asked for \[32\] \(and 1 more differ\)"),
        ({"sampling": SAMPLING.model_copy(update={"top_k": 5})}, "sampling.top_k = 0, but you asked for 5"),
        ({"prompt_template": "boxed"}, "prompt_template = 'raw', but you asked for 'boxed'"),
        ({"problems": PROBLEMS[::-1]}, "with problems = '"),
        ({"task_version": 2}, "task_version = 1, but you asked for 2"),
        ({"task_revision": "0" * 40}, "task_revision = None, but you asked for '0000"),
        ({"prompt_template": Template(name="raw", text="{question}!")}, "with prompts = '"),
        (
            {"prompt_template": Template(name="raw", text="{question}", stops=Stops(before=("x",)))},
            r"sampling.stops.before = \[\], but you asked for \['x'\]",
        ),
    ],
)
def test_another_question_is_refused(own, changes, message):
    before = {file.name: file.read_bytes() for file in own.iterdir()}
    with pytest.raises(Failure, match=message) as caught:
        run(own, **changes)
    assert "\n" not in str(caught.value)
    assert {file.name: file.read_bytes() for file in own.iterdir()} == before


def test_another_model_is_refused(own):
    with pytest.raises(Failure, match="with model = '"):
        run(own, pool(p=0.2))


def test_a_new_verifier_is_told_of_the_regrade(own):
    class Newer(type(VERIFIER)):
        VERSION = VERIFIER.VERSION + 1

    with pytest.raises(
        Failure, match=r"verifier_version = 1, but you asked for 2: .* or re-grade it with --regrade\.$"
    ):
        run(own, verifier=Newer())


def test_another_precision_is_refused(own, monkeypatch):
    """A float32 run must not go on in bfloat16."""
    monkeypatch.setattr(ScriptedEngine, "precision", classmethod(lambda *_: "bfloat16"))
    with pytest.raises(Failure, match=r"precision = '', but you asked for 'bfloat16'"):
        run(own)


def test_another_version_of_the_engine_is_refused_with_a_way_out(own, monkeypatch):
    """Only what is unfinished is refused: a complete evaluation gets no more samples, and its record says which."""
    monkeypatch.setattr(ScriptedEngine, "installed_version", classmethod(lambda *_: "2"))
    assert run(own).question.engine_version == "1"
    (own / "result.json").unlink()
    with pytest.raises(
        Failure,
        match=r"unfinished evaluation by scripted 1, and 2 is installed: install 1 to finish it",
    ) as caught:
        run(own)
    assert "\n" not in str(caught.value)


def test_a_plan_of_an_earlier_version_is_told_so(own):
    plan = json.loads((own / "plan.json").read_text())
    for name in ("task_revision", "prompts", "chat", "engine_version", "precision"):
        del plan["question"][name]
    (own / "plan.json").write_text(json.dumps({**plan, "schema": 1}))
    with pytest.raises(Failure, match="is of an earlier version of this program") as caught:
        run(own)
    assert "\n" not in str(caught.value)


def test_completions_of_an_earlier_version_are_read(own):
    path = own / "completions.parquet"
    meta, table = completions.read_meta(path), pq.read_table(path).drop_columns(["raw", "cut", "special"])
    pq.write_table(table, path)
    (read,) = completions.read_tables(path)
    assert read.schema == completions.COMPLETIONS_SCHEMA
    assert read.drop_columns(["raw", "cut", "special"]).equals(table.replace_schema_metadata(None))
    assert read["raw"].null_count == read["cut"].null_count == meta.rows


def test_a_folder_of_another_origin_is_refused(tmp_path):
    (tmp_path / "counts.jsonl").write_text("{}")
    with pytest.raises(Failure, match=r"holds counts.jsonl but no plan.json"):
        run(tmp_path)
    assert (tmp_path / "counts.jsonl").read_text() == "{}"


@pytest.mark.parametrize(
    "name, damage",
    [
        *((name, "cut") for name in ("completions.parquet", "counts.jsonl", "plan.json", "result.json")),
        *((name, "missing") for name in ("completions.parquet", "counts.jsonl", "plan.json")),
    ],
)
def test_damaged_results_are_one_line(own, name, damage):
    file = own / name
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[:-20])
    with pytest.raises(Failure, match=name) as caught:
        run(own)
    assert "\n" not in str(caught.value)


def test_damage_within_the_completions_is_found_on_read(own):
    file = own / "completions.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 255
    file.write_bytes(bytes(content))
    with pytest.raises(Failure, match=r"completions.parquet is damaged") as caught:
        list(completions.read_tables(file))
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch, finished):
    written = []

    def fsync(_):
        written.append(1)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(completions.os, "fsync", fsync)
        with pytest.raises(Failure, match=r"cannot write .*parquet: No space left on device\.$"):
            run(tmp_path / "e")
    assert not list((tmp_path / "e").rglob("*.tmp"))
    run(tmp_path / "e")
    assert rows(tmp_path / "e") == rows(finished[0])


def test_problems_that_share_an_id_are_refused(tmp_path):
    with pytest.raises(UsageError, match="two problems have the same problem_id"):
        run(tmp_path / "e", problems=PROBLEMS[:2] * 2)
