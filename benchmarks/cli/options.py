"""The options that several commands share, and the suite that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.errors import unknown

if TYPE_CHECKING:
    from benchmarks.statistics.designs import JudgedBy
    from benchmarks.suites.schema import Suite

SuiteOption = Annotated[str, typer.Option("--suite", help="Name of a suite (rlvr-gap list), or a YAML file.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the training; evaluation seeds are derived from it.")]
ModelOption = Annotated[str, typer.Option("--model", help="Another base model: a folder or a hub id.")]
EngineOption = Annotated[str, typer.Option("--engine", help="What evaluates: auto, transformers or vllm.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of all runs.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes that sample; default: all cores.")
]
ChangesOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change the suite, repeatable: training.learning_rate=1e-4.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]
ProcessesOption = Annotated[int, typer.Option("--processes", min=1, help="Training processes (torchrun).")]


VerdictOption = Annotated[
    str, typer.Option("--verdict", help="What is correct: answer, or the answer under a sound chain (sound).")
]


def read_verdict(name: str) -> JudgedBy:
    """UsageError for one that does not exist."""
    from benchmarks.statistics.designs import VERDICTS

    for known in VERDICTS:
        if known == name:
            return known
    raise unknown("verdict", name, VERDICTS)


def load_suite(name: str, model: str, changes: list[str] | None = None) -> Suite:
    """The suite called `name`, with another base model and with changed settings where they are given."""
    from benchmarks.suites import schema as suite

    loaded = suite.with_changes(suite.load(name), changes or [])
    return loaded.model_copy(update={"base_model": model, "base_revision": None}) if model else loaded
