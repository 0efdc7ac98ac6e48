"""The commands that read a sweep: `sweep show` and `sweep export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import OutOption

if TYPE_CHECKING:
    from benchmarks.records.study import StudySummary

StorageOption = Annotated[
    str,
    typer.Option(
        "--storage", metavar="URL",
        help="The study's database, where its folder holds none: postgresql+psycopg://USER@HOST/NAME.",
    ),
]  # fmt: skip
PAGE = "index.html"


def show(
    study: Annotated[str, typer.Argument(help="The study's folder, or its name under OUT.")],
    storage: StorageOption = "",
    out: OutOption = Path("runs"),
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write the page beside the study.")] = True,
) -> None:
    """Show what a study found: its best settings, what was luck, what tuning cost, and which parameters mattered.

    It writes STUDY/summary.json and a page, STUDY/index.html, and may be called while the study runs.
    """
    from benchmarks.cli.results import print_parts
    from leaderboards.study_page import build_study_page
    from leaderboards.study_terminal import study_tables

    folder, summary = _read(study, storage, out)
    print_parts(*study_tables(summary))
    if page:
        build_study_page(summary, folder / PAGE)
        print(f"page     {folder / PAGE}")
    print(f"summary  {folder / 'summary.json'}")


def export(
    studies: Annotated[list[str], typer.Argument(help="Folders of studies, or their names under OUT.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="The YAML file to write; default: OUT/SUITE/presets/NAME.yaml."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the variants are called.")] = "tuned",
    storage: StorageOption = "",
    out: OutOption = Path("runs"),
) -> None:
    """Write the best settings of studies of one suite as a preset for --preset.

    Fresh seeds choose: where no finalist beats the default on them, the default stays, and the file says so.
    """
    from benchmarks.suites import preset as presets
    from benchmarks.sweeps.tuned import tuned_preset

    made = tuned_preset([_read(study, storage, out)[1] for study in studies], name)
    path = to or presets.folder_of(made.suite, out) / f"{made.name}.yaml"
    presets.write(path, made)
    for algorithm, tuned in made.algorithms.items():
        print(f"{algorithm}: {', '.join(tuned.changes) or 'the default'}. {tuned.why}")
    print(f"preset  {path}")


def _read(study: str, storage: str, out: Path) -> tuple[Path, StudySummary]:
    from benchmarks.sweeps.study_files import find_study
    from benchmarks.sweeps.summary import summarise

    folder = find_study(study, out)
    return folder, summarise(folder, storage)
