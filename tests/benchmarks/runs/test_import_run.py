"""The record that an import makes: what is in it, what it may be added to, and that nothing else is touched."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as program
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import read_record
from tests.leaderboards.factory import draw_counts, write_run


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def paper(idx: object, *scores: bool) -> dict[str, object]:
    return {"idx": idx, "code": ["c"] * len(scores), "score": list(scores)}


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Imports in this process into tmp_path/runs; returns (exit code, what was said)."""
    monkeypatch.setattr("benchmarks.cli.results.show", lambda *_: None)

    def call(file: Path, *more: object, name: str = "m", dataset: str = "test") -> tuple[int, str]:
        command = ["import", "passk-paper", file, "--suite-name", "s", "--dataset", dataset, "--model", f"org/{name}"]
        command += ["--source", "arXiv:0", "--out", tmp_path / "runs", *more]
        monkeypatch.setattr(sys, "argv", ["rlvr-gap", *map(str, command)])
        capsys.readouterr()
        code = program._run()
        return code, "".join(capsys.readouterr())

    return call


def scores(path: Path, correct: list[int], n: int = 4) -> Path:
    return lines(path, [paper(i, *[True] * c, *[False] * (n - c)) for i, c in enumerate(correct)])


def test_import_of_a_base_and_of_what_is_measured_from_it(cli, tmp_path):
    """Base: 3 of 4 problems solved by one of 4. Trained: 3 of 4 always. pass@4 - pass@1 = 0.75 - 0.75."""
    base, trained = scores(tmp_path / "b.jsonl", [0, 1, 2, 4]), scores(tmp_path / "t.jsonl", [0, 4, 4, 4])
    code, said = cli(base, "--as-base", name="base")
    assert code == 0 and "test: 4 problems, 16 completions, pass@1 43.8 %, pass@4 75.0 %" in said
    folder = tmp_path / "runs" / "s"
    assert cli(trained, "--base", folder / "imported-org-base")[0] == 0

    record = read_record(folder / "imported-org-m" / "record.json")
    assert record.imported is not None and (record.imported.source, record.imported.format) == (
        "arXiv:0",
        "passk-paper",
    )
    assert (record.cell.algorithm, record.cell.variant, record.cell.base_model) == ("external", "org-m", "org/base")
    assert record.gap is not None and record.gap["test"].gap == 0 and record.gap["test"].k == 4
    evaluation = record.evaluations["test"]
    assert evaluation.verdicts.model_dump() == {"correct": 12, "wrong": 4, "truncated": 0, "error": 0}
    assert evaluation.pass_at_k == {1: 0.75, 2: 0.75, 4: 0.75} and evaluation.sampling.temperature is None
    assert (evaluation.versions.task, evaluation.engine, evaluation.tokens) == (None, None, None)
    assert (record.provenance.commit, record.provenance.finished, record.training) == (None, None, None)
    assert str(tmp_path) not in json.dumps(record.settings)
    assert read_evaluated(evaluation, folder / "imported-org-m").c_N.tolist() == [0, 4, 4, 4]
    first = read_record(folder / "imported-org-base" / "record.json")
    assert first.gap is None and first.suite == record.suite and first.cell.algorithm == "base"


def test_import_without_a_base_and_from_counts(cli, tmp_path):
    assert cli(scores(tmp_path / "t.jsonl", [0, 4]))[0] == 0
    record = tmp_path / "runs" / "s" / "imported-org-m" / "record.json"
    assert read_record(record).gap == {}
    counts = lines(
        tmp_path / "base.jsonl", [{"problem_id": str(i), "n": 2, "correct": c} for i, c in enumerate((1, 2))]
    )
    assert cli(tmp_path / "t.jsonl", "--base", counts)[0] == 0
    assert read_record(record).gap["test"].k == 2  # type: ignore[index]


def test_datasets_stand_side_by_side(cli, tmp_path):
    first, second = scores(tmp_path / "a.jsonl", [1, 2]), scores(tmp_path / "b.jsonl", [3])
    assert cli(first)[0] == cli(second, dataset="other")[0] == 0
    folder = tmp_path / "runs" / "s" / "imported-org-m"
    record = read_record(folder / "record.json")
    assert list(record.evaluations) == ["test", "other"] and set(record.settings["imports"]) == {"test", "other"}  # type: ignore[arg-type]
    assert cli(first)[0] == 0, "the same again is no harm"
    before = (folder / "record.json").read_bytes(), (folder / "eval" / "test" / "counts.jsonl").read_bytes()
    assert cli(second) == (1, f"rlvr-gap: {folder} holds other counts of dataset 'test': choose another --model.\n")
    code, said = cli(first, "--source", "elsewhere")
    assert code == 1 and "holds an import from 'arXiv:0'" in said
    assert cli(first, "--as-base")[0] == 1
    assert before == ((folder / "record.json").read_bytes(), (folder / "eval" / "test" / "counts.jsonl").read_bytes())


def test_a_base_of_ours(cli, tmp_path):
    """The record of a base that was run here; a trained cell's is refused, and so are other problems."""
    counts = draw_counts(0.3, 3, 0)
    path = write_run(tmp_path / "ours", "base", {"test": counts})
    rows = [paper(i, *[True] * 8) for i in counts.problem_ids]
    trained = lines(tmp_path / "t.jsonl", rows)
    assert cli(trained, "--base", path)[0] == 0
    record = read_record(tmp_path / "runs" / "s" / "imported-org-m" / "record.json")
    assert record.cell.base_hash == "b" * 16 and record.gap["test"].k == 8  # type: ignore[index]
    assert record.suite.hash != "a" * 16, "never in one table with what was measured here"

    code, said = cli(lines(tmp_path / "o.jsonl", rows[:2]), "--base", path, name="o")
    assert code == 2 and "must share all problems" in said
    code, said = cli(trained, "--base", path, dataset="tset", name="o")
    assert code == 2 and "Did you mean 'test'" in said
    cell = write_run(tmp_path / "ours", "grpo", {"test": counts}, {"test": counts})
    code, said = cli(trained, "--base", cell, name="o")
    assert code == 2 and "is the record of 'grpo': expected that of a base" in said
    assert not (tmp_path / "runs" / "s" / "imported-org-o").exists()


@pytest.mark.parametrize(
    "more, words",
    [
        (["--suite-name", "../s"], "--suite-name '../s'"),
        (["--dataset", "a b"], "--dataset 'a b'"),
        (["--model", "//"], "--source and --model must name something"),
        (["--source", " "], "--source and --model must name something"),
        (["--as-base", "--base", "b.jsonl"], "--as-base"),
        (["--k", "5"], "k=5 is above n=4"),
        (["--metric", "acc"], "--metric is not for format"),
    ],
)
def test_wrong_input_leaves_nothing_behind(cli, tmp_path, more, words):
    base = scores(tmp_path / "b.jsonl", [1])
    more = (
        [*more, "--base", lines(tmp_path / "c.jsonl", [{"problem_id": "0", "n": 4, "correct": 1}])]
        if "--k" in more
        else more
    )
    code, said = cli(base, *more)
    assert code == 2 and words in said and said.count("\n") == 1
    assert not (tmp_path / "runs").exists()
