"""Prompt templates: data that says how a problem is put to a model, and where its completion stops.

A template is either a text with `{question}` in it, or messages that the tokenizer's own chat template wraps. The named
ones are the YAML files in `templates/`. A suite can also write one itself or name a file. think-answer, qwen-boxed and
qwen25-math-cot are exactly those of the source paper (2504.13837, appendix E).

A question is inserted literally. A chat template that asks for today's date gets `DATE`, so that a prompt is the same
every day.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from jinja2 import TemplateError
from pydantic import Field, JsonValue, ValidationError, model_validator

from benchmarks.errors import UsageError, unknown
from benchmarks.settings import Stops, Strict, explain
from benchmarks.tasks.base import Problem

FOLDER = Path(__file__).parent / "templates"
QUESTION = "{question}"
DATE = datetime.datetime(2024, 7, 26)
"""What every chat template is told today is: the date that Llama's templates fall back on."""
MOST_CHARACTERS = 100_000
"""The longest text of a template."""

Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]


class Message(Strict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Example(Strict):
    """A solved problem that is shown before the question (few-shot)."""

    question: Text
    answer: Text
    """The completion that the model should have given."""


class Template(Strict):
    """A prompt template: `text` or `messages`. Its last message is the user's, and holds the question."""

    name: str = "own"
    """What messages call it. It changes no prompt, and neither does the description."""
    description: str = ""
    text: Text | None = None
    messages: Annotated[tuple[Message, ...], Field(max_length=1000)] = ()
    examples: Annotated[tuple[Example, ...], Field(max_length=1000)] = ()
    """Each is rendered as the question is, followed by its answer."""
    separator: Text = "\n\n"
    """What stands between an example and what follows it, in a text."""
    arguments: dict[str, JsonValue] = {}
    """Arguments of the tokenizer's chat template, such as `enable_thinking: false`."""
    stops: Stops = Stops()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.text is None) == (not self.messages):
            raise ValueError("a template has either a text or messages")
        if self.text is not None and self.arguments:
            raise ValueError("arguments are for a template of messages, which the tokenizer's chat template renders")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError(f"the last message must be the user's, got {self.messages[-1].role}")
        places = [self.text] if self.text is not None else [message.content for message in self.messages]
        if [place.count(QUESTION) for place in places] != [0] * (len(places) - 1) + [1]:
            raise ValueError(f"{QUESTION} must be once in the text, or in the last message alone")
        return self

    @property
    def is_chat(self) -> bool:
        """Whether the tokenizer's chat template renders it."""
        return bool(self.messages)

    @property
    def content(self) -> dict[str, Any]:
        """All that a prompt and a completion depend on."""
        return self.model_dump(mode="json", exclude={"name", "description"})


# ------------------------------------------------------------------------------------------------ finding


def known() -> list[str]:
    """The names of the templates that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def is_file(name: str) -> bool:
    """Tells whether a template's name means a file."""
    return name.endswith((".yaml", ".yml"))


def find(template: str | Template, folder: Path = Path()) -> Template:
    """Returns a template by its name, or by a .yaml file relative to `folder`. UsageError if there is none."""
    if isinstance(template, Template):
        return template
    if is_file(template):
        return _read(folder / Path(template).expanduser())
    if template not in known():
        raise unknown("prompt template", template, known())
    return _named(template)


@functools.cache
def _named(name: str) -> Template:
    return _read(FOLDER / f"{name}.yaml")


def _read(path: Path) -> Template:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Template.model_validate({"name": path.stem, **data})
    except OSError as error:
        raise UsageError(f"cannot read prompt template {path}: {error.strerror or error}.") from error
    except ValidationError as error:
        raise UsageError(f"prompt template {path}: {explain(Template, error)}") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise UsageError(f"prompt template {path} is no YAML mapping: {' '.join(str(error).split())}.") from error


# ------------------------------------------------------------------------------------------------ rendering


@dataclass(frozen=True)
class Prompts:
    """The problems of a dataset as a model sees them."""

    problems: tuple[Problem, ...]
    """With the whole prompt as their `prompt`."""
    chat: bool
    """Whether the prompts hold their special tokens already, because a chat template made them."""

    @property
    def texts(self) -> list[str]:
        """The prompts in the order of the problems."""
        return [problem.prompt for problem in self.problems]


