"""The command `list`, which shows every name that an option accepts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.cli.options import OutOption
from benchmarks.errors import UsageError


def list_(out: OutOption = Path("runs")) -> None:
    """List every name that an option accepts, and how many cells in OUT are in which state.

    The names are algorithms, suites, tasks, verifiers, engines, prompt templates, launchers and import formats. All of
    them are built in, except for those in lines of their own, which installed packages offer. An algorithm, task or
    verifier of your own is named by its file (my_algorithm.py) or as package.module:Class; see docs/extend.md.
    """
    import algorithms
    from benchmarks import tasks, verifiers
    from benchmarks.engines import ENGINES
    from benchmarks.importers import IMPORTERS
    from benchmarks.launchers import LAUNCHERS
    from benchmarks.outside import Kind, offers
    from benchmarks.suites import schema as suite
    from benchmarks.tasks import prompts

    tables: dict[str, Iterable[str]] = {
        "algorithms": algorithms.ALGORITHMS, "suites": suite.known(),
        "tasks": tasks.TASKS, "verifiers": verifiers.VERIFIERS,
        "engines": ENGINES, "prompt templates": prompts.known(), "launchers": LAUNCHERS, "import formats": IMPORTERS,
    }  # fmt: skip
    kinds: dict[str, Kind] = {f"{kind.name}s": kind for kind in (algorithms.KIND, tasks.KIND, verifiers.KIND)}
    for what, table in tables.items():
        print(f"{what}: {' '.join(sorted(table))}")
        for offer in offers(kinds[what]) if what in kinds else ():
            hidden = " (hidden by the built-in one)" if offer.name in table else ""
            print(f"    {offer.name} of {offer.package}: {offer.value}{hidden}")
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
