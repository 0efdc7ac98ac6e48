"""The prompt templates: the paper's to the letter, and questions inserted literally."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from benchmarks.base_models.recipe import make_tokenizer
from benchmarks.errors import UsageError
from benchmarks.settings import Stops
from benchmarks.tasks import Problem, prompts
from benchmarks.tasks.prompts import Template

TEXTS = {name: text for name in prompts.known() if (text := prompts.find(name).text) is not None}
DATA = os.environ.get("RLVR_GAP_TEST_DATA")


def test_a_question_is_inserted_literally() -> None:
    question = r"What is {x} + {question} in \boxed{}? {0} %s"
    for template in TEXTS:
        prompt = prompts.render(template, question)
        assert question in prompt
        assert len(prompt) == len(TEXTS[template]) - len("{question}") + len(question)


def test_raw_is_the_question_alone() -> None:
    assert prompts.render("raw", " 1 + 1 = ") == " 1 + 1 = "


@pytest.mark.skipif(not DATA, reason="RLVR_GAP_TEST_DATA names no folder: the paper's templates are not compared")
@pytest.mark.parametrize("name", ["think-answer", "qwen-boxed", "qwen25-math-cot"])
def test_the_papers_templates_are_verbatim(name: str) -> None:
    published = json.loads((Path(str(DATA)) / "prompt_templates.json").read_text())
    assert TEXTS[name] == published[name]


def test_an_unknown_template_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'think-answer'"):
        prompts.render("think_answer", "1 + 1")


HARNESS = {
    "think-answer": Stops(
        before=("</s>", "<|im_end|>", "<|endoftext|>", "User:", "Assistant:", "\nProblem"), after=("</answer>",)
    ),
    "qwen-boxed": Stops(before=("</s>", "<|im_end|>", "<|endoftext|>", "assistant", "user", "_end", "_start")),
}
HARNESS["qwen25-math-cot"] = HARNESS["qwen-boxed"]


@pytest.mark.parametrize("name", HARNESS)
def test_the_papers_templates_stop_where_its_harness_did(name: str) -> None:
    """The token ids 151645 and 151643 of its Qwen models are those of <|im_end|> and <|endoftext|>."""
    assert prompts.find(name).stops == HARNESS[name]


def test_raw_has_no_stops() -> None:
    assert prompts.find("raw").stops == Stops()


class Tokenizer:
    """As much of a transformers tokenizer as the template needs."""

    name_or_path = "own/model"

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template

    def get_chat_template(self) -> str:
        return str(self.chat_template)

    def apply_chat_template(self, turns: list[dict[str, str]], **settings: Any) -> str:
        assert settings == {
            "tokenize": False, "add_generation_prompt": True, "chat_template": "any", "date_string": "26 Jul 2024",
        }  # fmt: skip
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns) + "<assistant>"


def test_chat_uses_the_tokenizers_own_template() -> None:
    instruction = "\nPlease reason step by step, and put your final answer within \\boxed{}."
    assert prompts.render_chat(Tokenizer("any"), "1 + {x}") == f"<user>1 + {{x}}{instruction}<assistant>"


def test_a_tokenizer_without_a_template_is_named() -> None:
    with pytest.raises(UsageError, match=r"own/model.*no chat template.*think-answer"):
        prompts.render_chat(Tokenizer(None), "1 + 1")


def test_chat_without_a_tokenizer_says_what_to_call() -> None:
    with pytest.raises(UsageError, match="render_chat"):
        prompts.render("chat", "1 + 1")


# ----------------------------------------------------------------------------------------------- templates of one's own


def own(**parts: Any) -> Template:
    return Template.model_validate(parts)


def test_examples_come_before_the_question() -> None:
    examples = [{"question": "1 + 1", "answer": " 2"}, {"question": "{question}?", "answer": " 3"}]
    text = own(text="Q: {question}\nA:", examples=examples)
    assert prompts.render(text, "2 + 2") == "Q: 1 + 1\nA: 2\n\nQ: {question}?\nA: 3\n\nQ: 2 + 2\nA:"
    system = {"role": "system", "content": "Add."}
    turns = prompts.conversation(
        own(messages=[system, {"role": "user", "content": "Q: {question}"}], examples=examples[:1]), "2 + 2"
    )
    assert turns == [
        system, {"role": "user", "content": "Q: 1 + 1"}, {"role": "assistant", "content": " 2"},
        {"role": "user", "content": "Q: 2 + 2"},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


def test_a_thinking_switch_reaches_the_chat_template(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ messages[0].content[:3] }}{{ 'on' if enable_thinking is not false else 'off' }}"
    assert prompts.render_chat(tokenizer, "1+1", "chat") == "1+1on"
    assert prompts.render_chat(tokenizer, "1+1", "chat-no-thinking") == "1+1off"


@pytest.mark.parametrize(
    "asks",
    [
        "{{ strftime_now('%d %b %Y') }}",
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ date_string }}",
        "{% macro today() %}{{ strftime_now('%d %b %Y') }}{% endmacro %}"
        "{% for m in messages %}{{ today() }}{% endfor %}",
    ],
)
def test_a_chat_template_that_asks_for_the_date_gets_a_fixed_one(tokenizer: Any, asks: str) -> None:
    """Through transformers' own rendering, which would say today's."""
    tokenizer.chat_template = asks
    assert prompts.render_chat(tokenizer, "1+1") == "26 Jul 2024"


def test_the_fixed_date_takes_every_directive_of_strftime(tokenizer: Any) -> None:
    for form in ("%Y-%m-%d", "%A, %B %-d, %Y", "%H:%M:%S", "%j %y %I %p", "%Y年%m月%d日"):
        tokenizer.chat_template = f"\n{{{{ strftime_now('{form}') }}}}"
        assert prompts.render_chat(tokenizer, "1+1") == "\n" + prompts.DATE.strftime(form)


def test_a_chat_template_that_refuses_is_named(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no system prompt') }}"
    with pytest.raises(UsageError, match="refuses 'chat': no system prompt"):
        prompts.render_chat(tokenizer, "1+1")


def test_prompts_of_a_dataset() -> None:
    problems = [Problem("a", "1 + 1", "2", {"x": 1})]
    made = prompts.render_all("boxed", problems, lambda: pytest.fail("a text needs no tokenizer"))
    assert made.problems == (Problem("a", "1 + 1\nPlease put your final answer within \\boxed{}.", "2", {"x": 1}),)
    assert not made.chat
    assert prompts.render_all("chat", problems, lambda: Tokenizer("any")).chat


def test_a_file_is_a_template(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text('text: "Q: {question}"\nstops: {before: ["Q:"]}\n')
    found = prompts.find("mine.yaml", tmp_path)
    assert (found.name, found.text, found.stops.before) == ("mine", "Q: {question}", ("Q:",))
    with pytest.raises(UsageError, match=r"cannot read prompt template .*none.yaml"):
        prompts.find("none.yaml", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text: Solve it.", "{question} must be once in the text"),
        ("text: '{question}'\nmessages: [{role: user, content: '{question}'}]", "either a text or messages"),
        ("messages: [{role: system, content: '{question}'}]", "the last message must be the user's, got system"),
        ("text: '{question}'\narguments: {enable_thinking: false}", "arguments are for a template of messages"),
        ("text: '{question}'\nstop: [a]", "unknown key 'stop'.*Did you mean 'stops'"),
        ("text: '{question}'\nstops: {before: ['']}", "stops.before.0: String should have at least 1 character"),
        (f"text: '{{question}}{'x' * 100_000}'", "text: String should have at most 100000 characters"),
        ("- a", "is no YAML mapping"),
    ],
)
def test_mistakes_in_a_template_are_named_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        prompts.find("mine.yaml", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_rendered_prompt_as_a_text_has_the_same_tokens(tokenizer: Any) -> None:
    """Where a tokenizer adds its own start, the text is without it; where it would add another one, it is refused."""
    assert prompts.as_plain_text(tokenizer, "1+1=") == "1+1="
    starting = make_tokenizer()
    starting.bos_token = "<eos>"
    starting._tokenizer.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 1)])
    assert prompts.as_plain_text(starting, "<eos>1+1=") == "1+1="
    with pytest.raises(UsageError, match="training cannot use the chat template"):
        prompts.as_plain_text(starting, "1+1=")
