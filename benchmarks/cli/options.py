"""The options that several commands share, and the suite that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.errors import unknown

if TYPE_CHECKING:
    from benchmarks.progress import Progress
    from benchmarks.statistics.designs import JudgedBy
    from benchmarks.suites.schema import Suite

SuiteOption = Annotated[str, typer.Option("--suite", help="Name of a suite (see rlvr-gap list) or a YAML file.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the training; evaluation seeds are derived from it.")]
ModelOption = Annotated[str, typer.Option("--model", help="Use another base model: a folder or a hub id.")]
EngineOption = Annotated[str, typer.Option("--engine", help="Engine that evaluates: auto, transformers or vllm.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder that holds all runs.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Number of sampling processes; default: all cores.")
]
ChangesOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting, such as training.learning_rate=1e-4; repeatable.")
]
VaryOption = Annotated[
    list[str] | None,
    typer.Option("--vary", help="Like --set, but the cell is a named variant beside the suite's other cells."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show the result but no progress.")]
ProcessesOption = Annotated[int, typer.Option("--processes", min=1, help="Number of training processes (torchrun).")]
ReportOption = Annotated[
    str,
    typer.Option("--report-to", help="Follow training in tensorboard, wandb or trackio; several: tensorboard,wandb."),
]
VerdictOption = Annotated[
    str, typer.Option("--verdict", help="What counts as correct: answer, or sound (the answer under a sound chain).")
]


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


def load_suite(name: str, model: str, changes: list[str] | None = None) -> Suite:
    """Returns the suite `name`, with another base model and changed settings if they are given."""
    from benchmarks.suites import schema as suite

    loaded = suite.with_changes(suite.load(name), changes or [])
    return loaded.model_copy(update={"base_model": model, "base_revision": None}) if model else loaded
