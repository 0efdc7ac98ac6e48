"""The command that tunes: `sweep` starts workers on studies, here or on a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli import sweep_results
from benchmarks.cli.grid import read_resources
from benchmarks.cli.options import (
    AlgosOption,
    ClusterOption,
    DryRunOption,
    EngineOption,
    JobsOption,
    LauncherOption,
    ModelOption,
    OutOption,
    QuietOption,
    SuiteOption,
    WorkersOption,
    load_suite,
    split_names,
)
from benchmarks.errors import Failure, UsageError

if TYPE_CHECKING:
    from benchmarks.progress import Progress
    from benchmarks.sweeps.plan import StudyPlan

STORAGE = "RLVR_GAP_STORAGE"
"""The environment variable that tells workers the storage."""
StorageOption = Annotated[
    str,
    typer.Option(
        "--storage", metavar="URL",
        help="Where the study is kept: empty for SQLite in its folder, journal, or postgresql+psycopg://USER@HOST/NAME.",
    ),
]  # fmt: skip
ObjectiveOption = Annotated[
    str, typer.Option("--objective", metavar="NAME", help="gap, pass_at_1, or pareto (pass@1 and pass@k).")
]
TrialsOption = Annotated[
    int | None, typer.Option("--trials", metavar="N", min=1, help="Trials of an algorithm; default: the suite's.")
]

app = typer.Typer(invoke_without_command=True, no_args_is_help=False, rich_markup_mode=None)
app.command()(sweep_results.show)
app.command()(sweep_results.export)


@app.callback(invoke_without_command=True)
def sweep(
    context: typer.Context,
    algos: Annotated[str, typer.Option("--algo", "--algos", metavar="NAMES", help="What to tune; several: a,b.")] = "",
    suite: SuiteOption = "countdown",
    trials: TrialsOption = None,
    objective: ObjectiveOption = "gap",
    storage: StorageOption = "",
    launcher: LauncherOption = "local",
    jobs: JobsOption = None,
    cluster: ClusterOption = None,
    dry_run: DryRunOption = False,
    model: ModelOption = "",
    engine: EngineOption = "auto",
    out: OutOption = Path("runs"),
    quiet: QuietOption = False,
) -> None:
    """Tune algorithms: trials at equal budget on the validation split, then fresh seeds of the best.

    Every algorithm gets a study of its own, with as many trials, of as many generated tokens, as every other one. Start
    the same command on any number of machines that share OUT: they join. Interrupt or kill it at any moment: the same
    command goes on. `rlvr-gap sweep show STUDY` reads a study, and `rlvr-gap sweep export STUDY` makes a preset of it.
    """
    if context.invoked_subcommand is not None:
        return
    from benchmarks.progress import Progress
    from benchmarks.runs.run_folder import Place
    from benchmarks.sweeps.launch import SweepRun
    from benchmarks.sweeps.plan import StudyPlan

    if not split_names(algos):
        raise UsageError("expected --algo NAME, such as rlvr-gap sweep --algo grpo (rlvr-gap list has all).")
    storage = storage or os.environ.get(STORAGE, "")  # or else the workers would be elsewhere than the study
    with Progress(quiet) as progress:
        loaded = load_suite(suite, model)
        place = Place(out, engine, progress=progress)
        plans = [_checked(StudyPlan(loaded, name, place, _objective(objective), trials)) for name in split_names(algos)]
        more = ["--suite", suite, "--engine", engine, "--out", str(out), "--objective", objective]
        more += ["--trials", str(trials)] if trials else []
        more += ["--model", model] if model else []
        if storage:  # not in the workers' commands, which are logged: it may hold a password
            os.environ[STORAGE] = storage
        resources = read_resources(loaded, cluster, launcher)
        run = SweepRun(plans, storage, more, launcher, jobs, resources, _sayer(progress))
        if dry_run:
            return _would_run(run)
        failed = run.run()
    for plan in plans:
        print(f"study   {plan.folder}")
    if run.waits:
        print(f"rlvr-gap sweep show {plans[-1].folder} reads it.")
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if failed:
        raise Failure(f"{len(failed)} workers failed; the same command goes on.")


def sweep_worker(
    algos: AlgosOption,
    suite: SuiteOption = "countdown",
    trials: TrialsOption = None,
    objective: ObjectiveOption = "gap",
    storage: StorageOption = "",
    model: ModelOption = "",
    engine: EngineOption = "auto",
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    heartbeat: Annotated[int, typer.Option(min=1)] = 30,
) -> None:
    """Work on studies until they are complete. `sweep` starts it, and says in RLVR_GAP_STORAGE where they are kept."""
    from algorithms import pause
    from benchmarks.progress import Progress
    from benchmarks.runs.run_folder import Place
    from benchmarks.sweeps.plan import StudyPlan
    from benchmarks.sweeps.worker import Worker, create_study

    where = storage or os.environ.get(STORAGE, "")
    with pause.on_sigterm(), Progress(quiet=False) as progress:
        place = Place(out, engine, workers, progress=progress)
        for name in split_names(algos):
            plan = StudyPlan(load_suite(suite, model), name, place, _objective(objective), trials)
            Worker(plan, create_study(plan, where, heartbeat_s=heartbeat)).run()


def _objective(name: str):  # type: ignore[no-untyped-def]  # one of a Literal's values
    from benchmarks.errors import unknown
    from benchmarks.sweeps.plan import OBJECTIVES

    for known in OBJECTIVES:
        if known == name:
            return known
    raise unknown("objective", name, OBJECTIVES)


def _checked(plan: StudyPlan) -> StudyPlan:
    """The plan, once all that can be known about it is known to be right."""
    plan.default_cells()[0].training.check()
    return plan


def _sayer(progress: Progress):  # type: ignore[no-untyped-def]
    return progress.say


def _would_run(run: object) -> None:
    from benchmarks.sweeps.launch import SweepRun

    assert isinstance(run, SweepRun)
    lines: Sequence[str] = run.describe()
    print("\n".join(lines))
