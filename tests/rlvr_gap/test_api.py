"""Tables and figures of runs. The numbers are those of the page and of the records; the example notebook runs."""

from __future__ import annotations

import json
import runpy
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

import rlvr_gap as rg
from benchmarks import __main__ as program
from benchmarks.errors import UsageError
from benchmarks.records.schema import read_record
from benchmarks.statistics.counts import read_counts
from leaderboards import completion_tables
from leaderboards.build import build
from leaderboards.style import COLOURS, NUMBERED, colours_of
from tests.benchmarks.micro import write
from tests.leaderboards.factory import draw_counts, words, write_log, write_run

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "example.ipynb"
K = 16


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)
    for name in ("curves", "costs"):  # the page's pictures but for the one that is tested here
        monkeypatch.setattr(f"leaderboards.pictures.{name}", lambda section: [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A base, three seeds of one algorithm, one of another and of its variant, on two datasets, with training logs."""
    root = tmp_path_factory.mktemp("api") / "runs" / "countdown"
    base = {name: draw_counts(0.2, 12, seed) for seed, name in enumerate(("test", "ood"))}
    write_run(root, "base", base)
    cells = [("grpo", s, None) for s in range(3)] + [("rloo", 0, None), ("rloo", 0, "learning_rate=3e-4")]
    for number, (algorithm, seed, variant) in enumerate(cells):
        trained = {name: draw_counts(0.4, 12, 10 * number + i) for i, name in enumerate(base)}
        settings = {"suite": {"training": {"group_size": 8, "learning_rate": 1e-4}}}
        path = write_run(root, algorithm, trained, base, seed=seed, variant=variant, settings=settings)
        write_log(path.parent, 100, number)
    return root.parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A cell that was really trained, for two steps, and evaluated by the scripted engine."""
    root = tmp_path_factory.mktemp("trained")
    suite = write(root, {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.cli.results.show", lambda *_: None)
        program.run(["bench", "--algo", "grpo", "--suite", str(suite), "--out", str(root / "runs"), "--quiet"])
    return root / "runs"


@pytest.fixture
def runs(folder) -> rg.Runs:
    return rg.load(folder)


def record_of(folder: Path, cell: str):
    return read_record(folder / "countdown" / cell / "record.json")


# ------------------------------------------------------------------------------------------------ tables


def test_what_was_loaded(runs):
    assert repr(runs) == "<6 runs of countdown: grpo, rloo, rloo (learning_rate=3e-4)>"
    assert (len(runs), runs.datasets) == (6, ["test", "ood"])


def test_table_is_the_page(runs, folder, tmp_path):
    """Every estimate that the page shows of an algorithm is in the table."""
    table = runs.table()
    assert list(table["label"].unique()[:1]) == ["base"] and len(table) == 2 * 4  # no chains: one verdict
    build(folder, tmp_path / "page.html")
    text = words((tmp_path / "page.html").read_text()).replace("−", "-")
    for _, row in table[table["label"] != "base"].iterrows():
        assert f"{100 * row['gap']:.1f} [{100 * row['gap_low']:.1f}, {100 * row['gap_high']:.1f}]" in text.replace(
            "−", "-"
        )
    grpo = table.query("label == 'grpo' and dataset == 'test'").iloc[0]
    seeds = [record_of(folder, f"grpo-s{seed}").evaluations["test"].pass_at_k for seed in range(3)]
    base = record_of(folder, "base").evaluations["test"].pass_at_k
    assert grpo["seeds"] == 3 and grpo["pass_at_1"] == pytest.approx(np.mean([at[1] for at in seeds]))
    assert grpo["gap"] == pytest.approx(base[K] - np.mean([at[1] for at in seeds]))
    assert table.query("label == 'base' and dataset == 'test'").iloc[0]["gap"] == pytest.approx(base[K] - base[1])
    assert table.query("label != 'grpo'")["place_first"].isna().all() and grpo["place_first"] == 1
    variant = table.query("variant == 'learning_rate=3e-4'")
    assert set(variant["algorithm"]) == {"rloo"} and set(variant["label"]) == {"rloo (learning_rate=3e-4)"}


def test_cells_are_the_records(runs, folder):
    cells = runs.cells()
    assert len(cells) == 12 and len(cells.columns) < 70
    row = cells.query("cell == 'grpo-s1' and dataset == 'ood'").iloc[0]
    gap = record_of(folder, "grpo-s1").gap["ood"]
    assert (row["gap"], row["gap_low"], row["gap_high"]) == pytest.approx((gap.gap, gap.low, gap.high))
    assert (row["gain_at_1"], row["closed_high"]) == pytest.approx((gap.gain_at_1.value, gap.closed.high), nan_ok=True)
    assert (row["group_size"], row["learning_rate"], row["steps"], row["seed"]) == (8, 1e-4, 300, 1)
    assert row["training_tokens"] == 256 * 33 * 300 + 17 and row["status"] == "counts"
    assert cells["seed"].dtype == "Int64" and cells.query("label == 'base'")["gap"].isna().all()


def test_long(runs):
    wide, long = runs.table(), runs.table(long=True)
    assert list(long.columns[-4:]) == ["metric", "value", "low", "high"]
    one = long.query("label == 'grpo' and dataset == 'test' and metric == 'gap'").iloc[0]
    same = wide.query("label == 'grpo' and dataset == 'test'").iloc[0]
    assert (one["value"], one["low"], one["high"]) == (same["gap"], same["gap_low"], same["gap_high"])
    assert long["value"].notna().all() and not long.duplicated(["dataset", "verdict", "label", "metric"]).any()


def test_curves(runs, folder):
    curves = runs.curves()
    base = curves.query("label == 'base' and dataset == 'test'")
    recorded = record_of(folder, "base").evaluations["test"].pass_at_k
    assert base["k"].tolist() == [1, 2, 4, 8, 16]
    assert base["pass_at_k"].tolist() == pytest.approx([recorded[k] for k in base["k"]])
    assert (curves["pass_at_k_low"] <= curves["pass_at_k"]).all() and curves["pass_at_k_high"].notna().all()


def test_log(runs):
    log = runs.log()
    assert len(log) == 5 * 100 and log["step"].max() == 100
    assert list(log.columns[6:12]) == ["step", "update", "reward", "accuracy", "entropy", "length"]
    assert log["length"].eq(35).all() and log["grad_norm"].isna().all()


def test_problems(runs, folder):
    counts = read_counts(folder / "countdown" / "grpo-s0" / "eval" / "test" / "counts.jsonl")
    found = runs.problems().query("cell == 'grpo-s0' and dataset == 'test'")
    assert found["correct"].tolist() == counts.c_N.tolist()
    assert found["pass_at_4"].tolist() == pytest.approx(counts.pass_at_k(4).tolist())


def test_gap(folder):
    base, trained = (folder / "countdown" / cell / "eval" / "test" / "counts.jsonl" for cell in ("base", "grpo-s0"))
    found, gap = rg.gap(base, rg.read_counts(trained), k=K), record_of(folder, "grpo-s0").gap["test"]
    assert found.index.name == "metric" and list(found.columns) == ["value", "low", "high"]
    assert found.loc["gap"].tolist() == pytest.approx([gap.gap, gap.low, gap.high])
    assert found.loc["trained_pass_at_1", "value"] == pytest.approx(gap.trained_pass_at_1)


def test_completions(trained, monkeypatch):
    runs = rg.load(trained)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = runs.completions()
    problems = {problem.problem_id: problem for problem in rg.tasks.get("countdown").load("test")}
    assert len(found) == sum(entry.record.evaluations["test"].completions for entry in runs.entries) > 0
    assert found["question"].tolist() == [problems[one].prompt for one in found["problem_id"]]
    assert found["gold"].tolist() == [problems[one].answer for one in found["problem_id"]]
    assert list(found.columns[7:10]) == ["problem_id", "question", "gold"]
    one = found["problem_id"].iloc[0]
    assert set(runs.completions(problem=one)["problem_id"]) == {one}
    assert runs.completions(algorithm="base", seed=7).empty
    monkeypatch.setattr("benchmarks.tasks.countdown.Countdown.VERSION", 99)
    with pytest.warns(UserWarning, match="no questions and gold answers, they are of version 2 .* which has 99 now"):
        assert runs.completions()["gold"].isna().all()


def test_an_extracted_answer_stands_beside_the_gold_one(trained, monkeypatch):
    read = completion_tables.read_tables

    def with_answers(path):
        for table in read(path):
            stored = table.select([name for name in table.column_names if name != "answer"])
            yield stored.append_column("answer", pa.array(["7", *[None] * (table.num_rows - 1)]))

    monkeypatch.setattr(completion_tables, "read_tables", with_answers)
    found = rg.load(trained).completions(algorithm="base")
    assert list(found.columns[7:11]) == ["problem_id", "question", "gold", "answer"]
    assert found["answer"].iloc[0] == "7" and found["answer"].iloc[1:].isna().all()


def test_what_is_not_there(runs, folder, tmp_path):
    with pytest.raises(UsageError, match=r"unknown algorithm 'grp'\. Did you mean 'grpo'"):
        runs.select("grp")
    with pytest.raises(UsageError, match=r"unknown dataset 'tset'\. Did you mean 'test'"):
        rg.plot.curves(runs, dataset="tset")
    with pytest.raises(UsageError, match="no curves by the verdict 'sound'"):
        rg.plot.curves(runs, verdict="sound")
    with pytest.raises(UsageError, match=r"unknown metric 'rewards'\. Did you mean 'reward'"):
        rg.plot.training(runs, ["rewards"])
    with pytest.raises(UsageError, match="does not exist"):
        rg.load(tmp_path / "none")
    with pytest.warns(UserWarning, match="no completions of 'test' are stored"):
        assert runs.completions(algorithm="grpo", seed=0).empty
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    with pytest.warns(UserWarning, match="broken/record.json: .* is not a whole JSON file"):
        found = rg.load(tmp_path / "broken", folder)
    assert len(found.broken) == 1 and len(found) == 6


def test_a_diverged_run_is_listed(tmp_path):
    changes = {"diverged": True, "diverged_because": "loss is nan at step 7"}
    write_run(tmp_path, "grpo", {}, {}, training_changes=changes, evaluations={}, gap={})
    [row] = rg.load(tmp_path).cells().to_dict("records")
    assert (row["status"], row["remarks"], row["steps"]) == ("diverged", "loss is nan at step 7", 300)


# ------------------------------------------------------------------------------------------------ figures


@pytest.mark.parametrize("draw", [rg.plot.curves, rg.plot.forest, rg.plot.training, rg.plot.accuracy])
def test_figures(runs, draw):
    before = dict(mpl.rcParams)
    figure = draw(runs)
    assert isinstance(figure, Figure) and figure._repr_png_().startswith(b"\x89PNG")
    assert all(axes.get_xlabel() for axes in figure.axes if axes.axison)
    assert dict(mpl.rcParams) == before


def test_a_forest_has_every_gap(runs):
    axes = rg.plot.forest(runs, dataset="test").axes[0]
    table = runs.table().query("dataset == 'test' and label != 'base'").sort_values("gap", ascending=False)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"{row['label']} ({row['seeds']})" for _, row in table.iterrows()
    ]
    drawn = [line.get_xdata() for line in axes.lines[: len(table)]]
    assert np.array(drawn) == pytest.approx(100 * table[["gap_low", "gap_high"]].to_numpy())


def test_colours_are_those_of_the_algorithms(runs):
    """Also where only some are shown."""

    def colours(figure):
        [legend] = figure.legends
        names = (text.get_text() for text in legend.get_texts())
        return dict(zip(names, (line.get_color() for line in legend.get_lines()), strict=True))

    everything, some = colours(rg.plot.curves(runs)), colours(rg.plot.curves(runs.select("rloo")))
    assert (
        some["rloo"] == everything["rloo"] == colours(rg.plot.training(runs))["rloo"] == COLOURS[NUMBERED.index("rloo")]
    )
    assert "grpo" not in some and "base" in some
    first = len(NUMBERED)
    assert colours_of(["b", "a", "grpo", "b"]) == {"a": first, "b": first + 1, "grpo": NUMBERED.index("grpo")}


def test_training_lines_are_thinned(runs):
    """One line for each of the five runs; 100 steps are shown as 50 means of two."""
    axes = rg.plot.training(runs, ["accuracy"]).axes[0]
    assert len(axes.lines) == 5
    log = runs.log().query("cell == 'grpo-s0'")
    assert axes.lines[0].get_ydata() == pytest.approx(100 * log["accuracy"].to_numpy().reshape(50, 2).mean(1))
    assert axes.lines[0].get_xdata()[0] == 1.5


# ------------------------------------------------------------------------------------------------ page, notebook


def test_training_curves_stand_once_on_the_page(folder, tmp_path):
    """In the first of the sections of the same runs; the other one points there."""
    build(folder, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert html.count('<h3 id="section-1-training">Training</h3>') == 1 and "section-2-training" not in html
    assert 'The curves of training are in <a href="#section-1-training">section 1</a>' in html
    assert "Beyond 60 steps, a point is the mean of a few." in html


def test_a_damaged_log_is_listed_and_moves_no_number(tmp_path):
    base = {"test": draw_counts(0.2, 12, 0)}
    write_run(tmp_path, "base", base)
    path = write_run(tmp_path, "grpo", {"test": draw_counts(0.4, 12, 1)}, base)
    write_log(path.parent, 3).write_text("{\n")
    page = build(tmp_path, tmp_path / "page.html")
    assert str(page.broken[0]).endswith("expected a JSON object with step and update.")
    html = (tmp_path / "page.html").read_text()
    assert "Training</h3>" not in html and "grpo" in html


def test_the_example_notebook_runs(trained, tmp_path, monkeypatch):
    """Its cells are run one after the other, as a script; it holds no outputs."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 8 and not any(cell["outputs"] for cell in cells)
    script = tmp_path / "example.py"
    script.write_text("\n\n".join("".join(cell["source"]) for cell in cells))
    monkeypatch.chdir(trained.parent)
    found = runpy.run_path(str(script))
    pd.testing.assert_frame_equal(found["cells"], rg.load(trained).cells())
    assert set(found["written"]["label"]) == {"grpo"}
