"""Templates and stops in a cell: training and evaluation get the same prompts and the same stops."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from benchmarks.errors import UsageError
from benchmarks.suites.schema import BASE_MODELS
from benchmarks.tasks import prompts
from tests.benchmarks.micro import cell

pytestmark = pytest.mark.usefixtures("few_problems")


@pytest.fixture
def chatting(tmp_path) -> Path:
    """The embedded model with a chat template."""
    folder = shutil.copytree(BASE_MODELS / "countdown", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ '=' if add_generation_prompt }}"
    tokenizer.save_pretrained(folder)
    return folder


def test_training_uses_the_chat_template_and_the_stops_of_the_evaluation(tmp_path, chatting):
    template = {"messages": [{"role": "user", "content": "{question}"}], "stops": {"before": ["\n\n"]}}
    made = cell(tmp_path / "runs", changes={"base_model": str(chatting), "prompt_template": template})
    problems = made.suite.training.dataset.load()
    spec = made.training.spec(None)
    assert spec.prompts == [f"{problem.prompt}=" for problem in problems]
    assert spec.settings.sampling.stops == made.suite.template.stops
    rendered = prompts.render_all(made.suite.template, problems, lambda: AutoTokenizer.from_pretrained(chatting))
    assert rendered.chat and rendered.texts == spec.prompts


def test_a_model_without_a_chat_template_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match="has no chat template; use one of: boxed"):
        cell(tmp_path / "runs", changes={"prompt_template": "chat"}).run()
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_cell_with_stops_trains_and_is_measured(tmp_path):
    """A stop that ends every completion at its first line: base and policy are cut there, in rollouts too."""
    record = cell(tmp_path / "runs", changes={"stops": {"before": ["\n"]}}).run()
    evaluation = record.evaluations["test"]
    assert evaluation.sampling.model_extra["stops"] == {"before": ["\n"], "after": []}
    assert evaluation.tokens / evaluation.completions < 20
    assert record.training.tokens / record.training.completions < 20
    assert evaluation.verdicts.truncated == 0
