"""Literal tables of what exists (`name -> "module:attribute"`). An entry is imported when its name is asked for.

Every room (algorithms, tasks, verifiers, engines, launchers) has one such table. The list of what exists can therefore
be read without running anything, and asking for one member does not import the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from benchmarks.errors import unknown


def lookup(table: Mapping[str, str], name: str, kind: str) -> Any:
    """Returns the object that `table` names. UsageError for an unknown name, with the nearest and all known ones."""
    if name not in table:
        raise unknown(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
