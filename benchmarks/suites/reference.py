"""Writes the tables of docs/suites.md from the schema: every key of a suite with its type, its default and its meaning.

python -m benchmarks.suites.reference
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from benchmarks.suites.schema import Suite

PAGE = Path(__file__).parents[2] / "docs" / "suites.md"
MARK = "<!-- What follows is written by `python -m benchmarks.suites.reference`: do not edit it here. -->"
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "up to {}", "lt": "below {}"}


def page(text: str) -> str:
    """Returns the page with the tables of today's schema after its mark."""
    return f"{text.partition(MARK)[0]}{MARK}\n\n{tables()}"


def tables() -> str:
    """Returns a table for each section, the whole suite first."""
    return "\n".join(_table(name, model) for name, model in _sections("", Suite, set()))


def _sections(name: str, model: type[BaseModel], seen: set[type]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model under its name, and then those in its fields; each model once."""
    seen.add(model)
    yield name, model
    for key, field in model.model_fields.items():
        found = list(_models(field.annotation))
        for inner, depth in found:
            place = ".".join(filter(None, [name, key, *("NAME", "KEY")[:depth]]))
            if inner not in seen:
                yield from _sections(f"{place}, a {inner.__name__.lower()}" if len(found) > 1 else place, inner, seen)


def _models(annotation: Any, depth: int = 0) -> Iterator[tuple[type[BaseModel], int]]:
    """The models in a type, and in how many mappings each is."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, depth
    for argument in typing.get_args(annotation):
        yield from _models(argument, depth + (typing.get_origin(annotation) is dict))


def _table(name: str, model: type[BaseModel]) -> str:
    place, comma, kind = name.partition(",")
    heading = f"## `{place}`{comma}{kind}" if name else "## The whole file"
    about = "" if not name else f"{_line(model.__doc__)}\n\n"
    rows = "".join(_row(key, field) for key, field in model.model_fields.items())
    return f"{heading}\n\n{about}| key | type | default | meaning |\n|---|---|---|---|\n{rows}"


def _row(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", type_of(field.annotation, field.metadata), default_of(field), _line(field.description))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def default_of(field: FieldInfo) -> str:
    """Returns the default as YAML in one line, or `required`."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
        return f"`{_yaml(value)}`" if value else "its keys' own"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A value in YAML's flow style. JSON is that, but for quotes that YAML does not need."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(inner) for inner in value) + "]"
    return value if isinstance(value, str) and value else json.dumps(value)


def type_of(annotation: Any, metadata: typing.Sequence[Any] = ()) -> str:
    """Returns a type in words: `whole number from 1`, or `list of text, or null`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if hasattr(annotation, "__value__"):  # a type with a name, such as JsonValue
        return "anything"
    if origin is typing.Annotated:
        return type_of(arguments[0], [*arguments[1:], *metadata])
    if origin in (typing.Union, UnionType):
        words = [type_of(one, metadata) for one in arguments if one is not NoneType]
        return " or ".join(words) + (", or null" if NoneType in arguments else "")
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin is tuple:
        return f"list: {type_of(arguments[0])}"
    if origin is dict:
        return "keys and values"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return _PLAIN.get(annotation, "anything") + _bounds(metadata)


def _bounds(metadata: typing.Sequence[Any]) -> str:
    """` above 0 up to 1`, from the constraints of a type."""
    inner = [one for part in metadata for one in getattr(part, "metadata", [part])]
    found = [(words, getattr(one, name, None)) for one in inner for name, words in _BOUNDS.items()]
    return "".join(f" {words.format(value)}" for words, value in found if value is not None)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
