"""Builds one self-contained HTML page from records.

    rlvr-gap leaderboard --runs runs --out page.html

Records that must not be compared never share a table; `summary.Key` says what they must have in common. Every number
comes from counts (`measure.py`). What cannot be used is listed on the page and in what `build` returns. The page loads
nothing and runs nothing: its style and pictures are inside it, and all text from a record is escaped. The same records
give the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from benchmarks.errors import Failure
from benchmarks.files import write_text_atomic
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import BASE
from benchmarks.statistics.comparison import MIN_BASE, MIN_SEEDS, Comparison
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import VERDICTS, JudgedBy
from benchmarks.statistics.gap import COVER_AT, Gap, cover_samples
from leaderboards import measure, plots, summary
from leaderboards.load import Broken, Entry, counts_of, load, plain
from leaderboards.summary import Key

PAGE_TEMPLATES = Path(__file__).parent / "templates"
TITLE = "RLVR Gap"

Status = Literal["base", "counts", "invalid", "superseded"]


@dataclass(frozen=True)
class Page:
    """The page that was written, and what it was built from."""

    path: Path
    n_records: int
    broken: tuple[Broken, ...]
    """Record files and counts that could not be used; the page lists them too."""
    diverged: tuple[Broken, ...] = ()
    """Trainings that came to nothing that could be scored, and why; the page lists them too."""


@dataclass
class CellRow:
    """One cell on one dataset."""

    entry: Entry
    evaluation: EvaluationRecord
    counts: Counts | None
    """None if they are missing or do not belong to the record; `notes` say why."""
    status: Status
    notes: list[str] = field(default_factory=list)
    gaps: dict[JudgedBy, Gap] = field(default_factory=dict)
    """By verdict, computed from this row's counts and the base's; empty where that is not possible."""

    @property
    def gap(self) -> Gap | None:
        """By the answer."""
        return self.gaps.get("answer")

    @property
    def label(self) -> str:
        """The algorithm and its variant."""
        return summary.label(self.entry.record.cell)

    @property
    def order(self) -> tuple[str, int, str]:
        """Sort key: by name and seed. Single runs have no places."""
        seed = self.entry.record.cell.seed
        return (self.label, -1 if seed is None else seed, self.entry.sha256)


@dataclass(frozen=True)
class Plot:
    """A picture with its caption."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Section:
    """The rows that may be compared with each other: one suite and one dataset."""

    number: int
    key: Key
    rows: list[CellRow]
    """The base, then the runs that count, then those that do not."""
    apart: list[str]
    """Reasons why this section is kept apart from others."""
    comparisons: Mapping[JudgedBy, Comparison]
    """By verdict: the algorithms over their seeds."""
    cover_samples: int | None
    """How many samples Cover@tau looks at; None where there are no counts."""
    curves: list[Plot]
    costs: list[Plot]

    @property
    def k(self) -> int:
        """The k of the gaps, or the largest known k if there is only a base."""
        return self.key.k or max(self.rows[0].evaluation.pass_at_k)

    @property
    def counting(self) -> list[CellRow]:
        """The runs that count."""
        return [row for row in self.rows if row.status == "counts"]


def build(run_dirs_or_records: Path | str | Iterable[Path | str], out_html: Path | str, title: str = TITLE) -> Page:
    """Writes the page atomically and returns its path, its number of records, and what could not be used.

    Each path is a record file, or a folder that holds `record.json`, `*/record.json` (the runs of a suite) or
    `*/*/record.json` (all runs). Raises UsageError if a path does not exist or no path leads to a record, and Failure
    if the page cannot be written. A broken record, or counts that do not match their record, do not stop the build.
    """
    paths = [run_dirs_or_records] if isinstance(run_dirs_or_records, Path | str) else list(run_dirs_or_records)
    entries, broken = load(paths)
    sections = make_sections(entries, broken)
    diverged = tuple(sorted(_diverged(entries), key=str))
    text = render(title, sections, broken, len(entries), diverged)
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


# ------------------------------------------------------------------------------------------------ sections


