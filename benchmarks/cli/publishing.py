"""The command `leaderboard`, which builds the page from all records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def leaderboard(
    runs: Annotated[Path, typer.Option("--runs", help="Folder of all runs, a suite's runs, or a cell.")] = Path("runs"),
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("leaderboards/site/index.html"),
) -> None:
    """Build one self-contained HTML page from all records under RUNS."""
    from leaderboards.build import build

    page = build(runs, out)
    for diverged in page.diverged:
        print(f"diverged, and so not scored: {diverged}", file=sys.stderr)
    for broken in page.broken:
        print(f"not shown: {broken}", file=sys.stderr)
    print(f"{page.path} shows {page.n_records} records")
