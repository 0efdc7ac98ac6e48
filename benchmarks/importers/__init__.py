"""What reads the results of other tools. Add one: a file here, and a line in `IMPORTERS`.

An importer is called with the files and with `Choices`, and returns the counts of one model on one dataset. It takes
what the files say, or refuses them: nothing is padded, cut or guessed.
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
    "passk-paper": "benchmarks.importers.passk_paper:read",
}


def get(name: str) -> Importer:
    """The importer of that format. Unknown name: ValueError that lists the known ones."""
    return lookup(IMPORTERS, name, "format")
