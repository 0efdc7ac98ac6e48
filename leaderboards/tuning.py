"""Finds the studies that belong to a leaderboard's runs, for its section on tuning."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import Failure
from benchmarks.records.study import FILE, StudySummary, read_summary
from leaderboards.load import Broken, plain

PAGE = "index.html"


@dataclass(frozen=True)
class Study:
    """One study, with the address of its own page from the leaderboard; null where it has no page."""

    summary: StudySummary
    page: str | None


def find_studies(paths: Sequence[Path | str], out_html: Path | str) -> tuple[list[Study], list[Broken]]:
    """Returns the studies under the folders of runs (all runs, or those of a suite), and summaries that are damaged.

    They are in the order of suite, algorithm and name. The page at `out_html` links to theirs.
    """
    patterns = (f"sweeps/*/{FILE}", f"*/sweeps/*/{FILE}")
    files = {file.resolve() for path in map(Path, paths) for pattern in patterns for file in path.glob(pattern)}
    found, broken = list[Study](), list[Broken]()
    for file in sorted(files):
        page = file.with_name(PAGE)
        address = Path(os.path.relpath(page, Path(out_html).resolve().parent)).as_posix() if page.is_file() else None
        try:
            found.append(Study(read_summary(file), address))
        except Failure as error:
            broken.append(Broken("/".join(file.parts[-3:]), plain(error, file.parent)))
    return sorted(found, key=lambda one: (one.summary.suite, one.summary.algorithm, one.summary.study)), broken
