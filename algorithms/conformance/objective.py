"""Checks of what an algorithm says of itself, of its settings, and of the objective that TRL is given."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, ClassVar, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from algorithms.base import Algorithm, Surrogate
from algorithms.config import config_fields, describe
from algorithms.conformance.batches import G, P, T
from algorithms.settings import Settings
from benchmarks.errors import UsageError
from benchmarks.outside import one_line

Findings = Iterator[str]
COMMON = Settings.model_validate(
    {
        "budget": {"steps": 5}, "prompts_per_step": P, "group_size": G, "mini_batches_per_step": 2,
        "learning_rate": 1e-3, "save_every_steps": 5,
        "sampling": {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "max_new_tokens": T},
    }
)  # fmt: skip
"""What a suite that says nothing of the objective asks for."""
CHANGES: dict[str, Any] = {"clip_range": 0.1, "kl_coefficient": 0.01, "loss": "sequence_mean", "mask_truncated": True}
"""Another value of each part of the objective that a suite can set."""


def says_what_it_is(algorithm: Algorithm) -> Findings:
    """It has a docstring, a name and the paper that it is from (or a word on where the idea is from)."""
    kind = type(algorithm)
    if not (kind.__dict__.get("__doc__") or "").strip() or (kind.__doc__ or "").startswith(f"{kind.__name__}("):
        yield f"class {kind.__name__} has no docstring: say in a line what it does"
    paper = getattr(algorithm, "paper", None)
    if not isinstance(paper, str) or not paper.strip():
        yield f'class {kind.__name__} has no paper: write paper: ClassVar[str] = "arXiv 2503.20783", or "unpublished"'


def is_a_frozen_value(algorithm: Algorithm) -> Findings:
    """It holds settings and no state: a frozen dataclass, equal to another one with the same settings."""
    kind = type(algorithm)
    hints = get_type_hints(kind)
    declared = [name for name in inspect.get_annotations(kind) if get_origin(hints[name]) is not ClassVar]
    if any(name not in kind.__dataclass_fields__ for name in declared):
        yield f"class {kind.__name__} is not a dataclass: write @dataclass(frozen=True) above it"
    elif (again := replace(algorithm)) != algorithm or hash(again) != hash(algorithm):
        yield f"two {kind.__name__}() with the same settings differ"


def declares_its_settings(algorithm: Algorithm) -> Findings:
    """Whatever can be set is a field with a type, which pydantic validates, and with a valid default."""
    kind = type(algorithm)
    declared = {field.name for field in fields(algorithm)}
    annotations = {name for base in kind.__mro__ for name in inspect.get_annotations(base)}
    for base in kind.__mro__[:-1]:
        for name, value in vars(base).items():
            plain = not name.startswith("_") and not callable(value) and not isinstance(value, property | classmethod)
            if plain and not isinstance(value, staticmethod) and name not in annotations | declared:
                yield f"'{name}' is no declared setting: write {name}: {type(value).__name__} = {value!r}"
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(algorithm):
        if hints[field.name] in (Any, object):
            yield f"setting '{field.name}' is of any type, so nothing validates it: give it the type that it has"
    try:
        TypeAdapter(kind).validate_python({f.name: getattr(algorithm, f.name) for f in fields(algorithm)}, strict=False)
    except PydanticSchemaGenerationError as error:
        yield f"a setting has a type that cannot be validated: {str(error).splitlines()[0]}"
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        yield f"the default of setting '{'.'.join(map(str, first['loc']))}' is not valid: {first['msg']}"


def records_its_settings(algorithm: Algorithm) -> Findings:
    """A record holds the settings as JSON, so they must survive it."""
    for name, value in describe(algorithm)["settings"].items():
        try:
            back = json.loads(json.dumps(value, allow_nan=False))
            survives = back == (list(value) if isinstance(value, tuple) else value)
        except (TypeError, ValueError):
            survives = False
        if not survives:
            yield f"setting '{name}' does not survive JSON ({value!r}): use numbers, strings, bools, lists or null"


# ------------------------------------------------------------------------------------------------ objective


def pins_what_exists(algorithm: Algorithm) -> Findings:
    """What it pins are fields of `Surrogate`, with values that the objective knows."""
    known = [field.name for field in fields(Surrogate)]
    pins = algorithm.pins()
    wrong = [name for name in pins if name not in known]
    for name in wrong:
        yield f"pins has '{name}', which is no part of the objective; it has: {', '.join(known)}"
    for name, value in pins.items():
        if name in known and (reason := _refused(name, value)):
            yield f"pins has {name} = {value!r}, which cannot be: {reason}"
            wrong.append(name)
    if not wrong:
        try:
            replace(Surrogate(), **pins).trl_config()
        except (KeyError, ValueError, TypeError) as error:
            yield f"pins has a value that the objective does not know: {one_line(error)}"


def _refused(name: str, value: object) -> str | None:
    """Why a pin has not the type of its field, or is a number out of the range that suites have for it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and name in Settings.model_fields
    try:
        TypeAdapter(Surrogate).validate_json(json.dumps({name: value}), strict=True)
        if is_number:
            Settings.model_validate({**COMMON.model_dump(exclude_defaults=True), name: value})
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["msg"])
    except TypeError as error:
        return one_line(error)
    return None


def states_the_objective_in_full(algorithm: Algorithm) -> Findings:
    """A `trl_config` of its own says everything that the common one does, since TRL's defaults are never relied on."""
    missing = sorted(set(Surrogate().trl_config()) - set(algorithm.trl_config()))
    if missing:
        yield f"trl_config leaves {', '.join(missing)} to TRL's default: start from super().trl_config()"


def leaves_the_rest_to_the_suite(algorithm: Algorithm) -> Findings:
    """A `trl_config` of its own sets nothing outside of the objective: that is the suite's, and equal for all."""
    common = set(config_fields(Algorithm(), COMMON, folder="out", seed=1, processes=1, accelerator=False))
    for name in sorted(set(algorithm.trl_config()) & (common - set(Surrogate().trl_config()))):
        yield f"trl_config sets '{name}', which is the suite's to set and is no part of the objective"


def follows_the_suite(algorithm: Algorithm) -> Findings:
    """What it does not pin is the suite's: another value there makes another objective."""
    for name, value in CHANGES.items():
        changed = replace(algorithm, surrogate=replace(Surrogate(), **{name: value}))
        if name not in algorithm.pins() and changed.trl_config() == algorithm.trl_config():
            yield f"a suite's {name} = {value!r} changes nothing: start trl_config from super().trl_config(), or pin it"


def is_known_to_trl(algorithm: Algorithm) -> Findings:
    """Every setting in `trl_config` is a field of TRL's GRPOConfig, which accepts them together."""
    from algorithms.train import refusal, trl_fields

    unknown = sorted(set(algorithm.trl_config()) - trl_fields())
    for name in unknown:
        yield f"trl_config sets '{name}', which TRL's GRPOConfig does not have"
    if not unknown and (reason := refusal(algorithm, COMMON)) is not None:
        yield f"TRL's GRPOConfig refuses the settings: {reason}"


def trains_at_common_settings(algorithm: Algorithm) -> Findings:
    """A suite that says nothing of the objective is accepted."""
    try:
        config_fields(algorithm, COMMON, folder="out", seed=1, processes=1, accelerator=False)
    except UsageError as error:
        yield f"it refuses a suite with the common settings: {error}"
