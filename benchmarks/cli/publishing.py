"""The command `leaderboard`, which builds the site from all records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def leaderboard(
    runs: Annotated[Path, typer.Option("--runs", help="Folder of all runs, a suite's runs, or a cell.")] = Path("runs"),
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the site, or an .html file for one page with everything in it.")
    ] = Path("leaderboards/site"),
    downloads: Annotated[
        bool, typer.Option("--downloads", help="Write the plots that compare algorithms as PDF and PNG, too.")
    ] = False,
) -> None:
    """Build a static site, which opens from disk, from all records under RUNS.

    Without --downloads the plots are SVG alone: a PDF and a PNG of each take about as long as all else of the plot.
    """
    from benchmarks.errors import UsageError
    from benchmarks.records.provenance import code
    from leaderboards.build import build
    from leaderboards.website import build_site

    if downloads and out.suffix == ".html":
        raise UsageError(
            f"--downloads writes files beside the pages of a site: expected a folder after --out, not {out}."
        )
    page = build(runs, out) if out.suffix == ".html" else build_site(runs, out, commit=code(), downloads=downloads)
    for diverged in page.diverged:
        print(f"diverged, and so not scored: {diverged}", file=sys.stderr)
    for broken in page.broken:
        print(f"not shown: {broken}", file=sys.stderr)
    print(f"{page.path} shows {page.n_records} records")
