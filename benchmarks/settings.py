"""Building blocks of strict settings, shared by suites and the trainer."""

from __future__ import annotations

import typing
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.errors import unknown

Count = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
SignedShare = Annotated[float, Field(strict=True, ge=-1, le=1)]
K = Annotated[int, Field(ge=1)]  # not strict: it is a key of a JSON object, where every key is a string
Positive = Annotated[int, Field(strict=True, ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Stop = Annotated[str, Field(min_length=1, max_length=100)]


class Strict(BaseModel):
    """A part of a request or a record. It is immutable and refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True)


def require(condition: bool, message: str) -> None:
    """Raises ValueError with the message unless the condition holds. For validators."""
    if not condition:
        raise ValueError(message)


class Stops(Strict):
    """Stop strings. `benchmarks/stops.py` has the rule by which they end a completion."""

    before: Annotated[tuple[Stop, ...], Field(max_length=100)] = ()
    """The completion is read up to the start of the stop."""
    after: Annotated[tuple[Stop, ...], Field(max_length=100)] = ()
    """The completion is read up to the end of the stop."""

    @property
    def strings(self) -> list[str]:
        """All of them, without repetitions."""
        return list(dict.fromkeys([*self.before, *self.after]))

    def find(self, text: str) -> int | None:
        """Returns the position in `text` up to which it is read, or None if no stop is in it."""
        found = [
            (start + len(stop), start, start + len(stop) * kept)
            for stops, kept in ((self.before, False), (self.after, True))
            for stop in stops
            if (start := text.find(stop)) >= 0
        ]
        return min(found)[2] if found else None


class Sampling(Strict):
    """How completions are sampled."""

    temperature: Rate
    top_p: Annotated[float, Field(gt=0, le=1)]
    top_k: Annotated[int, Field(ge=0)]
    """0 switches it off."""
    max_new_tokens: Positive
    stops: Stops = Stops()
    """Those of the prompt template, or the suite's in their place; a suite has them at its top (`stops`)."""


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Returns one line about pydantic's first error: the key, what is wrong, and the nearest key to an unknown one."""
    errors = error.errors(include_url=False)
    first, more = errors[0], len(errors) - 1
    rest = f" (and {more} more)" if more else ""
    loc = first["loc"]
    where = ".".join(str(part) for part in loc) or "the object"
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', str(loc[-1]), _fields_at(model, loc[:-1]))}{rest}"
    if first["type"] == "missing":
        return f"{where}: this key is missing{rest}."
    message = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], dict | BaseModel) else f", got {first['input']!r}"
    return f"{where}: {message}{given}{rest}."


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Returns the keys of the model that `loc` leads to from `model`."""
    skip = False  # the part after a dict's name is one of the dict's own keys, whatever it is called
    for part in loc:
        field = None if skip else next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        skip = False
        if field is not None:
            parts = _flatten(field.annotation)
            skip = dict in parts
            model = next((p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _flatten(annotation: Any) -> list[Any]:
    """Returns a type and all types in its brackets: `dict[str, Gap] | None` -> [..., dict, str, Gap, NoneType]."""
    inner = [part for argument in typing.get_args(annotation) for part in _flatten(argument)]
    return [typing.get_origin(annotation) or annotation, *inner]
