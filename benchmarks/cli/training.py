"""The commands that train: `bench` for one cell, `grid` for many, and the process that torchrun starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import (
    ChangesOption,
    EngineOption,
    LaunchOption,
    MeetingOption,
    ModelOption,
    NodeRankOption,
    NodesOption,
    OutOption,
    ProcessesOption,
    QuietOption,
    SeedOption,
    SuiteOption,
    WorkersOption,
    load_suite,
)
from benchmarks.errors import Failure


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
    nodes: NodesOption = 1,
    node_rank: NodeRankOption = None,
    rdzv_endpoint: MeetingOption = "",
    launch: LaunchOption = "",
    changes: ChangesOption = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", help="Another algorithm of your own that the suite has settings for; repeatable."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train one algorithm, evaluate it and the base, and print the sampling efficiency gap.

    An algorithm of your own is named by its file (my_algorithm.py, or my_algorithm.py:Class if it has several) or as
    package.module:Class; docs/extend.md shows how to write one.

    You can interrupt it at any moment: finished parts are kept, and the same command continues. It writes
    OUT/SUITE/ALGO-sSEED/record.json and a page, OUT/SUITE/index.html. With --nodes, OUT must be on a disk that all
    machines share; machine 0 evaluates.
    """
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import CellRun
    from benchmarks.runs.machines import Machines
    from benchmarks.runs.run_folder import Place

    with Progress(quiet) as progress:
        machines = Machines.find(nodes, node_rank, rdzv_endpoint, launch)
        place = Place(out, engine, workers, processes, progress, machines)
        cell = CellRun(load_suite(suite, model, changes), algo, seed, place, tuple(beside or ()))
        if machines.index > 0:
            return cell.join()
        record = cell.run()
    show([record], out / cell.suite.name, cell.folder)


def grid(
    suite: SuiteOption = "countdown",
    algos: Annotated[
        str, typer.Option("--algos", help="Algorithms, separated by spaces; default: all built-in ones.")
    ] = "",
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, separated by spaces.")] = "0",
    launcher: Annotated[str, typer.Option("--launcher", help="local (a process per cell) or inprocess.")] = "local",
    model: ModelOption = "",
    engine: EngineOption = "auto",
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    changes: ChangesOption = None,
    quiet: QuietOption = False,
) -> None:
    """Run the base and every (algorithm, seed), one after another, and skip finished cells.

    If a cell fails, it is listed, the others continue, and the exit code is 1.
    """
    from benchmarks.cli.results import show
    from benchmarks.runs.grid import own, plan, run_grid

    loaded = load_suite(suite, model, changes)
    cells = plan(loaded, algos.split(), seeds.split())
    options = ["--suite", suite, "--engine", engine, "--out", str(out), *(["--model", model] if model else [])]
    options += [*(["--quiet"] if quiet else []), *(["--workers", str(workers)] if workers else [])]
    options += [part for change in changes or [] for part in ("--set", change)]
    options += [part for reference in own(cells) for part in ("--beside", reference)]
    records, failed = run_grid(loaded, cells, launcher, out, options)
    if records:
        show(records, out / loaded.name, out / loaded.name)
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if failed:
        raise Failure(f"{len(failed)} of {len(cells)} cells failed.")


def train_cell(folder: Path) -> None:
    """Run one of several training processes of a cell that `bench` has begun. torchrun starts it."""
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import CellRun
    from benchmarks.runs.run_folder import Place

    with Progress(quiet=os.environ.get("RANK", "0") != "0") as progress:
        place = Place(processes=int(os.environ.get("WORLD_SIZE", "1")), progress=progress)
        CellRun.of_folder(folder, place).training.train()
