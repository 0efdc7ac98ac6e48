"""train/log.jsonl: a line for each step of a training, as the trainer logged it, and the four numbers that matter most.

    {"step": 1, "update": 4, "accuracy": 0.156, "completions/mean_length": 33.0, "entropy": 0.18, "reward": 0.156, ...}

A number that was not finite is null. A submission has the log packed, as log.jsonl.gz. The log belongs to no hash: a
page is built without it where it is not there.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure
from benchmarks.files import loads_strict, read_text

FILE = Path("train") / "log.jsonl"
"""In the folder of a run."""
HEADLINES = {
    "reward": "reward",
    "accuracy": "accuracy",
    "entropy": "entropy",
    "length": "completions/mean_length",
}
"""What one watches while a policy trains -> its name in the log.

reward       mean training reward of the step's completions, shaping included
accuracy     share of them that the verifier judges correct
entropy      mean entropy of the policy at a completion's tokens, in nats
length       mean tokens of a completion
"""


def read_training_log(folder: Path) -> list[dict[str, Any]] | None:
    """Returns the lines of a run's log in order, or None if it has none. Raises Failure for a damaged one.

    A last line that is not ended yet is left out: the training may be writing it.
    """
    text = _text(folder)
    if text is None:
        return None
    whole, _, _ = text.rpartition("\n")
    rows = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            rows.append(_checked(loads_strict(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise Failure(f"{FILE}, line {number}: {error}: expected a JSON object with step and update.") from error
    return rows


def _text(folder: Path) -> str | None:
    """The log as it is, or as a submission has it."""
    if (folder / FILE).is_file():
        return read_text(folder / FILE)
    packed = folder / f"{FILE}.gz"
    if not packed.is_file():
        return None
    try:
        return gzip.decompress(packed.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise Failure(f"{FILE}.gz is damaged ({error}).") from error


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    for name in HEADLINES.values():
        if not isinstance(row.get(name), int | float | None):
            raise ValueError(f"{name} is {row[name]!r}, which is no number")
    return {**row, "step": int(row["step"]), "update": int(row["update"])}


def headline(metrics: Mapping[str, Any]) -> str:
    """Returns a step's headlines in a line: "reward 0.31, accuracy 0.31, entropy 0.157, length 35.4"."""
    found = {name: metrics.get(key) for name, key in HEADLINES.items()}
    known = {name: value for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)}
    return ", ".join(f"{name} {value:.3g}" for name, value in known.items())
