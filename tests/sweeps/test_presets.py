"""Presets: what `bench` and `grid` make of one, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.engines.identity import ModelRef
from benchmarks.errors import UsageError
from benchmarks.runs.grid import GridRun
from benchmarks.runs.grid_plan import plan
from benchmarks.runs.run_folder import Place
from benchmarks.suites import preset as presets
from benchmarks.suites.schema import load, parse
from tests.benchmarks.micro import data

SUITE = parse(data())


def entry(*changes: str) -> dict[str, Any]:
    fresh = {"value": 0.3, "low": 0.28, "high": 0.32, "seeds": 4}
    return {
        "changes": list(changes), "study": "grpo-gap-0123abcd", "objective": "gap", "trials": 12, "tokens": 120_000,
        "validation": fresh, "default": fresh | {"value": 0.4}, "why": "trial 5 leads the default on 4 fresh seeds.",
    }  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    tuned = {"grpo": entry("training.learning_rate=5e-5"), "rloo": entry("training.group_size=2"), "ppo": entry()}
    path = folder / "tuned.yaml"
    asked = {"schema": 1, "name": "tuned", "suite": SUITE.name, "suite_hash": SUITE.hash, "algorithms": tuned}
    path.write_text(yaml.safe_dump(asked | changes))
    return path


def test_a_grid_gives_each_algorithm_its_own_settings(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.runs.grid_plan.identify", lambda *_: ModelRef("m", "0" * 16, "x"))
    preset = presets.load(str(write(tmp_path)), SUITE)
    cells = plan(SUITE, ["grpo", "rloo", "ppo"], ["0", "1"], Place(tmp_path / "runs"), preset=preset)
    # one base for all of them; PPO keeps the default, so its cell is the suite's own
    assert [cell.name for cell in cells] == [
        "base", "grpo-s0-tuned", "rloo-s0-tuned", "ppo-s0", "grpo-s1-tuned", "rloo-s1-tuned", "ppo-s1",
    ]  # fmt: skip
    grpo, rloo = cells[1].run, cells[2].run
    assert (grpo.suite.trained.learning_rate, grpo.suite.trained.group_size) == (5e-5, SUITE.trained.group_size)
    assert (rloo.suite.trained.learning_rate, rloo.suite.trained.group_size) == (SUITE.trained.learning_rate, 2)
    assert {cell.run.table.hash for cell in cells} == {SUITE.hash} and grpo.base.suite.hash == SUITE.hash
    assert {cell.needs for cell in cells[1:]} == {("base",)}
    command = GridRun(cells, [], "local", None, 0, SUITE.resources).task(cells[1], [])
    assert command.command[-4:] == ("--set", "training.learning_rate=5e-5", "--name", "tuned")


def test_a_grid_of_the_base_alone(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.runs.grid_plan.identify", lambda *_: ModelRef("m", "0" * 16, "x"))
    preset = presets.load(str(write(tmp_path)), SUITE)
    for given in (None, preset):
        cells = plan(SUITE, ["base"], ["0"], Place(tmp_path / "runs"), preset=given)
        assert [cell.name for cell in cells] == ["base"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"suite": "other"}, "belongs to the suite 'other', and not to 'micro'"),
        ({"suite_hash": "0" * 16}, "Tune it again"),
        ({"algorithms": {"grpo": entry("training.budget.steps=9")}}, "expected training.KEY=VALUE, and none of budget"),
        ({"algorithms": {"grpo": entry("training.reward=answer")}}, "and none of budget, dataset, reward"),
        ({"algorithms": {"grpo": entry("evaluation.k=2")}}, "'evaluation.k=2': expected training.KEY=VALUE"),
        ({"algorithms": {"grpo": entry("training.algorithms.dapo.x=1")}}, "is a setting of another algorithm"),
        ({"algorithm": {}}, "Did you mean 'algorithms'?"),
    ],
)
def test_what_is_refused(tmp_path, changes, message):
    with pytest.raises(UsageError) as caught:
        presets.load(str(write(tmp_path, **changes)), SUITE)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_names(tmp_path):
    with pytest.raises(UsageError, match="suite 'micro': unknown preset 'tunde'"):
        presets.load("tunde", SUITE)
    with pytest.raises(UsageError, match=r"'tuned': unknown algorithm 'grpoo'\. Did you mean 'grpo'\?"):
        presets.load(str(write(tmp_path)), SUITE).changes_of("grpoo")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="holds no keys"):
        presets.read(tmp_path / "list.yaml")
    with pytest.raises(UsageError, match="cannot read preset"):
        presets.read(tmp_path / "none.yaml")


def test_what_is_written_is_read(tmp_path):
    preset = presets.load(str(write(tmp_path)), SUITE)
    presets.write(tmp_path / "again.yaml", preset)
    assert presets.read(tmp_path / "again.yaml") == preset


def test_presets_of_the_project_fit_their_suites():
    for folder in sorted(presets.PRESETS.glob("*/")):
        for name in presets.known(folder.name):
            presets.load(name, load(folder.name))
