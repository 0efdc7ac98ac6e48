"""Literal tables of what exists (`name -> "module:attribute"`), imported only when a name is asked for.

Every room (algorithms, tasks, verifiers, engines, launchers) has one such table, so that the list of what
exists is readable without running anything, and asking for one member does not import the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from benchmarks.errors import unknown


def lookup(table: Mapping[str, str], name: str, kind: str) -> Any:
    """The object that `table` names. Unknown name: `UsageError` (a ValueError) with the nearest and all known names."""
    if name not in table:
        raise unknown(kind, name, table)
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
