"""The command `list`, which shows every name that an option accepts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.cli.options import OutOption
from benchmarks.errors import UsageError


def list_(out: OutOption = Path("runs")) -> None:
    """List every name that an option accepts, and how many cells in OUT are in which state.

    The names are algorithms, suites, tasks, verifiers, engines, prompt templates, launchers and import formats.
    """
    from algorithms import ALGORITHMS
    from benchmarks.engines import ENGINES
    from benchmarks.importers import IMPORTERS
    from benchmarks.launchers import LAUNCHERS
    from benchmarks.suites import schema as suite
    from benchmarks.tasks import TASKS
    from benchmarks.tasks.prompts import CHAT, TEMPLATES
    from benchmarks.verifiers import VERIFIERS

    tables: dict[str, Iterable[str]] = {
        "algorithms": ALGORITHMS, "suites": suite.known(), "tasks": TASKS, "verifiers": VERIFIERS,
        "engines": ENGINES, "prompt templates": [*TEMPLATES, CHAT], "launchers": LAUNCHERS, "import formats": IMPORTERS,
    }  # fmt: skip
    for kind, table in tables.items():
        print(f"{kind}: {' '.join(sorted(table))}")
    _list_cells(out)


def _list_cells(out: Path) -> None:
    """A line for each suite in OUT that has runs: how many of its cells are in which state."""
    from benchmarks.cli.cells import counts
    from benchmarks.runs.overview import overview

    try:
        found = overview(out)
    except UsageError:
        return  # nothing has been run there yet
    for suite in dict.fromkeys(state.suite for state in found):
        print(f"runs of {suite}: {counts([state for state in found if state.suite == suite])}")
