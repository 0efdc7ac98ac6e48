"""Builds one self-contained HTML page from records.

    rlvr-gap leaderboard --runs runs --out page.html

Records that must not be compared never share a table (`sections.py`). Every number comes from counts (`measure.py`).
What cannot be used is listed on the page and in what `build` returns. The page loads nothing and runs nothing: its
style and pictures are inside it, and all text from a record is escaped. The same files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.files import write_text_atomic
from benchmarks.statistics.comparison import MIN_BASE, MIN_SEEDS
from benchmarks.statistics.gap import COVER_AT
from leaderboards import pictures, study_words, summary
from leaderboards.load import Broken, Entry, load
from leaderboards.sections import CellRow, Section, make_sections
from leaderboards.tuning import Study, find_studies

PAGE_TEMPLATES = Path(__file__).parent / "templates"
TITLE = "RLVR Gap"


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
    paths = [run_dirs_or_records] if isinstance(run_dirs_or_records, Path | str) else list(run_dirs_or_records)
    entries, broken = load(paths)
    sections = make_sections(entries, broken)
    broken += pictures.damaged_logs(entries)
    studies, damaged = find_studies(paths, out_html)
    broken += damaged
    diverged = tuple(sorted(_diverged(entries), key=str))
    text = render(title, sections, broken, len(entries), diverged, studies)
    write_text_atomic(out_html, text)
    return Page(Path(out_html), len(entries), tuple(broken), diverged)


def _diverged(entries: Sequence[Entry]) -> list[Broken]:
    """The trainings that diverged, with why and after what cost. None of them has a row, because none has a score."""
    found = [(entry.where, entry.record.training) for entry in entries if entry.record.diverged]
    return [
        Broken(where, f"{one.diverged_because or 'no reason is given'} (after {one.steps} steps, {one.tokens} tokens)")
        for where, one in found
        if one is not None
    ]


def render(
    title: str,
    sections: Sequence[Section],
    broken: Sequence[Broken],
    n_records: int,
    diverged: Sequence[Broken] = (),
    studies: Sequence[Study] = (),
) -> str:
    """Returns the page as text, which does not depend on when or where it was made."""
    environment = Environment(
        loader=FileSystemLoader(PAGE_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words: tuple[str, ...] = ("percent", "points", "span", "number", "crossing", "k_equivalent", "percent_bounds")
    words += ("solved_by_one", "by_chance", "beyond_doubt")
    environment.filters |= {name: summary.typeset(getattr(summary, name)) for name in words}
    environment.filters |= {"utc": summary.utc, "phases": _phases, "passes": summary.passes, "seconds": summary.seconds}
    environment.filters |= {"short": summary.short}
    shown = {"show_points": summary.points, "cover_at": COVER_AT, "min_seeds": MIN_SEEDS, "min_base": MIN_BASE}
    environment.globals |= shown
    environment.globals |= {
        "pictures": {name: getattr(pictures, name) for name in ("curves", "training", "logs", "costs")}
    }
    template = environment.get_template("page.html.j2")
    parts = {"sections": sections, "broken": broken, "diverged": diverged, "studies": studies}
    return template.render(title=title, n_records=n_records, tuning_words=study_words, **parts)


def _phases(rows: Sequence[CellRow]) -> list[str]:
    """Returns all training phases whose seconds any of the rows shows, in the order of the records."""
    trainings = [row.entry.record.training for row in rows]
    return list(dict.fromkeys(phase for training in trainings if training for phase in summary.seconds(training)))
