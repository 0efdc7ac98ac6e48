"""The search space of one algorithm on one suite, by suite paths such as `training.learning_rate`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from algorithms.space import Axis, Range, space_of
from benchmarks.errors import UsageError, unknown
from benchmarks.outside import Found
from benchmarks.suites.schema import Suite

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ALL = "all"
"""The key of `sweep.spaces` that is for every algorithm."""


def axes_of(suite: Suite, found: Found) -> dict[str, Axis]:
    """Suite path -> what is searched: the algorithm's own space, with the suite's overrides.

    Raises UsageError for a key that the algorithm does not have, or if nothing is left.
    """
    common, own = space_of(found.made_by)
    prefix = f"training.algorithms.{found.name}."
    axes = {f"training.{key}": axis for key, axis in common.items()} | {prefix + key: axis for key, axis in own.items()}
    settable = {field.name for field in dataclasses.fields(found.made_by)} - {"surrogate"}
    known = {f"training.{key}" for key in type(suite.trained).model_fields} | {prefix + key for key in settable}
    spaces = suite.sweep.spaces if suite.sweep else {}
    for scope in (ALL, found.name):
        for key, axis in spaces.get(scope, {}).items():
            path = prefix + key if key in settable else f"training.{key}"
            if path not in known:
                raise unknown(f"key of sweep.spaces.{scope}", key, [one.rpartition(".")[2] for one in known])
            axes = {name: one for name, one in axes.items() if name != path} | ({path: axis} if axis else {})
    if not axes:
        raise UsageError(f"sweep.spaces leaves nothing to search for {found.name}.")
    return axes


def distributions(axes: Mapping[str, Axis]) -> dict[str, BaseDistribution]:
    """The same as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    def one(axis: Axis) -> BaseDistribution:
        if isinstance(axis, Range):
            return FloatDistribution(axis.low, axis.high, log=axis.log)
        return CategoricalDistribution(tuple(axis.choices))  # type: ignore[arg-type]

    return {key: one(axis) for key, axis in axes.items()}


def defaults(suite: Suite, found: Found, axes: Mapping[str, Axis]) -> dict[str, Any]:
    """What the suite and the algorithm have where nothing is searched."""
    settings = suite.trained
    own = {field.name: field.default for field in dataclasses.fields(found.made_by)}
    own |= settings.algorithms.get(found.name, {})
    prefix = f"training.algorithms.{found.name}."
    return {
        path: own[path.removeprefix(prefix)] if path.startswith(prefix) else getattr(settings, path.partition(".")[2])
        for path in axes
    }


def changes_of(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """As `--set` takes them. Every digit is kept: what was tried is what is exported."""
    return tuple(f"{path}={json.dumps(value)}" for path, value in sorted(parameters.items()))


def to_json(axes: Mapping[str, Axis]) -> dict[str, Any]:
    """For study.json."""
    return {path: axis.model_dump(mode="json") for path, axis in axes.items()}
