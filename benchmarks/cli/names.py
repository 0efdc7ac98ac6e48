"""The command `list`, which shows every name that an option accepts, with what it means."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption
from benchmarks.errors import UsageError, unknown

_COLUMN = 24


def list_(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="One of the kinds, such as algorithms; default: all of them.")
    ] = "",
    out: OutOption = Path("runs"),
) -> None:
    """List every name that an option accepts, and how many cells in OUT are in which state.

    The kinds are algorithms, suites, tasks, verifiers, engines, templates, launchers and formats (of files to import).
    All names are built in, except for those that an installed package offers, which say so. An algorithm, task or
    verifier of your own is named by its file (my_algorithm.py) or as package.module:Class; see docs/extend.md.
    """
    if kind and kind not in _KINDS:
        raise unknown("kind of name", kind, _KINDS)
    for name, (used, find) in _KINDS.items():
        if kind in ("", name):
            _show(f"{name} ({used})", find())
    if not kind:
        _list_cells(out)


def _show(title: str, described: Mapping[str, str]) -> None:
    print(title)
    width = max(40, min(shutil.get_terminal_size((100, 24)).columns, 120))
    for name, text in described.items():
        first = f"  {name:<{_COLUMN - 3}} "
        print(
            textwrap.fill(text, width, initial_indent=first, subsequent_indent=" " * _COLUMN, break_on_hyphens=False)
            if text
            else first
        )
    print()


def _algorithms() -> dict[str, str]:
    import algorithms
    from benchmarks.cli import describe

    return describe.classes(algorithms.ALGORITHMS) | describe.offered(algorithms.KIND)


def _suites() -> dict[str, str]:
    from benchmarks.cli import describe
    from benchmarks.suites import schema

    return {name: describe.first_sentence(schema.load(name).description) for name in schema.known()}


def _tasks() -> dict[str, str]:
    from benchmarks import tasks
    from benchmarks.cli import describe

    return describe.classes(tasks.TASKS) | describe.offered(tasks.KIND)


def _verifiers() -> dict[str, str]:
    from benchmarks import verifiers
    from benchmarks.cli import describe

    return describe.modules(verifiers.VERIFIERS) | describe.offered(verifiers.KIND)


def _engines() -> dict[str, str]:
    from benchmarks.cli import describe
    from benchmarks.engines import ENGINES

    return describe.modules(ENGINES)


def _templates() -> dict[str, str]:
    from benchmarks.tasks import prompts

    return {name: prompts.find(name).description for name in prompts.known()}


def _launchers() -> dict[str, str]:
    from benchmarks.cli import describe
    from benchmarks.launchers import LAUNCHERS

    return describe.modules(LAUNCHERS)


def _formats() -> dict[str, str]:
    from benchmarks.cli import describe
    from benchmarks.importers import IMPORTERS

    return {name: text.partition(": ")[2] for name, text in describe.modules(IMPORTERS).items()}


_KINDS: dict[str, tuple[str, Callable[[], dict[str, str]]]] = {
    "algorithms": ("--algo, --algos", _algorithms),
    "suites": ("--suite", _suites),
    "tasks": ("in a suite: task", _tasks),
    "verifiers": ("of a task, or in its settings: verifier", _verifiers),
    "engines": ("--engine", _engines),
    "templates": ("in a suite: prompt_template", _templates),
    "launchers": ("--launcher", _launchers),
    "formats": ("import FORMAT", _formats),
}
"""Kind of name -> where it is used, and what finds the names with their descriptions."""


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
