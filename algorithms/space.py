"""Which settings of an algorithm are worth tuning, and over what range. An algorithm's own stand in its class.

Keys are those of `settings.Settings` (common to all) or of the algorithm itself. A suite may override them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, FiniteFloat, JsonValue, model_validator

from benchmarks.settings import Strict

if TYPE_CHECKING:
    from algorithms.base import Algorithm


class Range(Strict):
    """All numbers between two bounds, both of them included."""

    low: FiniteFloat
    """The least value."""
    high: FiniteFloat
    """The largest value."""
    log: bool = False
    """Whether equal factors are equally likely, as is due for a learning rate, and not equal steps."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log scale needs low above 0, got {self.low}")
        return self


class Choice(Strict):
    """One of several values."""

    choices: Annotated[tuple[JsonValue, ...], Field(min_length=2)]
    """The values."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(isinstance(one, dict | list) for one in self.choices):
            raise ValueError("choices are numbers, text, true or false")
        if len({repr(one) for one in self.choices}) < len(self.choices):
            raise ValueError(f"choices must differ, got {list(self.choices)}")
        return self


Axis = Range | Choice
COMMON: dict[str, Axis] = {
    "learning_rate": Range(low=2e-5, high=5e-4, log=True),
    "group_size": Choice(choices=(4, 8, 16)),
    "mini_batches_per_step": Choice(choices=(1, 2, 4, 8)),
    "passes_per_step": Choice(choices=(1, 2)),
    "clip_range": Range(low=0.1, high=0.4),
    "kl_coefficient": Choice(choices=(0.0, 0.001, 0.01)),
}
"""What every algorithm has, unless it pins it. All values are around the suites' own, which lie inside."""


def space_of(algorithm: type[Algorithm]) -> tuple[dict[str, Axis], dict[str, Axis]]:
    """Returns the common settings that may be tuned for this algorithm, and its own.

    A common one that the algorithm pins is left out, because a suite that sets it to another value is refused.
    """
    pinned = set(algorithm().pins())
    common = {key: axis for key, axis in COMMON.items() if key not in pinned}
    return common, {key: _axis(axis) for key, axis in algorithm.space.items()}


def _axis(given: Any) -> Axis:
    """(low, high), (low, high, "log") or a list of choices."""
    if isinstance(given, list):
        return Choice(choices=tuple(given))
    low, high, *log = given
    return Range(low=low, high=high, log=bool(log))