def make_sections(entries: Sequence[Entry], broken: list[Broken]) -> list[Section]:
    """Makes one section per group of comparable rows, by suite and dataset, and adds unusable counts to `broken`."""
    rows: dict[Key, list[CellRow]] = defaultdict(list)
    bases: dict[Key, list[CellRow]] = defaultdict(list)
    for entry in entries:
        for dataset, evaluation in entry.record.evaluations.items():
            row = _row(entry, dataset, evaluation, broken)
            (bases if row.status == "base" else rows)[summary.key(entry.record, dataset)].append(row)
    with_trained = {key.for_base() for key in rows}
    rows |= {key: [] for key in bases if key not in with_trained}
    suites = {entry.record.suite.hash: entry.record.suite.name for entry in entries}
    order = {(e.record.suite.hash, d): place for e in entries for place, d in enumerate(e.record.evaluations)}
    keys = sorted(rows, key=lambda key: (suites[key.suite_hash], key[0], order[key.suite_hash, key.dataset], repr(key)))
    return [
        _section(number, key, rows[key], bases.get(key.for_base(), []), _apart(key, keys[: number - 1], suites), broken)
        for number, key in enumerate(keys, start=1)
    ]


def _row(entry: Entry, dataset: str, evaluation: EvaluationRecord, broken: list[Broken]) -> CellRow:
    row = CellRow(entry, evaluation, None, "counts")
    try:
        row.counts = counts_of(entry, evaluation)
    except Failure as error:
        broken.append(Broken(entry.where, f"counts of {dataset}: {plain(error, entry.path.parent)}"))
        _drop(row, "its counts cannot be used")
    if why := summary.invalid(evaluation):
        _drop(row, why)
    if entry.record.cell.algorithm == BASE:
        row.status = "base"
    elif dataset not in (entry.record.gap or {}):
        _drop(row, "its record has no gap for this dataset")
    return row


def _drop(row: CellRow, why: str) -> None:
    """Takes the row out of the comparison, and says why. A base stays a base."""
    row.notes.append(why)
    row.status = "base" if row.status == "base" else "invalid"


