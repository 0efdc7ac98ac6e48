"""The commands that train: `bench` for one cell, and the process that torchrun starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.options import (
    AlgoOption,
    BesideOption,
    DryRunOption,
    EngineOption,
    FreshOption,
    LaunchOption,
    MeetingOption,
    ModelOption,
    NameOption,
    NodeRankOption,
    NodesOption,
    OutOption,
    PageOption,
    PresetOption,
    ProcessesOption,
    QuietOption,
    ReportOption,
    SeedOption,
    SuiteOption,
    VariantOption,
    WorkersOption,
    load_preset,
    load_suite,
    say_home,
)

if TYPE_CHECKING:
    from benchmarks.runs.cell_run import CellRun


def bench(
    algo: AlgoOption,
    suite: SuiteOption = "countdown",
    seed: SeedOption = 0,
    changes: VariantOption = None,
    name: NameOption = "",
    preset: PresetOption = "",
    model: ModelOption = "",
    engine: EngineOption = "auto",
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    processes: ProcessesOption = 1,
    nodes: NodesOption = 1,
    node_rank: NodeRankOption = None,
    rdzv_endpoint: MeetingOption = "",
    launch: LaunchOption = "",
    beside: BesideOption = None,
    report_to: ReportOption = "",
    fresh: FreshOption = False,
    dry_run: DryRunOption = False,
    page: PageOption = True,
    quiet: QuietOption = False,
) -> None:
    """Train one algorithm, evaluate it and the base, and print the sampling efficiency gap.

    An algorithm of your own is named by its file (my_algorithm.py, or my_algorithm.py:Class if it has several) or as
    package.module:Class; docs/extend.md shows how to write one.

    You can interrupt it at any moment: finished parts are kept, and the same command continues. SIGTERM saves a
    checkpoint first. It writes OUT/SUITE/ALGO-sSEED/record.json and a page, OUT/SUITE/index.html. With --nodes, OUT
    must be on a disk that all machines share; machine 0 evaluates.
    """
    from algorithms import pause
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import CellRun
    from benchmarks.runs.machines import Machines
    from benchmarks.runs.run_folder import Place
    from benchmarks.runs.trackers import parse
    from benchmarks.runs.variants import tuned_cell, variant_of

    with pause.on_sigterm(), Progress(quiet) as progress:
        machines = Machines.find(nodes, node_rank, rdzv_endpoint, launch)
        place = Place(out, engine, workers, processes, progress, machines, report_to=parse(report_to))
        loaded = load_suite(suite, model)
        tuned = load_preset(preset, loaded, out, [*(changes or []), name])
        asked, variant = tuned_cell(loaded, tuned, algo) if tuned else variant_of(loaded, changes or [], name)
        if tuned and variant is None:
            progress.say(f"{algo}: preset {preset} keeps the suite's own settings here.")
        cell = CellRun(asked, algo, seed, place, tuple(beside or ()), variant)
        if machines.index > 0:
            return cell.join()
        say_home(cell.folder.parent, loaded.name, progress)
        if dry_run:
            return _would_run(cell)
        record = cell.run(fresh)
    if page:
        show([record], cell.folder.parent, cell.folder)


def _would_run(cell: CellRun) -> None:
    """Checks what a run checks first, and prints what it would do."""
    from benchmarks.cli.plan import show_plan
    from benchmarks.records.schema import BASE
    from benchmarks.runs.grid_plan import alone
    from benchmarks.runs.suite_evaluation import engine_of

    if cell.algorithm != BASE:
        cell.training.check()
        cell.training.check_points()
    show_plan(alone(cell), cell.suite.resources)
    where = (
        "with 1 training process" if cell.place.processes == 1 else f"with {cell.place.processes} training processes"
    )
    print(f"on this machine, {where}; {engine_of(cell.suite, cell.place).name} evaluates.")


def train_cell(folder: Path, report_to: ReportOption = "", until: float = 1.0) -> None:
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
        CellRun.of_folder(folder, place).training.train(until)
