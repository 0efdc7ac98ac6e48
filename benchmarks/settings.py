"""Building blocks of strict settings, shared by suites and the trainer."""

from __future__ import annotations

import difflib
import re
import typing
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.errors import UsageError, unknown

Count = Annotated[int, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
SignedShare = Annotated[float, Field(strict=True, ge=-1, le=1)]
K = Annotated[int, Field(ge=1)]  # not strict: it is a key of a JSON object, where every key is a string
Positive = Annotated[int, Field(strict=True, ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Stop = Annotated[str, Field(min_length=1, max_length=100)]


class Strict(BaseModel):
    """A part of a request or a record. It is immutable and refuses unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True, use_attribute_docstrings=True
    )


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

    temperature: Temperature = 1.0
    """1 samples from the model's own distribution; 0 decodes greedily, whatever top_p, top_k and the seed are."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """1 switches it off."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """0 switches it off."""
    max_new_tokens: Positive
    """Longest completion; one that reaches it is cut off."""
    stops: Stops = Stops()
    """Those of the prompt template, or the suite's in their place; a suite has them at its top (`stops`)."""

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn at random, so that all samples of a prompt are the same."""
        return self.temperature == 0


SYNONYMS: dict[str, tuple[str, ...]] = {
    "lr": ("learning_rate",),
    "batch_size": ("prompts_per_step", "rows_per_batch"),
    "train_batch_size": ("prompts_per_step",),
    "per_device_train_batch_size": ("micro_batch_rows",),
    "n": ("group_size", "design", "rounds"),
    "num_generations": ("group_size",),
    "num_samples": ("design", "rounds"),
    "max_tokens": ("max_new_tokens",),
    "max_completion_length": ("max_new_tokens",),
    "model": ("base_model",),
    "max_steps": ("budget",),
    "epochs": ("passes_per_step", "budget"),
    "num_iterations": ("passes_per_step",),
    "ppo_epochs": ("passes_per_step",),
    "beta": ("kl_coefficient",),
    "kl": ("kl_coefficient",),
    "epsilon": ("clip_range",),
    "warmup_ratio": ("warmup_share",),
    "lr_scheduler_type": ("schedule",),
    "save_steps": ("save_every_steps",),
    "bf16": ("precision",),
    "dtype": ("precision", "settings"),
    "template": ("prompt_template",),
    "data": ("dataset", "datasets"),
    "size": ("problems",),
}
"""What other tools call a setting -> what it may be called here. The first one that exists at its place is meant."""


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Returns one line about pydantic's first error, and the number of the others."""
    first, *more = findings(model, error)
    return f"{first.removesuffix('.')} (and {len(more)} more)." if more else first


def findings(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Returns a sentence for each thing that is wrong: the key, what was found, what was expected, and the nearest."""
    errors = error.errors(include_url=False)
    return list(dict.fromkeys(_finding(model, one) for one in errors))


def _finding(model: type[BaseModel], error: Any) -> str:
    loc, kind = error["loc"], error["type"]
    where = ".".join(str(part) for part in loc) or "the object"
    if kind == "extra_forbidden":
        return f"{where}: {_unknown_key(model, loc)}"
    if kind == "missing":
        field = _model_at(model, loc[:-1]).model_fields.get(str(loc[-1]))
        meaning = " ".join((field.description or "").split()).removesuffix(".") if field else ""
        needs = ", ".join(_required(field.annotation)) if field else ""
        return (
            f"{where}: this key is missing{f' ({meaning})' if meaning else ''}{f'; it needs {needs}' if needs else ''}."
        )
    message = error["msg"].removeprefix("Value error, ").removesuffix(".")
    if isinstance(error.get("ctx", {}).get("error"), UsageError):
        return f"{where}: {message}."
    given = error["input"]
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
        return f"{where}: expected {error['ctx']['expected']}, got {given!r}." + (
            f" Did you mean '{close[0]}'?" if close else ""
        )
    if kind in ("model_type", "dict_type"):
        message = "expected keys and values"
    elif kind == "tuple_type":
        message = "expected a list"
    elif kind == "string_pattern_mismatch":
        message = "expected letters, digits, '.', '_' and '-', beginning with a letter or digit"
    message = message.replace("Input should be a valid", "expected a valid").replace("Input should be", "should be")
    return f"{where}: {message.replace('Tuple', 'the list')}" + (
        "." if isinstance(given, dict | BaseModel) else f", got {given!r}."
    )


def _required(annotation: Any) -> list[str]:
    """The keys without a default in a section, and in the sections that it must have: `sampling.max_new_tokens`."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    keys = {key: _required(field.annotation) for key, field in annotation.model_fields.items() if field.is_required()}
    return [f"{key}.{inner}" if inner else key for key, inners in keys.items() for inner in inners or [""]]


def _unknown_key(model: type[BaseModel], loc: tuple[int | str, ...]) -> UsageError:
    """The key that is meant may be called otherwise elsewhere, or stand in a section below."""
    name, here = str(loc[-1]), _model_at(model, loc[:-1])
    keys = _keys(here)
    known = next((one for one in SYNONYMS.get(name, ()) if one in keys), "")
    return unknown("key", name, keys, known or _below(here, name))


def _below(model: type[BaseModel], name: str) -> str:
    """`sampling.temperature` for `temperature`: the first section of the model that has the key, or nothing."""
    names = (name, *SYNONYMS.get(name, ()))
    for key, field in model.model_fields.items():
        for part in _flatten(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel) and dict not in _flatten(field.annotation):
                found = next((one for one in names if one in part.model_fields), None)
                if found:
                    return f"{key}.{found}"
    return ""


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Returns the model that `loc` leads to from `model`."""
    skip = False  # the part after a dict's name is one of the dict's own keys, whatever it is called
    for part in loc:
        field = None if skip else next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        skip = False
        if field is not None:
            parts = _flatten(field.annotation)
            skip = dict in parts
            model = next((p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)), model)
    return model


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _flatten(annotation: Any) -> list[Any]:
    """Returns a type and all types in its brackets: `dict[str, Gap] | None` -> [..., dict, str, Gap, NoneType]."""
    inner = [part for argument in typing.get_args(annotation) for part in _flatten(argument)]
    return [typing.get_origin(annotation) or annotation, *inner]
