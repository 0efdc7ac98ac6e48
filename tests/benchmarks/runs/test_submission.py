"""What is submitted is checked: a change in any part of a run, or of a submission, is found."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import __main__ as program
from benchmarks.errors import Failure, UsageError
from benchmarks.files import file_sha256
from benchmarks.records.training_log import read_training_log
from benchmarks.runs.submission import GRADED, chance_to_see, check, most_wrong, submit
from rlvr_gap import load
from tests.benchmarks.micro import cell

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_problems")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, few_problems) -> Path:
    """A base and a cell of committed code, as they are on a machine."""
    out = tmp_path_factory.mktemp("runs")
    made = cell(out)
    made.run()
    for folder in (made.base.folder, made.folder):
        edit(folder, lambda record: record["provenance"].update(commit="a" * 40, dirty=False, command="rlvr-gap bench"))
    return made.folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    home = tmp_path / "micro"
    shutil.copytree(finished.parent, home)
    return home / finished.name


def edit(folder: Path, change) -> None:
    record = json.loads((folder / "record.json").read_text())
    change(record)
    (folder / "record.json").write_text(json.dumps(record))


def put(run: Path, to: Path) -> Path:
    submit(run.parent / "base", to)
    return submit(run, to)[0]


def change_verdict(path: Path, row: int) -> None:
    table = pq.read_table(path)
    verdicts = table["verdict"].to_pylist()
    verdicts[row] = "wrong" if verdicts[row] == "correct" else "correct"
    column = table.schema.get_field_index("verdict")
    pq.write_table(table.set_column(column, table.schema.field("verdict"), [verdicts]), path)


def test_chance_to_see_a_change():
    assert chance_to_see(0.5, 2) == 0.75  # 1 - 1/4
    assert chance_to_see(0.01, GRADED) > 0.95  # 1 - 0.99^300 = 0.951


def test_most_wrong():
    """0 of 300 wrong: (1 - p)^300 = 0.05 gives p = 0.00994. With two, (1 - p)^2 = 0.25 gives a half."""
    assert most_wrong(300) == pytest.approx(0.00994, abs=5e-6)
    assert most_wrong(2, confidence=0.75) == pytest.approx(0.5)
    assert most_wrong(0) == 1
    assert chance_to_see(most_wrong(64), 64) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": 1}, "'test' was made with version 1 of the task 'countdown', which is at 2 here. Two versions"),
        (
            {"verifier": 9},
            "'test' was made with version 9 of the verifier 'countdown', which is at 1 here. Two versions",
        ),
        (
            {"task": 1, "verifier": 9},
            "version 1 of the task .* at 2 here and with version 9 of the verifier .* at 1 here",
        ),
    ],
)
def test_other_versions_are_refused(run, changes, reason):
    edit(run, lambda record: record["evaluations"]["test"]["versions"].update(changes))
    with pytest.raises(Failure, match=reason):
        check(run)


def test_the_command_says_what_the_changelog_needs(run, tmp_path, capsys, monkeypatch):
    there = tmp_path / "records"
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "submit", str(run.parent), "--to", str(there)])
    for again in (False, True):
        with pytest.raises(SystemExit) as end:
            program.main()
        said = " ".join(capsys.readouterr().out.split())
        [suite] = [folder.name for folder in there.iterdir() if folder.is_dir()]
        line = f"CHANGELOG.md: - `{suite}`: added or replaced `base`, `{run.name}`. Made by `aaaaaaa`."
        assert not end.value.code and (line in said) is not again


def test_the_command_says_what_a_sample_bounds(run, tmp_path, capsys, monkeypatch):
    there = put(run, tmp_path / "records")
    n = pq.read_table(there / "eval/test/sample.parquet").num_rows
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "submit", "--check", str(there)])
    with pytest.raises(SystemExit) as end:
        program.main()
    said = capsys.readouterr()
    bound = 100 * (1 - 0.05 ** (1 / n))
    expected = f"test: {n} of {n} verdicts are the same when judged again, so at most {bound:.1f} % of all are wrong"
    assert not end.value.code and expected in " ".join((said.out + said.err).split())


def test_points_are_submitted_and_checked(finished, tmp_path, few_problems):
    """The same run with one more point is not another run; a changed count or cost of a point is found."""
    home = tmp_path / "runs"
    shutil.copytree(finished.parent, home / "micro")
    run, to = home / "micro" / finished.name, tmp_path / "records"
    put(run, to)
    cell(home, changes={"evaluation.checkpoints": [1]}).run()
    clean = {"commit": "a" * 40, "dirty": False, "command": "rlvr-gap bench"}
    edit(run, lambda record: record["points"]["1"]["provenance"].update(clean))
    there, is_new = submit(run, to)
    assert is_new and (there / "points/step-1/eval/test/sample.parquet").exists()
    sampled = [pq.read_table(path).num_rows for path in there.rglob("sample.parquet")]
    assert check(there).graded == sum(sampled) and len(sampled) == 2
    assert load(to / there.parent.name).entries[-1].record.points[1].tokens

    edit(there, lambda record: record["points"]["1"].update(tokens=1))
    with pytest.raises(Failure, match="tokens by step 1, but the record says 1"):
        check(there)
    submit(run, to, replace=True)
    edit(there, lambda record: record["points"]["1"]["gap"]["test"].update(gap=0.123))
    with pytest.raises(Failure, match="the counts give a gap of"):
        check(there)


def test_a_submission_holds_what_readers_need_and_nothing_else(run, tmp_path):
    there = put(run, tmp_path / "records")
    files = {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}
    assert files == {
        "record.json", "spec.json", "train/log.jsonl.gz", "eval/test/counts.jsonl", "eval/test/sample.parquet",
    }  # fmt: skip
    for name in ("record.json", "spec.json", "eval/test/counts.jsonl"):
        assert file_sha256(there / name) == file_sha256(run / name)
    assert read_training_log(there) == read_training_log(run) != []
    runs = load(tmp_path / "records" / there.parent.name)
    assert len(runs) == 2 and not runs.broken
    assert runs.table().gap.equals(load(run.parent).table().gap)
    assert check(there).graded == pq.read_table(there / "eval/test/sample.parquet").num_rows > 0


def test_a_second_time_writes_nothing_and_another_run_needs_to_be_asked_for(run, tmp_path):
    there = put(run, tmp_path / "records")
    before = (there / "record.json").stat().st_mtime_ns
    assert submit(run, tmp_path / "records") == (there, False)
    assert (there / "record.json").stat().st_mtime_ns == before
    edit(run, lambda record: record["provenance"].update(commit="b" * 40))
    with pytest.raises(Failure, match="--replace"):
        submit(run, tmp_path / "records")
    assert submit(run, tmp_path / "records", replace=True) == (there, True)
    assert not list((tmp_path / "records").rglob(".draft*"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda record: record["provenance"].update(dirty=True), "had changes"),
        (lambda record: record["provenance"].update(commit=None), "no commit"),
        (lambda record: record["provenance"].update(command="rlvr-gap bench --out /data/me"), "folder of a machine"),
        (lambda record: record["training"].update(tokens=record["training"]["tokens"] + 1), "tokens"),
        (lambda record: record.update(spec_hash="0" * 16), "hash"),
        (lambda record: record["gap"]["test"].update(gap=0.0, low=-0.1, high=0.1), "gap"),
    ],
)
def test_a_changed_record_is_refused(run, change, reason):
    edit(run, change)
    with pytest.raises(Failure, match=reason):
        check(run)


def test_changed_counts_and_completions_are_refused(run):
    counts = run / "eval" / "test" / "counts.jsonl"
    text = counts.read_text()
    counts.write_text(text + "\n")
    with pytest.raises(Failure, match="sha256"):
        check(run)
    counts.write_text(text)
    path = run / "eval" / "test" / "completions.parquet"
    change_verdict(path, 0)
    with pytest.raises(Failure, match="other counts"):
        check(run)


def test_a_sample_whose_verdict_was_changed_is_refused(run, tmp_path):
    there = put(run, tmp_path / "records")
    path = there / "eval" / "test" / "sample.parquet"
    change_verdict(path, -1)
    with pytest.raises(Failure, match="changed by hand"):
        check(there)


def test_a_log_that_is_damaged_or_shorter_is_refused(run, tmp_path):
    there = put(run, tmp_path / "records")
    packed = there / "train" / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n".join(gzip.decompress(packed.read_bytes()).splitlines()[:1]) + b"\n"))
    with pytest.raises(Failure, match="1 steps"):
        check(there)
    packed.write_bytes(b"no archive")
    with pytest.raises(Failure, match="damaged"):
        check(there)


def test_what_is_no_run_is_said_so(tmp_path):
    with pytest.raises(UsageError, match="no finished run"):
        check(tmp_path)
