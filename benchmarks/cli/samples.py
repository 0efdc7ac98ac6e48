"""The command `show`, which shows the stored completions of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UsageError, unknown

LIMIT = 20


def show(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, OUT/SUITE/CELL.")],
    problem: Annotated[
        list[str] | None, typer.Option("--problem", help="Id of a problem whose completions to show; repeatable.")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="Dataset; repeatable; default: all.")] = None,
    verdict: Annotated[
        str | None,
        typer.Option("--verdict", help="Only what was judged so: correct, wrong, truncated or error."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most problems, or completions of a problem.")] = LIMIT,
    full: Annotated[bool, typer.Option("--full", help="Show long completions whole.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page of its own with the same content.")] = None,
) -> None:
    """Show what a model wrote, how it was judged, and the answer that the verifier read.

    Without --problem: the estimates of the run, and its problems with the number of each verdict.
    With --problem: the prompt, the gold answer, and each completion with its verdict and its extracted answer.

        rlvr-gap show runs/countdown/base --verdict truncated
        rlvr-gap show runs/countdown/base --problem ID --verdict wrong --limit 5 --html wrong.html
    """
    from benchmarks.cli.results import print_parts, show_estimates
    from benchmarks.runs.browse import Browser
    from benchmarks.runs.regrade_run import RunFolder
    from leaderboards.samples import VERDICTS, problem_table, problem_view, write_page

    if verdict is not None and verdict not in VERDICTS:
        raise unknown("verdict", verdict, VERDICTS)
    if full and not problem:
        raise UsageError("--full is for completions: name a --problem as well.")
    folder = RunFolder.read(run)
    browser = Browser(folder, dataset or ())
    if problem:
        found = [browser.problem(one, verdict) for one in problem]
        print_parts(*(problem_view(one, limit, full) for one in found))
    else:
        found = browser.problems(verdict)
        show_estimates(folder.record, run)
        print_parts(problem_table(found, limit))
    if html is not None:
        write_page(html, f"{folder.record.suite.name}: {run.name}", found if problem else found[:limit], limit)
        print(f"page  {html}")
