"""The tables of the terminal: what they say, how wide they are, what they refuse to mix; numbers as text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

from benchmarks.errors import UsageError
from benchmarks.records.schema import Record, read_record
from benchmarks.statistics.crossing import Crossing, KEquivalent
from leaderboards import summary, terminal
from tests.leaderboards.factory import draw_counts, write_run

ROOT = Path(__file__).resolve().parents[2]
PROBLEMS = 24
BASE = {"test": draw_counts(0.15, PROBLEMS, 1, spread=4.0), "ood": draw_counts(0.1, PROBLEMS, 2, spread=4.0)}
TRAINED = {"test": draw_counts(0.4, PROBLEMS, 3), "ood": draw_counts(0.2, PROBLEMS, 4)}


@pytest.fixture
def cells(tmp_path: Path) -> list[Record]:
    """The base, and one trained cell."""
    return [read_record(write_run(tmp_path, "base", BASE)), read_record(write_run(tmp_path, "grpo", TRAINED, BASE))]


def shown(renderable: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert all(len(line) <= width for line in lines)
    return lines


def row(lines: list[str], name: str) -> str:
    return next(line for line in lines if line.startswith(name))


# ---------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("width", [80, 100])
def test_one_cell(cells: list[Record], width: int):
    where = "runs/countdown/" + "long/" * 20 + "record.json"
    lines = shown(terminal.report(cells, {"record": where, "page": Path("runs/index.html")}), width)
    gap = cells[1].gap["test"]
    assert lines[0].startswith("countdown: grpo-s0") and lines[1].split() == ["test", "ood"]
    assert row(lines, "base pass@1").split()[-2] == f"{100 * gap.base_pass_at_1:.1f}"
    assert row(lines, "trained pass@16").split()[-2] == f"{100 * gap.trained_pass_at_k:.1f}"
    interval = f"{100 * gap.gap:.1f} [{100 * gap.low:.1f}, {100 * gap.high:.1f}]"
    assert interval in row(lines, "sampling efficiency gap")
    assert row(lines, "training tokens").split()[-2:] == ["2.53", "M"]
    assert row(lines, "passes forward / back").split()[-5:] == ["5.63", "M", "/", "3", "M"]
    for name in (
        "trained pass@1",
        "base pass@16",
        "gain at 1",
        "change at 16",
        "crossing k",
        "k-equivalent",
        "the base's own gap",
        "share of it closed",
        "headroom realised",
        "newly solved / unsolved",
        "Cover@0.5",
        "problems",
    ):
        assert row(lines, name)
    text = "".join(lines)
    assert where in text and "page    runs/index.html" in text  # the whole path, on as many lines as it takes


def test_table_of_one_cell_needs_no_dataset(cells: list[Record]):
    assert shown(terminal.table(cells), 80)[0] == "countdown: grpo-s0"
    with pytest.raises(UsageError, match="one trained cell"):
        terminal.table(cells[:1])
    with pytest.raises(UsageError, match="no record"):
        terminal.table([])


@pytest.mark.parametrize("width", [80, 100])
def test_grid(cells: list[Record], tmp_path: Path, width: int):
    better = [
        {"test": draw_counts(rate, PROBLEMS, 5), "ood": draw_counts(rate, PROBLEMS, 6)} for rate in (0.7, 0.75, 0.8)
    ]
    for seed, counts in enumerate(better):
        path = write_run(tmp_path, "reinforce_pp", counts, BASE, seed=seed, variant="baseline")
        cells.append(read_record(path))
    lines = shown(terminal.report(cells, {"records": tmp_path.name}), width)
    found = row(lines, "reinforce_pp (baseline)").split()
    gaps = [cell.gap["test"] for cell in cells[2:]]
    assert found[2:6] == [
        "3",
        f"{100 * np.mean([gap.trained_pass_at_1 for gap in gaps]):.1f}",
        f"{100 * np.mean([gap.trained_pass_at_k for gap in gaps]):.1f}",
        f"{100 * np.mean([gap.gap for gap in gaps]):.1f}",
    ]
    assert found[6] == f"{100 * np.std([gap.gap for gap in gaps], ddof=1):.1f}"
    assert row(lines, "grpo").split()[1] == "1" and row(lines, "grpo").split()[5] == "-"
    names = [line.split()[0] for line in lines if line.startswith(("algorithm", "base", "reinforce_pp", "grpo"))]
    assert names == ["algorithm", "base", "reinforce_pp", "grpo"] * 2
    text = " ".join(" ".join(lines).split())
    assert "Fewer than 3 seeds say too little for a place" in text
    assert lines[0] == "countdown: test" and "countdown: ood" in lines


def test_grid_without_the_base_record(cells: list[Record]):
    line = row(shown(terminal.table(cells[1:], "test"), 80), "base")
    assert line.split()[2] == summary.percent(cells[1].gap["test"].base_pass_at_1)


def test_a_base_alone(cells: list[Record]):
    assert row(shown(terminal.table(cells[:1], "ood"), 80), "base").split()[3] == summary.percent(
        cells[0].evaluations["ood"].pass_at_k[16]
    )


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"suite": ("countdown", "cccccccccccccccc")}, "suite_hash"),
        ({"evaluation_changes": {"versions": {"task": 1, "verifier": 2}}}, "verifier_version"),
        ({"evaluation_changes": {"versions": {"task": 2, "verifier": 1}}}, "task_version"),
        ({"base_hash": None}, "base"),
        ({"k": 8}, "k"),
    ],
)
def test_mixing_is_refused(cells: list[Record], tmp_path: Path, options: dict, name: str):
    other = read_record(write_run(tmp_path, "rloo", TRAINED, BASE, **options))
    with pytest.raises(UsageError, match=f"differ in {name}\\."):
        terminal.table([*cells, other], "test")


def test_a_base_of_another_model_is_refused(cells: list[Record], tmp_path: Path):
    other = read_record(write_run(tmp_path, "base", BASE, base_hash="cccccccccccccccc", folder="other"))
    with pytest.raises(UsageError, match="differ in base"):
        terminal.table([other, cells[1]], "test")


def test_an_unknown_dataset(cells: list[Record]):
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        terminal.table(cells, "tset")


def test_invalid_comes_last(cells: list[Record], tmp_path: Path):
    path = write_run(tmp_path, "rloo", {"test": draw_counts(0.95, PROBLEMS, 9)}, {"test": BASE["test"]})
    data = json.loads(path.read_text())
    verdicts = data["evaluations"]["test"]["verdicts"]
    data["evaluations"]["test"]["verdicts"] = verdicts | {"correct": verdicts["correct"] - 10, "error": 10}
    path.write_text(json.dumps(data))
    invalid = read_record(path)
    lines = shown(terminal.table([*cells, invalid], "test"), 80)
    assert "invalid" in row(lines, "rloo-s0") and lines.index(row(lines, "rloo-s0")) > lines.index(row(lines, "grpo"))
    alone = shown(terminal.table([invalid]), 80)
    assert "2.6 % of the verdicts" in " ".join(" ".join(alone).split())


def test_markup_in_a_name_is_text(tmp_path: Path):
    name = "[bold red]x[/] :smile:"
    counts = {"[link=http://x]d": TRAINED["test"]}
    base = {"[link=http://x]d": BASE["test"]}
    record = read_record(write_run(tmp_path, name, counts, base, folder="x", suite=("[blink]s", "a" * 16)))
    for table in (terminal.table([record]), terminal.table([record], "[link=http://x]d")):
        text = "\n".join(shown(table, 100))
        assert name in text and "[link=http://x]d" in text and "[blink]s" in text
    assert "[/nonsense]" in "\n".join(shown(terminal.report([record], {"record": "[/nonsense]"}), 80))


# ---------------------------------------------------------------------------------------------- text


def test_numbers():
    assert [summary.percent(v) for v in (0.23649, 0.0, 1.0, None)] == ["23.6", "0.0", "100.0", "-"]
    assert [summary.points(v) for v in (0.143, -0.2, 0.0001, -0.0001, None)] == ["+14.3", "-20.0", "0.0", "0.0", "-"]
    assert [summary.number(v) for v in (8412345, 3.46, 3.0, 210.25, None)] == ["8,412,345", "3.5", "3", "210", "-"]
    assert [summary.short(v) for v in (8412345, 999_600, 12_345, 999, 0, None)] == [
        "8.41 M",
        "1 M",
        "12.3 k",
        "999",
        "0",
        "-",
    ]
    assert summary.span(0.66, 0.745) == "[66.0, 74.5]"
    assert summary.typeset(summary.points)(-0.2) == "\u221220.0" and summary.typeset(summary.percent)(None) == "\u2013"


def test_places():
    def place(kind: str, *k: float, leads: str = "trained") -> Crossing:
        return Crossing(kind=kind, k=k, k_max=256, leads_at_1=leads)

    assert summary.crossing(place("none")) == "none to 256 (trained leads)"
    assert summary.crossing(place("none", leads="neither")) == "none to 256"
    assert summary.crossing(place("one", 6.13)) == "6.1"
    assert summary.crossing(place("several", 3.1, 17.0, 140.2)) == "3.1, 17, 140"
    both = {"low": (5.0,), "high": (7.25,), "overtakes": ("base",)}
    assert summary.crossing(Crossing(kind="one", k=(6.13,), k_max=256, leads_at_1="trained", **both)) == (
        "base ahead from 6.1 [5, 7.2]"
    )
    spans = [(2.5, 4.0, "3.2 [2.5, 4]"), (0, 4.0, "3.2 [below 1, 4]"), (2.5, None, "3.2 [2.5, no bound]")]
    for low, high, text in spans:
        assert summary.k_equivalent(KEquivalent(kind="value", k=3.2, k_max=256, low=low, high=high)) == text
    for kind, k, text in (("value", 3.2, "3.2"), ("below_1", None, "< 1"), ("above_k_max", None, "> 256")):
        assert summary.k_equivalent(KEquivalent(kind=kind, k=k, k_max=256)) == text


def test_generated_counts_everything(tmp_path: Path):
    spent = {"discarded": {"completions": 10, "tokens": 300}, "greedy": {"completions": 5, "tokens": 70}}
    record = read_record(write_run(tmp_path, "dapo", TRAINED, BASE, training_changes=spent))
    assert summary.generated(record.training) == (76_800 + 15, 2_534_417 + 370)


def test_remarks(cells: list[Record]):
    gap = cells[1].gap["test"]
    assert summary.remarks(gap) == []
    errors = {"base_errors": 2, "trained_errors": 1, "gap_low": 0.1, "gap_high": 0.2}
    odd = type(gap).model_validate(gap.to_json() | {"errors": errors})
    assert summary.remarks(odd) == ["the verifier failed on 3 completions: the gap lies between 10.0 and 20.0"]
    one = type(gap).model_validate(gap.to_json() | {"n_problems": 1, "method": "whole range"})
    assert summary.remarks(one) == ["interval of the gap: whole range"]


def test_the_table_is_quick_to_import():
    script = (
        "import sys, leaderboards.terminal; print(*sorted({'torch', 'trl', 'seaborn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
