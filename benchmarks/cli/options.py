"""The options that several commands share, and the suite that they name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.errors import UsageError, unknown

if TYPE_CHECKING:
    from benchmarks.progress import Progress
    from benchmarks.statistics.designs import JudgedBy
    from benchmarks.suites.preset import Preset
    from benchmarks.suites.schema import Suite


def _starting(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Completes a value from the names that begin like it."""
    return lambda incomplete: sorted(name for name in names() if name.startswith(incomplete))


def _suites() -> Iterable[str]:
    from benchmarks.suites import schema

    return schema.known()


def _engines() -> Iterable[str]:
    from benchmarks.engines import AUTO, ENGINES

    return [AUTO, *ENGINES]


def _algorithms() -> Iterable[str]:
    import algorithms

    return [*algorithms.ALGORITHMS, "base"]


complete_suite, complete_algorithm = _starting(_suites), _starting(_algorithms)

SuiteOption = Annotated[
    str,
    typer.Option(
        "--suite", metavar="SUITE", autocompletion=complete_suite,
        help="Name of a suite (see rlvr-gap list) or a YAML file.",
    ),
]  # fmt: skip
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Seed of the training; evaluation seeds are derived from it.")
]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="Use another base model: a folder or a hub id.")
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine", metavar="ENGINE", autocompletion=_starting(_engines),
        help="Engine that evaluates: auto, transformers or vllm.",
    ),
]  # fmt: skip
OutOption = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder that holds all runs.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, help="Number of sampling processes; default: all cores.")
]
AlgosOption = Annotated[
    str, typer.Option("--algos", metavar="NAMES", help="Separated by commas or spaces; default: all algorithms.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would run and its cost; run nothing.")]
ChangesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting, such as training.learning_rate=1e-4; repeatable."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show the result but no progress.")]
ProcessesOption = Annotated[
    int,
    typer.Option("--processes", metavar="N", min=1, help="Number of training processes on each machine (torchrun)."),
]
NodesOption = Annotated[
    int,
    typer.Option(
        "--nodes", metavar="N", min=1, help="Number of machines that train; run the same command on each of them."
    ),
]
NodeRankOption = Annotated[
    int | None,
    typer.Option("--node-rank", metavar="N", help="Number of this machine, from 0; default: NODE_RANK, or SLURM's."),
]
MeetingOption = Annotated[
    str,
    typer.Option(
        "--rdzv-endpoint",
        metavar="HOST:PORT",
        help="HOST:PORT of machine 0; default: MASTER_ADDR and MASTER_PORT, or SLURM's.",
    ),
]
LaunchOption = Annotated[
    str,
    typer.Option(
        "--launch",
        metavar="COMMAND",
        help="Command that starts training in place of torchrun: 'accelerate launch ...'.",
    ),
]
ReportOption = Annotated[
    str,
    typer.Option(
        "--report-to",
        metavar="NAMES",
        help="Follow training in tensorboard, wandb or trackio; several: tensorboard,wandb.",
    ),
]
SeedsOption = Annotated[str, typer.Option("--seeds", metavar="NUMBERS", help="Separated by commas or spaces.")]
AlgoOption = Annotated[
    str,
    typer.Option(
        "--algo", metavar="NAME", autocompletion=complete_algorithm,
        help="An algorithm's name (see rlvr-gap list), your own my_algorithm.py, or `base`.",
    ),
]  # fmt: skip
VariantOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE",
        help="Run a variant with another setting, as training.learning_rate=1e-4, beside it; repeatable.",
    ),
]  # fmt: skip
VariantsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUES",
        help="Run variants with other settings, as training.learning_rate=1e-5,5e-5; repeatable.",
    ),
]  # fmt: skip
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Name of the variant; default: what --set changes.")
]
PresetOption = Annotated[
    str,
    typer.Option(
        "--preset", metavar="NAME",
        help="Train with the settings that a sweep chose: tuned, or a YAML file of rlvr-gap sweep export.",
    ),
]  # fmt: skip
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Run the cell again from its start; what there was is moved aside.")
]
BesideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--beside", metavar="NAME",
        help="Another algorithm of your own that the suite has settings for; repeatable.",
    ),
]  # fmt: skip
PageOption = Annotated[bool, typer.Option("--page/--no-page", help="Print the results and write the page.")]
LauncherOption = Annotated[
    str,
    typer.Option(
        "--launcher", metavar="NAME",
        help="local: a process per cell; slurm: submits; inprocess: all in this one.",
    ),
]  # fmt: skip
JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs", metavar="N", min=1,
        help="Cells side by side; default: one per GPU, or per core; slurm: array_limit.",
    ),
]  # fmt: skip
RetryOption = Annotated[
    int, typer.Option("--retry", metavar="N", min=0, help="How often to try a cell again that failed.")
]
CellProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes", metavar="N", min=1, help="Training processes of a cell; default: 1, or its job's GPUs."
    ),
]
ClusterOption = Annotated[
    Path | None,
    typer.Option("--cluster", metavar="FILE", help="Resources of a job; default: cluster.yaml, if there is one."),
]
VerdictOption = Annotated[
    str, typer.Option("--verdict", help="What counts as correct: answer, or sound (the answer under a sound chain).")
]


def split_names(text: str) -> list[str]:
    """Returns the names in a list that is separated by spaces, commas or both."""
    return [name for name in re.split(r"[\s,]+", text) if name]


def read_verdict(name: str) -> JudgedBy:
    """Returns the verdict of that name. Raises UsageError if there is none."""
    from benchmarks.statistics.designs import VERDICTS

    for known in VERDICTS:
        if known == name:
            return known
    raise unknown("verdict", name, VERDICTS)


def say_home(home: Path, name: str, progress: Progress) -> None:
    """Says so if the runs of the suite called `name` go to another folder than they usually would."""
    if home.name != name:
        progress.say(f"{home.with_name(name)} belongs to another suite of this name: this one's runs go to {home}.")


def load_preset(name: str, suite: Suite, out: Path, others: Iterable[str]) -> Preset | None:
    """Returns the preset of that name, or None for no name. UsageError where changes are given beside it."""
    from benchmarks.suites import preset

    if name and any(others):
        raise UsageError(f"--preset {name} and --set or --name exclude each other: a preset is a variant of its own.")
    return preset.load(name, suite, out) if name else None


def load_suite(name: str, model: str, changes: list[str] | None = None) -> Suite:
    """Returns the suite `name`, with another base model and changed settings if they are given."""
    from benchmarks.suites import schema as suite

    loaded = suite.with_changes(suite.load(name), changes or [])
    return loaded.model_copy(update={"base_model": model, "base_revision": None}) if model else loaded