def render_all(template: str | Template, problems: Sequence[Problem], tokenizer: Callable[[], Any]) -> Prompts:
    """Returns the problems with their whole prompts. `tokenizer` is called only for a template of messages."""
    template = find(template)
    if template.is_chat:
        wrap = functools.partial(render_chat, tokenizer(), template=template)
        return Prompts(tuple(replace(problem, prompt=wrap(problem.prompt)) for problem in problems), True)
    return Prompts(tuple(replace(problem, prompt=render(template, problem.prompt)) for problem in problems), False)


def render(template: str | Template, question: str) -> str:
    """Returns the prompt of a template with a text. UsageError for an unknown one, or one of messages."""
    template = find(template)
    if template.text is None:
        raise UsageError(f"the template '{template.name}' is of messages, which needs a tokenizer: render_chat.")
    shown = "".join(
        template.text.replace(QUESTION, one.question) + one.answer + template.separator for one in template.examples
    )
    return shown + template.text.replace(QUESTION, question)


def render_chat(tokenizer: Any, question: str, template: str | Template = "chat") -> str:
    """Returns the prompt of a template of messages, by the chat template of a tokenizer (transformers).

    The prompt ends where the assistant's turn begins. It already holds the special tokens, so tokenize it with
    add_special_tokens=False. UsageError if the tokenizer has no chat template, or if that refuses the messages.
    """
    template = find(template)
    if not getattr(tokenizer, "chat_template", None):
        texts = ", ".join(name for name in known() if not _named(name).is_chat)
        raise UsageError(f"the tokenizer of '{_name(tokenizer)}' has no chat template; use one of: {texts}")
    arguments: Mapping[str, Any] = {"date_string": DATE.strftime("%d %b %Y"), **template.arguments}
    try:
        return str(
            tokenizer.apply_chat_template(
                conversation(template, question), chat_template=_with_fixed_date(tokenizer.get_chat_template()),
                tokenize=False, add_generation_prompt=True, **arguments,
            )
        )  # fmt: skip
    except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"the chat template of '{_name(tokenizer)}' refuses '{template.name}': {reason}.") from error


def _with_fixed_date(chat_template: str) -> str:
    """Returns a chat template (jinja) that gets `DATE` for today, by a macro in place of transformers' `strftime_now`.

    transformers hands only plain data to a template, so the function itself cannot be replaced by an argument.
    """
    if "strftime_now" not in chat_template:
        return chat_template
    values = {f"%{letter}": DATE.strftime(f"%{letter}") for letter in "aAwdbBmyYHIpMSfjUWcxXGuV"}
    values |= {f"%-{letter}": str(int(values[f"%{letter}"])) for letter in "dmyHIMSj"}
    changes = "".join(f"|replace({name!r}, {value!r})" for name, value in values.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{changes} }}}}{{% endmacro %}}\n{chat_template}"


def as_plain_text(tokenizer: Any, prompt: str) -> str:
    """Returns the text that has a rendered prompt's tokens where the tokenizer adds its own start to all texts.

    Raises UsageError if there is none: the chat template then begins otherwise than the tokenizer does.
    """
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    for text in (prompt, prompt.removeprefix(tokenizer.bos_token or "")):
        if tokenizer(text)["input_ids"] == ids:
            return text
    raise UsageError(
        f"training cannot use the chat template of '{_name(tokenizer)}': its tokenizer would add other special tokens "
        "to the prompts; write the prompt as a template with a text."
    )


def conversation(template: Template, question: str) -> list[dict[str, str]]:
    """Returns the messages with the question, and before it the examples as earlier turns."""
    *first, last = template.messages
    turns = [message.model_dump() for message in first]
    for one in template.examples:
        turns.append({"role": "user", "content": last.content.replace(QUESTION, one.question)})
        turns.append({"role": "assistant", "content": one.answer})
    return [*turns, {"role": "user", "content": last.content.replace(QUESTION, question)}]


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
