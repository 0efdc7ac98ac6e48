"""Shows the results of a finished command: the table on the terminal, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType

from benchmarks.records.schema import Record
from benchmarks.runs.run_folder import RECORD
from leaderboards.build import build
from leaderboards.estimates import estimate_tables
from leaderboards.terminal import report


def show_estimates(record: Record, folder: Path) -> None:
    """Prints what the run's stored samples say of its model alone, a table for each pair of datasets."""
    print_parts(*estimate_tables(record, folder))


def print_parts(*parts: RenderableType) -> None:
    """Prints the parts one below the other."""
    _console().print(*parts, sep="\n", highlight=False, emoji=False)


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 100)


def show(records: Sequence[Record], suite_folder: Path, cell_folder: Path) -> None:
    """Prints the results and writes `index.html`, which shows all runs of the suite, beside them."""
    page = build(suite_folder, suite_folder / "index.html")
    where = cell_folder / RECORD if cell_folder != suite_folder else suite_folder
    console = _console()
    console.print(report(list(records), {}))
    for what, path in {"record": where, "page": suite_folder / "index.html"}.items():
        print(f"{what:<6}  {path}")  # whole, so that a terminal of any width lets it be copied
    for diverged in page.diverged:
        console.print(f"diverged, and so not scored: {diverged}", markup=False)
    for broken in page.broken:
        console.print(f"not shown on the page: {broken}", markup=False)