def _apart(key: Key, before: Sequence[Key], suites: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each earlier section that a reader could mistake for this one."""
    return [
        f"Kept apart from section {number}: {summary.why_apart(key, other)}."
        for number, other in enumerate(before, start=1)
        if other.dataset == key.dataset and suites[other.suite_hash] == suites[key.suite_hash]
    ]


def _section(
    number: int, key: Key, trained: list[CellRow], bases: list[CellRow], apart: list[str], broken: list[Broken]
) -> Section:
    bases = sorted(bases, key=lambda row: (not row.evaluation.valid, row.counts is None, row.entry.sha256))
    base = _measure(key.dataset, trained, bases, broken)
    _judge(trained, base)
    trained = sorted(trained, key=lambda row: row.order)
    counting = [row for row in trained if row.status == "counts"]
    groups: dict[str, list[CellRow]] = {label: [] for label in sorted(row.label for row in counting)}
    for row in counting:
        groups[row.label].append(row)
    sides = _known([*([base] if base else []), *counting])
    return Section(
        number=number,
        key=key,
        rows=[*bases, *counting, *(row for row in trained if row.status != "counts")],
        apart=apart,
        comparisons=_compare(key, base, groups),
        cover_samples=cover_samples(*sides) if sides else None,
        curves=_curves(f"s{number}-curve", base, groups),
        costs=_costs(f"s{number}-cost", base, groups),
    )


def _measure(
    dataset: str, trained: Sequence[CellRow], bases: Sequence[CellRow], broken: list[Broken]
) -> CellRow | None:
    """Computes the gaps of all runs, and returns the base that they are measured from.

    That is the first base whose counts give the gap that a record says, or else the first one with counts.
    """
    known = [base for base in bases if base.counts]
    base = next((base for base in known for row in trained if _is_measured_from(base, row, dataset)), None)
    base = base or (known[0] if known else bases[0] if bases else None)
    for row in trained:
        if row.counts is None:
            continue
        if base is None or base.counts is None:
            _drop(row, "the counts of the base are not among the files, so there is no gap")
            continue
        _measure_row(row, base.counts, dataset, broken)
    return base


def _said(row: CellRow, dataset: str) -> dict[JudgedBy, Gap]:
    """What the record says of its gaps."""
    record = row.entry.record
    found: dict[JudgedBy, dict[str, Gap] | None] = {"answer": record.gap, "sound": record.sound_gap}
    return {verdict: gaps[dataset] for verdict, gaps in found.items() if gaps and dataset in gaps}


def _is_measured_from(base: CellRow, row: CellRow, dataset: str) -> bool:
    said = _said(row, dataset).get("answer")
    return bool(base.counts and row.counts and said and not measure.disagreement(base.counts, row.counts, said))


def _measure_row(row: CellRow, base: Counts, dataset: str, broken: list[Broken]) -> None:
    """Computes the row's gaps. A record that says something else is broken."""
    assert row.counts is not None, "the caller looked"
    for verdict, said in _said(row, dataset).items():
        try:
            row.gaps[verdict] = measure.gap_of(base, row.counts, said, verdict)
        except Failure as error:
            name = "gap" if verdict == "answer" else "sound gap"
            broken.append(Broken(row.entry.where, f"{name} of {dataset}: {error}"))
            row.gaps.clear()
            _drop(row, f"its {name} is not the one that the counts give")
            return
    row.notes += summary.remarks(row.gaps["answer"]) if "answer" in row.gaps else []


def _judge(trained: Sequence[CellRow], base: CellRow | None) -> None:
    """Decides which runs count. The base must be valid, and only the latest run of each cell counts."""
    latest: dict[tuple[str, int | None], CellRow] = {}
    for row in sorted(trained, key=_finished):
        cell = row.entry.record.cell
        if base and not base.evaluation.valid and row.status == "counts":
            _drop(row, f"the base is {summary.invalid(base.evaluation)}")
        if row.status == "counts":
            if older := latest.get((row.label, cell.seed)):
                older.status = "superseded"
                older.notes.append(f"a later run of the same cell counts ({row.entry.sha256[:12]})")
            latest[row.label, cell.seed] = row


def _finished(row: CellRow) -> tuple[float, str]:
    finished = row.entry.record.provenance.finished
    return (finished.timestamp() if finished else 0.0, row.entry.sha256)


# ------------------------------------------------------------------------------------------------ statistics, pictures


def _known(rows: Iterable[CellRow]) -> list[Counts]:
    return [row.counts for row in rows if row.counts]


def _compare(key: Key, base: CellRow | None, groups: Mapping[str, Sequence[CellRow]]) -> dict[JudgedBy, Comparison]:
    """Compares the algorithms by every verdict that is known of all of them."""
    seeds = {label: _known(rows) for label, rows in groups.items()}
    found = {
        verdict: measure.comparison(base.counts if base else None, seeds, key.k, key.confidence or 0.95, verdict)
        for verdict in VERDICTS
    }
    return {verdict: comparison for verdict, comparison in found.items() if comparison}


def _curves(name: str, base: CellRow | None, groups: Mapping[str, Sequence[CellRow]]) -> list[Plot]:
    """Plots pass@k of the base and of every algorithm with known counts."""
    base_counts = _known([base] if base else [])
    known = {label: _known(rows) for label, rows in groups.items()}
    figures = plots.curve_figures(base_counts, known)
    return [_plot(figure, f"{name}-{i}", caption) for i, (figure, caption) in enumerate(figures)]


def _costs(name: str, base: CellRow | None, groups: Mapping[str, Sequence[CellRow]]) -> list[Plot]:
    """Plots pass@1 against everything that training generated, in completions and in tokens."""
    figures = []
    for i, unit in enumerate(("completions", "tokens")):
        points = [
            plots.Point(label, summary.generated(row.entry.record.training)[i], row.gap.trained_pass_at_1, colour)
            for colour, (label, rows) in enumerate(groups.items())
            for row in rows
            if row.entry.record.training and row.gap
        ]
        if points:
            base_at_1 = base.evaluation.pass_at_k.get(1) if base else None
            caption = f"A point is a cell. {unit.capitalize()} include discarded and greedy ones."
            figures.append(_plot(plots.cost(points, unit, base_at_1), f"{name}-{i}", caption))
    return figures


def _plot(figure: Figure, name: str, caption: str) -> Plot:
    axes = figure.axes[0]
    title = f"{axes.get_ylabel()} over {axes.get_xlabel()} {axes.get_title()}".strip()
    return Plot(Markup(plots.to_svg(figure, name, title)), caption)


# ------------------------------------------------------------------------------------------------ page out


def render(
    title: str, sections: Sequence[Section], broken: Sequence[Broken], n_records: int, diverged: Sequence[Broken] = ()
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
    shown = {"show_points": summary.points, "cover_at": COVER_AT, "min_seeds": MIN_SEEDS, "min_base": MIN_BASE}
    environment.globals |= shown
    template = environment.get_template("page.html.j2")
    return template.render(title=title, sections=sections, broken=broken, n_records=n_records, diverged=diverged)


def _phases(rows: Sequence[CellRow]) -> list[str]:
    """Returns all training phases whose seconds any of the rows shows, in the order of the records."""
    trainings = [row.entry.record.training for row in rows]
    return list(dict.fromkeys(phase for training in trainings if training for phase in summary.seconds(training)))
