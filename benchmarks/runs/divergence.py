"""Whether a training diverged: numbers that are not finite, or a policy that collapsed. Read from the training's files.

A policy counts as collapsed if none of the completions of the last ten steps was right, although a policy that is still
as good as in the first ten steps would be expected to have at least twenty right ones among as many. The chance of that
is below exp(-20), or 2e-9. A diverged training is recorded with its cost. It is not evaluated, because a score would
stand for an algorithm that was never trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure
from benchmarks.files import loads_strict, read_text

FILE = "diverged.json"
"""Written by the training when it meets a number that is not finite."""
WINDOW = 10
EXPECTED = 20.0


@dataclass(frozen=True)
class Outcome:
    """How a training diverged, and what it had cost by then."""

    reason: str
    cost: dict[str, Any]


def not_finite(folder: Path) -> Outcome | None:
    """What the training in the folder wrote when a number was not finite; None if it did not."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        data = loads_strict(read_text(path))
        return Outcome(str(data["reason"]), dict(data["cost"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is damaged ({error}): remove it, and the training goes on.") from error


def collapse(accuracies: Sequence[float], rows_per_step: int) -> str | None:
    """Says how the policy collapsed, given its share of right completions in each step; None if it did not."""
    if len(accuracies) < 2 * WINDOW or any(accuracies[-WINDOW:]):
        return None
    expected = sum(accuracies[:WINDOW]) * rows_per_step
    if expected < EXPECTED:
        return None
    return (
        f"the policy collapsed: none of the last {WINDOW * rows_per_step} completions is right, where the first steps "
        f"had {round(expected)} right ones among as many"
    )


def find(folder: Path, rows_per_step: int) -> Outcome | None:
    """How the finished training in the folder diverged; None if it did not."""
    if (outcome := not_finite(folder)) is not None:
        return outcome
    lines = [loads_strict(line) for line in read_text(folder / "log.jsonl").splitlines()]
    reason = collapse([line.get("accuracy") or 0.0 for line in lines], rows_per_step)
    if reason is None:
        return None
    return Outcome(reason, dict(loads_strict(read_text(folder / "result.json"))["cost"]))
