"""YAML that says each thing once: a key that stands twice in one mapping is an error, where YAML takes the last one."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import UsageError


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            name, line = (str(key.tag), str(key.value)), key.start_mark.line + 1
            if name in seen:
                raise yaml.YAMLError(f"'{key.value}' stands on line {seen[name]} and again on line {line}")
            seen[name] = line
        return super().construct_mapping(node, deep)


def load(text: str) -> Any:
    """What `yaml.safe_load` returns. Raises yaml.YAMLError for a key that stands twice, too."""
    return yaml.load(text, _StrictLoader)  # noqa: S506 (a SafeLoader)


def read(path: Path, named: str) -> Any:
    """Returns what the file holds. Raises UsageError, which calls it `named`, if it cannot be read or is not YAML."""
    try:
        return load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {named}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{named} is not YAML: {' '.join(str(error).split())}.") from error
