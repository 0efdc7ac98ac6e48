"""Records as tables: nothing is lost on the way, and nothing is written where it cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

import rlvr_gap as rg
from benchmarks import __main__ as program
from benchmarks.errors import Failure, UsageError
from benchmarks.records.schema import read_record
from benchmarks.statistics.counts import read_counts
from leaderboards.export import export
from tests.benchmarks.micro import write
from tests.leaderboards.factory import draw_counts, write_log, write_run


@pytest.fixture
def runs(tmp_path) -> Path:
    """A base and a trained cell on two datasets."""
    base = {name: draw_counts(0.2, 5, seed) for seed, name in enumerate(("test", "ood"))}
    trained = {name: draw_counts(0.5, 5, seed) for seed, name in enumerate(("test", "ood"), start=2)}
    suite = tmp_path / "runs" / "countdown"
    write_run(suite, "base", base)
    path = write_run(suite, "grpo", trained, base, settings={"suite": {"training": {"group_size": 8}}})
    write_log(path.parent, 3)
    return tmp_path / "runs"


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_cells(runs, tmp_path, suffix):
    to = tmp_path / "deep" / f"table{suffix}"
    done = export(runs, to)
    table = read(to)
    assert (done.rows, done.left_out, len(table)) == (4, [], 4)
    assert table[["cell", "dataset"]].values.tolist() == [[c, d] for d in ("test", "ood") for c in ("base", "grpo-s0")]
    record = read_record(runs / "countdown" / "grpo-s0" / "record.json")
    row = table[(table["cell"] == "grpo-s0") & (table["dataset"] == "test")].iloc[0]
    evaluation, gap = record.evaluations["test"], (record.gap or {})["test"]
    assert row["evaluation_tokens"] == evaluation.tokens and row["k"] == gap.k
    assert row["pass_at_1"] == pytest.approx(evaluation.pass_at_k[1], abs=1e-12)
    assert row["pass_at_k"] == pytest.approx(evaluation.pass_at_k[gap.k], abs=1e-12)
    assert (row["gap"], row["gap_low"], row["gain_at_1"]) == pytest.approx((gap.gap, gap.low, gap.gain_at_1.value))
    assert row["steps"] == 300 and row["training_seconds"] == 210.25 + 3.5 + 305
    assert row["commit"].startswith("0f1e") and row["suite_hash"] == "a" * 16 and row["group_size"] == 8
    assert pd.isna(table.iloc[0]["gap"]) and pd.isna(table.iloc[0]["seed"]) and row["seed"] == 0
    assert len(table.columns) < 80


@pytest.mark.parametrize("level", ["table", "cells", "curves", "log", "problems"])
def test_the_same_tables_as_in_python(runs, tmp_path, level):
    made = getattr(rg.load(runs), level)()
    assert export(runs, tmp_path / "t.parquet", level).rows == len(made) > 0
    pd.testing.assert_frame_equal(read(tmp_path / "t.parquet"), made, check_dtype=False)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_problems(runs, tmp_path, suffix):
    to = tmp_path / f"problems{suffix}"
    assert export(runs / "countdown" / "grpo-s0", to, "problems").rows == 10
    table = read(to)
    counts = read_counts(runs / "countdown" / "grpo-s0" / "eval" / "ood" / "counts.jsonl")
    ood = table[table["dataset"] == "ood"]
    assert ood["problem_id"].tolist() == list(counts.problem_ids)
    assert ood["n"].tolist() == counts.n_N.tolist() and ood["correct"].tolist() == counts.c_N.tolist()
    assert ood["wrong"].tolist() == counts.extra["wrong"]
    assert ood["pass_at_8"].tolist() == pytest.approx(counts.pass_at_k(8).tolist(), abs=1e-12)
    assert set(ood["cell"]) == {"grpo-s0"}


def test_completions(tmp_path, monkeypatch):
    """A run with the scripted engine: every stored completion, with its text and the run that it is of."""
    monkeypatch.setattr("benchmarks.cli.results.show", lambda *_: None)
    suite = write(tmp_path, {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}})
    program.run(["bench", "--algo", "base", "--suite", str(suite), "--out", str(tmp_path / "runs"), "--quiet"])
    tables = []
    for name in ("c.csv", "c.parquet"):
        done = export(tmp_path / "runs", tmp_path / name, "completions")
        tables.append(read(tmp_path / name))
        assert done.rows == len(tables[-1]) > 0
    csv, parquet = tables
    counts = read_counts(tmp_path / "runs" / "micro" / "base" / "eval" / "test" / "counts.jsonl")
    assert len(parquet) == counts.n_N.sum() and (parquet["verdict"] == "correct").sum() == counts.c_N.sum()
    assert all(csv[name].tolist() == parquet[name].tolist() for name in ("text", "sampling_seed", "question"))
    assert set(parquet["cell"]) == {"base"} and parquet["seed"].isna().all() and parquet["gold"].notna().all()


def test_what_a_level_has_nothing_of(runs, tmp_path):
    with pytest.raises(
        UsageError, match=r"nothing to export: .*base/record\.json: no completions of 'test' are stored"
    ):
        export(runs, tmp_path / "c.csv", "completions")
    assert not (tmp_path / "c.csv").exists()


def test_what_cannot_be_read(runs, tmp_path, monkeypatch, capsys):
    """A broken record is said and left out; counts that are not their record's end it, and leave the old file."""
    (runs / "countdown" / "base" / "record.json").write_text("{")
    to = tmp_path / "t.csv"
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "export", str(runs), "--to", str(to)])
    assert program._run() == 0
    said = capsys.readouterr()
    assert "not exported: countdown/base/record.json" in said.err and f"{to} has 2 rows" in said.out
    before = to.read_bytes()
    counts = runs / "countdown" / "grpo-s0" / "eval" / "ood" / "counts.jsonl"
    counts.write_text(counts.read_text() + "\n\n")
    with pytest.raises(Failure, match="its sha256 is"):
        export(runs, to, "problems")
    assert to.read_bytes() == before and [path.name for path in tmp_path.iterdir() if path.is_file()] == ["t.csv"]


@pytest.mark.parametrize(
    "more, words",
    [
        (["--to", "a.xlsx"], "--to a.xlsx: expected a file that ends in .csv or .parquet"),
        (["--to", "a"], ".csv or .parquet"),
        (["--to", "a.csv", "--level", "problem"], "unknown level 'problem'. Did you mean 'problems'"),
    ],
)
def test_wrong_input(runs, tmp_path, monkeypatch, capsys, more, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "export", str(runs), *more])
    assert program._run() == 2
    assert words in capsys.readouterr().err
    with pytest.raises(UsageError, match="does not exist"):
        export(tmp_path / "none", tmp_path / "a.csv")
