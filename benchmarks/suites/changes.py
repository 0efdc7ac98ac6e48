"""Changes of single keys, as `--set training.learning_rate=1e-4` asks for them. The value is YAML."""

from __future__ import annotations

import re
from typing import Any

import yaml

from benchmarks import strict_yaml
from benchmarks.errors import UsageError

_NUMBER = re.compile(r"[-+]?[0-9.]+e[-+]?[0-9]+", re.IGNORECASE)
"""Matches a number that YAML 1.1 would read as text, such as 1e-4."""


def apply_change(data: dict[str, Any], change: str) -> None:
    """Sets the key in `data`. UsageError for a change without a key or a value, or a value that is not YAML."""
    path, equals, text = change.partition("=")
    *parents, key = path.split(".")
    place: Any = data
    for parent in parents:
        if isinstance(place, dict) and place.get(parent) is None:
            place[parent] = {}  # a section that is not set yet; a wrong name is refused when all is validated
        place = place.get(parent) if isinstance(place, dict) else None
    if not equals or not key or not isinstance(place, dict):
        raise UsageError(f"--set '{change}': expected a key of the suite and a value, as training.learning_rate=1e-4.")
    try:
        place[key] = strict_yaml.load(text) if not _NUMBER.fullmatch(text) else float(text)
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or error
        raise UsageError(
            f"--set '{change}': the value is not YAML ({reason}); expected such as {{rank: 4}}."
        ) from error
