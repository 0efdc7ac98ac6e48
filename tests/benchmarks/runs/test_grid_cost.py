"""What a grid is expected to cost: a small one by hand, and the paper's as docs/scaling.md says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from benchmarks.errors import UsageError
from benchmarks.launchers.resources import Resources, Throughput
from benchmarks.records.schema import BASE
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.grid_cost import Cost, expected, limits
from benchmarks.runs.grid_plan import GridCell, plan
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import Suite, load, parse, with_changes
from tests.benchmarks.micro import data

DOCS = Path(__file__).parents[3] / "docs"
PAPER = ("grpo", "ppo", "remax", "rloo", "reinforce_pp", "dapo")


def cells(suite: Suite, algorithms: tuple[str, ...], seeds: int, out: Path) -> list[GridCell]:
    """Without the hashes of a plan, which need the base model."""
    asked = [(BASE, 0), *((name, seed) for seed in range(seeds) for name in algorithms)]
    return [GridCell(CellRun(suite, name, seed, Place(out)), "") for name, seed in asked]


def test_by_hand(tmp_path):
    """Two trainings: 2 steps x 8 completions x 10 tokens each = 320, at 4 a second: 80 s.

    Evaluations: the base once; two policies at their end and after one step: 5 x 4 problems x 8 samples x 10 tokens x
    half of them = 800, at 2 a second: 400 s.
    """
    suite = parse(data({"evaluation.checkpoints": [1]}))
    throughput = Throughput(
        sampling_tokens_per_s=2, training_tokens_per_s=4, tokens_per_completion=10, sequential_share=0.5
    )
    found = expected(cells(suite, ("grpo",), 2, tmp_path), throughput)
    assert (found.training_tokens, found.evaluation_tokens) == (320, 800)
    assert (found.training_hours * 3600, found.evaluation_hours * 3600) == pytest.approx((80, 400))
    fixed = with_changes(suite, ["evaluation.design={rounds: [8]}", "training.budget={tokens: 99}"])
    found = expected(cells(fixed, ("grpo",), 2, tmp_path), throughput)
    assert (found.training_tokens, found.evaluation_tokens) == (198, 1600)


def test_a_size_that_is_not_known(tmp_path):
    suite = load("omni-math-qwen2.5-7b")
    throughput = Throughput(sampling_tokens_per_s=1, training_tokens_per_s=1, tokens_per_completion=1)
    with pytest.raises(UsageError, match=r"cannot be loaded here .*throughput\.problems"):
        expected(cells(suite, (), 0, tmp_path), throughput)


def test_limits(tmp_path):
    grid = cells(parse(data()), ("grpo",), 2, tmp_path)
    said = limits(grid, Resources(time_min=120, gpus=8, nodes=2))
    assert said.startswith("3 jobs of up to 120 min on 2 machines with 8 GPUs each: at most 96 GPU-hours")


def test_the_page_says_what_the_program_computes(tmp_path):
    page = (DOCS / "scaling.md").read_text()
    block = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "throughput:" in block)
    throughput = Resources.model_validate(yaml.safe_load(block)).throughput
    assert throughput is not None
    suite = load("omni-math-qwen2.5-7b")
    fixed = with_changes(suite, ["evaluation.design={rounds: [256]}"])
    points = with_changes(suite, ["evaluation.checkpoints=[150, 300]"])
    costs: dict[str, Cost] = {
        name: expected(cells(one, PAPER, 3, tmp_path), throughput)
        for name, one in (("sequential", suite), ("fixed", fixed), ("points", points))
    }

    def row(name: str, tokens: float, hours: float) -> str:
        return f"| {name} | {tokens / 1e9:.3g} G | {hours:,.0f} |"

    for name, cost in list(costs.items())[:2]:
        assert row("training", cost.training_tokens, cost.training_hours) in page
        assert row(f"evaluation, {name} design", cost.evaluation_tokens, cost.evaluation_hours) in page
        tokens, hours = cost.training_tokens + cost.evaluation_tokens, cost.training_hours + cost.evaluation_hours
        assert row(f"together, {name} design", tokens, hours) in page
    found = costs["points"]
    assert f"{found.evaluation_tokens / 1e9:.3g} G tokens and {found.evaluation_hours:,.0f} GPU-hours" in page


def test_a_plan_does_not_need_the_model_of_the_hub_but_a_folder_must_be_there(tmp_path):
    found = plan(parse(data({"base_model": "nobody/nothing"})), ["grpo"], ["0"], Place(tmp_path), guess=True)
    assert [cell.name for cell in found] == ["base", "grpo-s0"] and not any(cell.is_done for cell in found)
    with pytest.raises(UsageError):
        plan(parse(data({"base_model": str(tmp_path / "no" / "folder")})), ["grpo"], ["0"], Place(tmp_path), guess=True)
