"""The commands for many cells: `grid` runs or submits them, and `status` shows how far they are."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import (
    AlgosOption,
    CellProcessesOption,
    ClusterOption,
    DryRunOption,
    EngineOption,
    JobsOption,
    LauncherOption,
    ModelOption,
    OutOption,
    PresetOption,
    QuietOption,
    ReportOption,
    RetryOption,
    SeedsOption,
    SuiteOption,
    VariantsOption,
    WorkersOption,
    load_preset,
    load_suite,
    say_home,
    split_names,
)
from benchmarks.errors import Failure

if TYPE_CHECKING:
    from benchmarks.launchers.resources import Resources
    from benchmarks.runs.grid import GridRun
    from benchmarks.suites.schema import Suite

CLUSTER = Path("cluster.yaml")
WATCH_S = 2.0
QUEUE_S = 20.0
"""How often `status --watch` asks the cluster, whose controller serves everybody."""


def grid(
    suite: SuiteOption = "countdown",
    algos: AlgosOption = "",
    seeds: SeedsOption = "0",
    changes: VariantsOption = None,
    preset: PresetOption = "",
    launcher: LauncherOption = "local",
    jobs: JobsOption = None,
    retry: RetryOption = 0,
    processes: CellProcessesOption = None,
    cluster: ClusterOption = None,
    report_to: ReportOption = "",
    dry_run: DryRunOption = False,
    model: ModelOption = "",
    engine: EngineOption = "auto",
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Run the base and then every algorithm with every seed and variant. Finished cells are skipped.

    Cells run side by side, with the cores or GPUs shared out. A failing cell does not stop the others; it is listed at
    the end, and the exit code is 1. Interrupt or kill it at any moment: the same command goes on. With --launcher slurm
    the cells are submitted, and rlvr-gap status OUT shows how far they are.
    """
    from benchmarks.cli.plan import show_plan
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.grid import GridRun
    from benchmarks.runs.grid_plan import plan
    from benchmarks.runs.run_folder import Place
    from benchmarks.runs.trackers import parse
    from benchmarks.runs.variants import expand, without_effect

    trackers = parse(report_to)
    loaded, variants = load_suite(suite, model), expand(changes or [])
    tuned = load_preset(preset, loaded, out, changes or [])
    resources, place = read_resources(loaded, cluster, launcher), Place(out, engine)
    cells = plan(loaded, split_names(algos), split_names(seeds), place, variants, preset=tuned, guess=dry_run)
    options = ["--suite", suite, "--engine", engine, "--out", str(out), "--no-page", *_changed(model, workers)]
    options += ["--report-to", ",".join(trackers)] if trackers else []
    options += [part for change in without_effect(loaded, variants) for part in ("--set", change)]
    run = _with_processes(GridRun(cells, options, launcher, jobs, retry, resources), processes)
    if dry_run:
        return show_plan(run.cells, run.resources, run.launcher)
    with Progress(quiet) as progress:
        say_home(run.home, loaded.name, progress)
    with _shown(run, quiet) as shown:
        records, failed = shown.run(_queue)
    if records:
        show(records, run.home, run.home)
    if launcher == "slurm":
        print(f"rlvr-gap status {run.home} shows how far the cells are.")
    _fail(failed, len(cells))


def _changed(model: str, workers: int | None) -> list[str]:
    """Options of a cell's command, where they differ from their defaults."""
    return [*(["--model", model] if model else []), *(["--workers", str(workers)] if workers else [])]


def _fail(failed: Mapping[str, str], cells: int) -> None:
    """Lists the cells that failed, if any, and raises Failure."""
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if failed:
        raise Failure(f"{len(failed)} of {cells} cells failed.")


def status(
    runs: Annotated[Path, typer.Argument(help="Folder of all runs, or of one suite's.")] = Path("runs"),
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array instead of a table.")] = False,
) -> None:
    """Show every cell: waiting, queued, running (with progress and time left), done, failed or diverged.

    It reads files alone, so that it works while cells run on other machines that share the disk.
    """
    from rich.console import Console
    from rich.live import Live

    from benchmarks.cli.cells import table
    from benchmarks.runs.overview import overview

    if as_json:
        print(json.dumps([state.to_json() for state in overview(runs, _queue())], indent=2))
        return
    console = Console(width=None if Console().is_terminal else 120)
    if not watch:
        console.print(table(overview(runs, _queue()), console.width))
        return
    queue, asked = _queue(), time.monotonic()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(table(overview(runs, queue), console.width), refresh=True)
            time.sleep(WATCH_S)
            if time.monotonic() - asked >= QUEUE_S:
                queue, asked = _queue(), time.monotonic()


def _queue() -> Mapping[str, str] | None:
    from benchmarks.launchers.slurm import queue

    return queue()


def read_resources(suite: Suite, cluster: Path | None, launcher: str) -> Resources:
    """The suite's section, with cluster.yaml over it. For a grid on this machine, only where a file is named.

    An unknown launcher: UsageError.
    """
    from benchmarks import launchers
    from benchmarks.launchers.resources import load

    launchers.get(launcher)
    if cluster is None and launcher == "slurm" and CLUSTER.exists():
        cluster = CLUSTER
    return suite.resources if cluster is None else load(cluster, suite.resources)


def _with_processes(run: GridRun, processes: int | None) -> GridRun:
    """The grid with the number of processes and machines that train a cell, which each command is told."""
    from dataclasses import replace

    asked = run.resources
    if processes is not None:
        asked = asked.model_copy(update={"gpus": processes})
    elif run.launcher != "slurm":
        asked = asked.model_copy(update={"gpus": 0})
    more = ["--processes", str(asked.processes)] if asked.processes > 1 else []
    if run.launcher == "slurm" and asked.nodes > 1:
        more += ["--nodes", str(asked.nodes)]
    if run.launcher == "slurm" and processes is not None:
        asked = run.resources
    if run.jobs is not None:
        asked = asked.model_copy(update={"array_limit": run.jobs})
    return replace(run, options=[*run.options, *more], resources=asked)


@contextlib.contextmanager
def _shown(run: GridRun, quiet: bool) -> Iterator[GridRun]:
    """The grid with a table that lives while it runs; without a terminal, a line for everything that happens."""
    from dataclasses import replace

    from rich.console import Console
    from rich.live import Live

    from benchmarks.cli.cells import summary, table
    from benchmarks.progress import LINE_EVERY_S
    from benchmarks.runs.overview import states

    if quiet:
        yield replace(run, say=lambda line: None)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def progress() -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_EVERY_S:
                last = time.monotonic()
                print(summary(states(run.home)), file=sys.stderr, flush=True)

        yield replace(run, say=lambda line: print(line, file=sys.stderr, flush=True), show=progress)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield replace(
            run, say=lambda line: console.print(line, markup=False, highlight=False),
            show=lambda: live.update(table(states(run.home), console.width), refresh=True),
        )  # fmt: skip
