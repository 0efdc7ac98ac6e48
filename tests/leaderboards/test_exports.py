"""The data behind the leaderboard: complete, described, and the same for the same records."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

import rlvr_gap as rg
from benchmarks import __main__ as program
from leaderboards.columns import COLUMNS
from leaderboards.exports import SCHEMA, TABLES
from tests.leaderboards.factory import draw_counts, write_run

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def runs(tmp_path) -> Path:
    base = {"test": draw_counts(0.2, 12, 0)}
    write_run(tmp_path / "runs", "base", base)
    for name, seed in itertools.product(("grpo", "rloo"), range(3)):
        write_run(tmp_path / "runs", name, {"test": draw_counts(0.5, 12, 1)}, base, seed=seed)
    return tmp_path / "runs"


def write(runs: Path, to: Path) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["rlvr-gap", "export", str(runs), "--level", "all", "--to", str(to)])
        program.main()
    assert not end.value.code
    return {path.name: path.read_bytes() for path in sorted(to.iterdir())}


def test_files(runs, tmp_path):
    found = write(runs, tmp_path / "data")
    assert set(found) == {"data.json", "leaderboard.bib", *(f"{name}.csv" for name in TABLES)}
    data = json.loads(found["data.json"])
    assert data["schema"] == SCHEMA and data["left_out"] == []
    loaded = rg.load(runs)
    for name, rows in data["tables"].items():
        table = getattr(loaded, name)()
        assert len(rows) == len(table) == len(pd.read_csv(tmp_path / "data" / f"{name}.csv")) > 0
        assert list(data["columns"][name]) == list(table.columns) == list(rows[0])
    shown = {row["label"]: row["gap"] for row in data["tables"]["table"]}
    assert shown["grpo"] == pytest.approx(loaded.table().set_index("label").gap["grpo"], abs=1e-12)
    assert (data["built_from"]["date"], data["built_from"]["records"]) == ("2026-11-20", 7)  # of the records
    assert "year    = {2026}" in found["leaderboard.bib"].decode()


def test_the_same_records_give_the_same_bytes_anywhere(runs, tmp_path):
    there = tmp_path / "elsewhere" / "runs"
    shutil.copytree(runs, there)
    assert write(runs, tmp_path / "a") == write(there, tmp_path / "b")


def test_a_damaged_record_is_listed(runs, tmp_path, capsys):
    (runs / "grpo-s0" / "eval/test/counts.jsonl").unlink()
    data = json.loads(write(runs, tmp_path / "data")["data.json"])
    assert "counts.jsonl is missing" in data["left_out"][0]["reason"]
    assert "not exported: " in capsys.readouterr().err


def test_the_page_describes_every_column():
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    for column, said in COLUMNS.items():
        assert f"| `{column}` | {said} |" in text
