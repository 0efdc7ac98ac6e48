"""The commands that exchange results with other tools: `import` and `export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption


def import_(
    format: Annotated[str, typer.Argument(help="What wrote the files: counts, lm-eval, lighteval or passk-paper.")],
    files: Annotated[list[Path], typer.Argument(help="The results of one model on one dataset.")],
    suite: Annotated[str, typer.Option("--suite-name", help="Suite to import into; its records are compared.")],
    dataset: Annotated[str, typer.Option("--dataset", help="A name for the problems.")],
    model: Annotated[str, typer.Option("--model", help="The model's name.")],
    source: Annotated[str, typer.Option("--source", help="Address or citation of the published results.")],
    base: Annotated[Path | None, typer.Option("--base", help="Counts or record of the base, for the gap.")] = None,
    as_base: Annotated[bool, typer.Option("--as-base", help="Import the model as the base of others.")] = False,
    metric: Annotated[str | None, typer.Option("--metric", help="The score to read, if there are several.")] = None,
    filter: Annotated[str | None, typer.Option("--filter", help="The filter to read (lm-eval).")] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="The k of the gap; default: 256, or all samples.")] = None,
    out: OutOption = Path("runs"),
) -> None:
    """Turn what another tool measured into a record that is labelled as imported (docs/import.md).

    This writes OUT/SUITE_NAME/imported-MODEL/. Files whose problems have unequal numbers of samples are refused.
    """
    from benchmarks.cli.results import show
    from benchmarks.importers import Choices
    from benchmarks.progress import Progress
    from benchmarks.runs.import_run import Import

    choices = Choices(metric, filter)
    run = Import(format, tuple(files), suite, dataset, model, source, out, choices, base, as_base, k, Progress())
    record = run.run()
    found = record.evaluations[dataset]
    shown = ", ".join(f"pass@{k} {100 * found.pass_at_k[k]:.1f} %" for k in (1, max(found.pass_at_k)))
    print(f"{dataset}: {found.n_problems} problems, {found.completions} completions, {shown}")
    show([record], out / suite, run.folder)


def export(
    runs: Annotated[Path, typer.Argument(help="Folder of all runs, a suite's runs, or a cell.")],
    to: Annotated[Path, typer.Option("--to", help="The .csv or .parquet file to write; a folder for all.")],
    level: Annotated[
        str,
        typer.Option("--level", help="table, cells, curves, points, equal-tokens, log, problems, completions, or all."),
    ] = "cells",
) -> None:
    """Write the results under RUNS as one table.

    The levels are table (algorithms, means over seeds), cells (single runs, with costs and settings), curves (pass@k),
    points (checkpoints that were evaluated), equal-tokens (algorithms at equal cost), log (training, step by step),
    problems, and completions. docs/api.md names their columns. The level all writes the data behind the leaderboard
    into a folder: data.json, CSV files and a BibTeX file (docs/data.md).
    """
    from leaderboards.export import export as write
    from leaderboards.exports import write_all

    if level == "all":
        for reason in write_all(runs, to):
            print(f"not exported: {reason}", file=sys.stderr)
        print(f"{to} has data.json, CSV files and leaderboard.bib")
        return
    done = write(runs, to, level)
    for reason in done.left_out:
        print(f"not exported: {reason}", file=sys.stderr)
    print(f"{to} has {done.rows} rows")
