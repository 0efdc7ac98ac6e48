"""Builds one self-contained HTML page from records.

    rlvr-gap leaderboard --runs runs --out page.html

Records that must not be compared never share a table (`sections.py`). Every number comes from counts (`measure.py`).
What cannot be used is listed on the page and in what `build` returns. The page loads nothing and runs nothing: its
style and pictures are inside it, and all text from a record is escaped. The same files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from benchmarks.files import write_text_atomic
from benchmarks.statistics.comparison import MIN_BASE, MIN_SEEDS
from benchmarks.statistics.gap import COVER_AT
from leaderboards import pictures, study_words, summary
from leaderboards.ahead import read_ahead
from leaderboards.default_and_tuned import default_and_tuned
from leaderboards.load import Broken, Entry, load
from leaderboards.sections import CellRow, Section, make_sections
from leaderboards.templating import make_environment
from leaderboards.tuning import Study, find_studies

TITLE = "RLVR Gap"
Show = Callable[[pictures.Plot], Markup]
"""Turns a picture into an element of a page."""


@dataclass(frozen=True)
class Page:
    """The page that was written, and what it was built from."""

    path: Path
    n_records: int
    broken: tuple[Broken, ...]
    """Record files and counts that could not be used; the page lists them too."""
    diverged: tuple[Broken, ...] = ()
    """Trainings that came to nothing that could be scored, and why; the page lists them too."""


def build(run_dirs_or_records: Path | str | Iterable[Path | str], out_html: Path | str, title: str = TITLE) -> Page:
    """Writes the page atomically and returns its path, its number of records, and what could not be used.

    Each path is a record file, or a folder that holds `record.json`, `*/record.json` (the runs of a suite) or
    `*/*/record.json` (all runs). Raises UsageError if a path does not exist or no path leads to a record, and Failure
    if the page cannot be written. A broken record, or counts that do not match their record, do not stop the build.
    """
    found = gather(run_dirs_or_records, out_html)
    write_text_atomic(out_html, render(title, found))
    return found.page(Path(out_html))


@dataclass(frozen=True)
class Gathered:
    """All that pages are made from."""

    entries: Sequence[Entry]
    sections: Sequence[Section]
    broken: tuple[Broken, ...]
    diverged: tuple[Broken, ...]
    studies: tuple[Study, ...] = ()
    """What algorithms were tuned in, where it is beside the runs."""

    def page(self, path: Path) -> Page:
        """What was written to the path."""
        return Page(path, len(self.entries), self.broken, self.diverged)


def gather(
    run_dirs_or_records: Path | str | Iterable[Path | str], out_html: Path | str, pool: Executor | None = None
) -> Gathered:
    """Reads the records and groups them into sections, for a page at `out_html`. Errors as in `build`.

    The files beside the records are read by `pool`, if there is one. What is returned is the same either way.
    """
    paths = [run_dirs_or_records] if isinstance(run_dirs_or_records, Path | str) else list(run_dirs_or_records)
    entries, broken = load(paths)
    if pool is not None:
        read_ahead(entries, pool)
    sections = make_sections(entries, broken)
    broken += pictures.damaged_logs(entries)
    studies, damaged = find_studies(paths, out_html)
    diverged = tuple(sorted(_diverged(entries), key=str))
    return Gathered(entries, sections, tuple(broken + damaged), diverged, tuple(studies))


def _diverged(entries: Sequence[Entry]) -> list[Broken]:
    """The trainings that diverged, with why and after what cost. None of them has a row, because none has a score."""
    found = [(entry.where, entry.record.training) for entry in entries if entry.record.diverged]
    return [
        Broken(where, f"{one.diverged_because or 'no reason is given'} (after {one.steps} steps, {one.tokens} tokens)")
        for where, one in found
        if one is not None
    ]


def render(title: str, found: Gathered, show: Show = pictures.inline, front: str | None = None) -> str:
    """Returns the page as text, which does not depend on when or where it was made.

    `show` turns a picture into an element; `front` is the address of the front page, if there is one.
    """
    template = environment(show).get_template("page.html.j2")
    return template.render(
        title=title,
        front=front,
        sections=found.sections,
        broken=found.broken,
        n_records=len(found.entries),
        diverged=found.diverged,
        studies=found.studies,
        tuned=default_and_tuned(found.sections, found.studies),
        tuning_words=study_words,
    )


def environment(show: Show) -> Environment:
    """Returns what all templates of records need: formatters, and functions that draw pictures."""
    made = make_environment()
    words: tuple[str, ...] = ("percent", "points", "span", "number", "crossing", "k_equivalent", "percent_bounds")
    words += ("solved_by_one", "by_chance", "beyond_doubt")
    made.filters |= {name: summary.typeset(getattr(summary, name)) for name in words}
    made.filters |= {"utc": summary.utc, "phases": _phases, "passes": summary.passes, "seconds": summary.seconds}
    made.filters |= {"short": summary.short}
    shown = {"show_points": summary.points, "cover_at": COVER_AT, "min_seeds": MIN_SEEDS, "min_base": MIN_BASE}
    made.globals |= shown
    made.globals |= {"pictures": {name: getattr(pictures, name) for name in ("curves", "training", "logs", "costs")}}
    made.globals["show"] = show
    return made


def _phases(rows: Sequence[CellRow]) -> list[str]:
    """Returns all training phases whose seconds any of the rows shows, in the order of the records."""
    trainings = [row.entry.record.training for row in rows]
    return list(dict.fromkeys(phase for training in trainings if training for phase in summary.seconds(training)))
