"""The commands that train: `bench` for one cell, and the process that torchrun starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import (
    ChangesOption,
    EngineOption,
    ModelOption,
    OutOption,
    ProcessesOption,
    QuietOption,
    ReportOption,
    SeedOption,
    SuiteOption,
    VaryOption,
    WorkersOption,
    load_suite,
    say_home,
)


def bench(
    algo: Annotated[
        str,
        typer.Option("--algo", help="An algorithm's name (see rlvr-gap list), your own my_algorithm.py, or `base`."),
    ],
    suite: SuiteOption = "countdown",
    seed: SeedOption = 0,
    model: ModelOption = "",
    engine: EngineOption = "auto",
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    processes: ProcessesOption = 1,
    changes: ChangesOption = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", help="Another algorithm of your own that the suite has settings for; repeatable."),
    ] = None,
    vary: VaryOption = None,
    report_to: ReportOption = "",
    page: Annotated[bool, typer.Option("--page/--no-page", help="Print the results and write the page.")] = True,
    quiet: QuietOption = False,
) -> None:
    """Train one algorithm, evaluate it and the base, and print the sampling efficiency gap.

    An algorithm of your own is named by its file (my_algorithm.py, or my_algorithm.py:Class if it has several) or as
    package.module:Class; docs/extend.md shows how to write one.

    You can interrupt it at any moment: finished parts are kept, and the same command continues. SIGTERM saves a
    checkpoint first. It writes OUT/SUITE/ALGO-sSEED/record.json and a page, OUT/SUITE/index.html.
    """
    from algorithms import pause
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import CellRun
    from benchmarks.runs.run_folder import Place
    from benchmarks.runs.trackers import parse
    from benchmarks.runs.variants import variant_of

    with pause.on_sigterm(), Progress(quiet) as progress:
        place = Place(out, engine, workers, processes, progress, report_to=parse(report_to))
        loaded = load_suite(suite, model, changes)
        variant = variant_of(loaded, vary or [])
        asked = variant.suite() if variant else loaded
        cell = CellRun(asked, algo, seed, place, tuple(beside or ()), variant)
        say_home(cell.folder.parent, loaded.name, progress)
        record = cell.run()
    if page:
        show([record], cell.folder.parent, cell.folder)


def train_cell(folder: Path, report_to: ReportOption = "") -> None:
    """Run one of several training processes of a cell that `bench` has begun. torchrun starts it."""
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import CellRun
    from benchmarks.runs.lease import end_with_parent
    from benchmarks.runs.run_folder import Place
    from benchmarks.runs.status import Reporter
    from benchmarks.runs.trackers import parse

    end_with_parent()
    first = os.environ.get("RANK", "0") == "0"
    with Progress(quiet=not first) as progress:
        if first:
            progress.listener = Reporter.attach(folder).hear
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        place = Place(processes=processes, progress=progress, report_to=parse(report_to))
        CellRun.of_folder(folder, place).training.train()
