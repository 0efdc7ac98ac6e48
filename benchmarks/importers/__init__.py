"""Importers read the results of other tools. To add one, add a file here and a line in `IMPORTERS`.

An importer is called with the files and with `Choices`, and returns the counts of one model on one dataset. It either
takes what the files say or refuses them. It never pads, cuts or guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.importers.problem_verdicts import Choices
from benchmarks.registry import lookup
from benchmarks.statistics.counts import Counts

__all__ = ["IMPORTERS", "Choices", "Importer", "get"]

Importer = Callable[[Sequence[Path], Choices], Counts]

IMPORTERS = {
    "counts": "benchmarks.importers.counts:read",
    "lm-eval": "benchmarks.importers.lm_eval:read",
    "lighteval": "benchmarks.importers.lighteval:read",
    "inspect": "benchmarks.importers.inspect_logs:read",
    "passk-paper": "benchmarks.importers.passk_paper:read",
}


def get(name: str) -> Importer:
    """Returns the importer of that format. Raises ValueError with all known names for an unknown one."""
    return lookup(IMPORTERS, name, "format")
