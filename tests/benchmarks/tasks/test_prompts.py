"""The prompt templates: the paper's to the letter, and questions inserted literally."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UsageError
from benchmarks.tasks import prompts

DATA = os.environ.get("RLVR_GAP_TEST_DATA")


def test_a_question_is_inserted_literally() -> None:
    question = r"What is {x} + {question} in \boxed{}? {0} %s"
    for template in prompts.TEMPLATES:
        prompt = prompts.render(template, question)
        assert question in prompt
        assert len(prompt) == len(prompts.TEMPLATES[template]) - len("{question}") + len(question)


def test_raw_is_the_question_alone() -> None:
    assert prompts.render("raw", " 1 + 1 = ") == " 1 + 1 = "


def test_every_template_has_one_place_for_the_question() -> None:
    assert {name: text.count("{question}") for name, text in prompts.TEMPLATES.items()} == dict.fromkeys(
        prompts.TEMPLATES, 1
    )


@pytest.mark.skipif(not DATA, reason="RLVR_GAP_TEST_DATA names no folder: the paper's templates are not compared")
@pytest.mark.parametrize("name", ["think-answer", "qwen-boxed", "qwen25-math-cot"])
def test_the_papers_templates_are_verbatim(name: str) -> None:
    published = json.loads((Path(str(DATA)) / "prompt_templates.json").read_text())
    assert prompts.TEMPLATES[name] == published[name]


def test_an_unknown_template_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'think-answer'"):
        prompts.render("think_answer", "1 + 1")


class Tokenizer:
    """As much of a transformers tokenizer as the template needs."""

    name_or_path = "own/model"

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template

    def apply_chat_template(self, turns: list[dict[str, str]], **settings: Any) -> str:
        assert settings == {"tokenize": False, "add_generation_prompt": True}
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns) + "<assistant>"


def test_chat_uses_the_tokenizers_own_template() -> None:
    assert prompts.render_chat(Tokenizer("any"), "1 + {x}") == "<user>1 + {x}<assistant>"


def test_a_tokenizer_without_a_template_is_named() -> None:
    with pytest.raises(UsageError, match=r"own/model.*no chat template.*think-answer"):
        prompts.render_chat(Tokenizer(None), "1 + 1")


def test_chat_without_a_tokenizer_says_what_to_call() -> None:
    with pytest.raises(UsageError, match="render_chat"):
        prompts.render("chat", "1 + 1")
