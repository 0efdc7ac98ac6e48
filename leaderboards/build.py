"""Builds one self-contained HTML page from records.

    rlvr-gap leaderboard --runs runs --out page.html

Records that must not be compared never share a table; `summary.Key` says what they must have in common. A record that
cannot be read is listed on the page and in what `build` returns. The page loads nothing and runs nothing: its style and
pictures are inside it, and all text from a record is escaped. The same records give the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from benchmarks.errors import Failure, UsageError
from benchmarks.files import file_sha256, write_text_atomic
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import BASE, Record, read_record
from benchmarks.statistics import comparison as compare
from benchmarks.statistics.comparison import Comparison, Floats
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.gap import Gap
from leaderboards import plots, summary
from leaderboards.summary import Key

PAGE_TEMPLATES = Path(__file__).parent / "templates"
TITLE = "RLVR Gap"
_AGREES = 1e-9

Status = Literal["base", "ranked", "invalid", "superseded"]


@dataclass(frozen=True)
class Broken:
    """Something that was asked for and could not be used."""

    where: str
    """The last three parts of the file's path."""
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class Page:
    """The page that was written, and what it was built from."""

    path: Path
    n_records: int
    broken: tuple[Broken, ...]
    """Record files and counts that could not be used; the page lists them too."""


@dataclass(frozen=True)
class Entry:
    """A record with the file that it came from."""

    record: Record
    path: Path
    sha256: str

    @property
    def where(self) -> str:
        """The last three parts of the file's path, which are the same on every machine."""
        return _where(self.path)


@dataclass
class Row:
    """One cell on one dataset."""

    entry: Entry
    evaluation: EvaluationRecord
    gap: Gap | None
    counts: Counts | None
    """None if they are missing or do not belong to the record; `notes` say why."""
    status: Status
    notes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The algorithm and its variant."""
        return summary.label(self.entry.record.cell)

    @property
    def order(self) -> tuple[float, str, int, str]:
        """Sort key: rows with a lower gap come first, and rows without a gap are sorted by name."""
        seed = self.entry.record.cell.seed
        return (self.gap.gap if self.gap else 0.0, self.label, -1 if seed is None else seed, self.entry.sha256)


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
    rows: list[Row]
    """The ranked rows by gap, then the base, then the rows that are not ranked."""
    apart: list[str]
    """Reasons why this section is kept apart from others."""
    comparison: Comparison | None
    seeds: Mapping[str, int]
    """Label -> number of ranked cells. Means over seeds are shown if any label has more than one."""
    curves: list[Plot]
    costs: list[Plot]

    @property
    def k(self) -> int:
        """The k of the gaps, or the largest known k if there is only a base."""
        return self.key.k or max(self.rows[0].evaluation.pass_at_k)

    @property
    def ranked(self) -> list[Row]:
        """The rows that have a place."""
        return [row for row in self.rows if row.status == "ranked"]


def build(run_dirs_or_records: Path | str | Iterable[Path | str], out_html: Path | str, title: str = TITLE) -> Page:
    """Writes the page atomically and returns its path, its number of records, and what could not be used.

    Each path is a record file, or a folder that holds `record.json`, `*/record.json` (the runs of a suite) or
    `*/*/record.json` (all runs). Raises UsageError if a path does not exist or no path leads to a record, and Failure
    if the page cannot be written. A broken record, or counts that do not match their record, do not stop the build.
    """
    paths = [run_dirs_or_records] if isinstance(run_dirs_or_records, Path | str) else list(run_dirs_or_records)
    entries, broken = load(paths)
    sections = make_sections(entries, broken)
    text = render(title, sections, broken, len(entries))
    write_text_atomic(out_html, text)
    return Page(Path(out_html), len(entries), tuple(broken))


# ------------------------------------------------------------------------------------------------ records in


def load(paths: Sequence[Path | str]) -> tuple[list[Entry], list[Broken]]:
    """Returns all records under the paths, sorted by content hash, and the files that are not. Errors as in `build`."""
    files: dict[Path, Path] = {}
    broken = []
    for path in map(Path, paths):
        found = _find(path)
        if not found:
            broken.append(Broken(_where(path), "there is no record.json in this folder, nor one or two folders down"))
        files |= {file.resolve(): file for file in found}
    if not files:
        raise UsageError(f"no record.json under {', '.join(map(str, paths)) or 'no path at all'}.")
    entries = []
    for file in files.values():
        try:
            entries.append(Entry(read_record(file), file, file_sha256(file)))
        except Failure as error:
            broken.append(Broken(_where(file), _plain(error, file.parent)))
    return sorted(entries, key=lambda entry: (entry.sha256, entry.where)), sorted(broken, key=lambda b: b.where)


def _find(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{path} does not exist: expected a record.json or a folder of runs.")
    return sorted(file for pattern in ("", "*/", "*/*/") for file in path.glob(f"{pattern}record.json"))


def _where(path: Path) -> str:
    return "/".join(path.resolve().parts[-3:]).lstrip("/")


def _plain(error: Exception, folder: Path) -> str:
    """Returns the reason without the folders of this machine."""
    return str(error).replace(f"{folder}/", "")


def _counts(entry: Entry, evaluation: EvaluationRecord) -> Counts:
    """Returns the counts, checked against the record. Raises Failure if they are missing or not the record's."""
    path = Path(evaluation.counts.path)
    if path.is_absolute() or ".." in path.parts:
        raise Failure(f"{path} lies outside of the record's folder.")
    if not (entry.path.parent / path).is_file():
        raise Failure(f"{path} is missing.")
    counts = read_evaluated(evaluation, entry.path.parent).sorted()
    ks = sorted(evaluation.pass_at_k)
    for k, mean in zip(ks, counts.curve(ks).mean(axis=0), strict=True):
        if abs(mean - evaluation.pass_at_k[k]) > _AGREES:
            raise Failure(f"{path} gives pass@{k} = {mean:.6f}, but the record says {evaluation.pass_at_k[k]:.6f}.")
    return counts


# ------------------------------------------------------------------------------------------------ sections


def make_sections(entries: Sequence[Entry], broken: list[Broken]) -> list[Section]:
    """Makes one section per group of comparable rows, by suite and dataset, and adds unusable counts to `broken`."""
    rows: dict[Key, list[Row]] = defaultdict(list)
    bases: dict[Key, list[Row]] = defaultdict(list)
    for entry in entries:
        if entry.record.diverged and entry.record.training is not None:
            broken.append(Broken(entry.where, f"it diverged: {entry.record.training.diverged_because or 'no reason'}"))
        for dataset, evaluation in entry.record.evaluations.items():
            row = _row(entry, dataset, evaluation, broken)
            (bases if row.status == "base" else rows)[summary.key(entry.record, dataset)].append(row)
    with_trained = {key.for_base() for key in rows}
    rows |= {key: [] for key in bases if key not in with_trained}
    suites = {entry.record.suite.hash: entry.record.suite.name for entry in entries}
    order = {(e.record.suite.hash, d): place for e in entries for place, d in enumerate(e.record.evaluations)}
    keys = sorted(rows, key=lambda key: (suites[key.suite_hash], key[0], order[key.suite_hash, key.dataset], repr(key)))
    return [
        _section(number, key, rows[key], bases.get(key.for_base(), []), _apart(key, keys[: number - 1], suites))
        for number, key in enumerate(keys, start=1)
    ]


def _row(entry: Entry, dataset: str, evaluation: EvaluationRecord, broken: list[Broken]) -> Row:
    gap = (entry.record.gap or {}).get(dataset)
    row = Row(entry, evaluation, gap, None, "ranked", summary.remarks(gap) if gap else [])
    try:
        row.counts = _counts(entry, evaluation)
    except Failure as error:
        broken.append(Broken(entry.where, f"counts of {dataset}: {_plain(error, entry.path.parent)}"))
        row.notes.append("its counts cannot be used")
    if why := summary.invalid(evaluation):
        row.status = "invalid"
        row.notes.append(why)
    if entry.record.cell.algorithm == BASE:
        row.status = "base"
    elif gap is None:
        row.status = "invalid"
        row.notes.append("its record has no gap for this dataset")
    return row


def _apart(key: Key, before: Sequence[Key], suites: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each earlier section that a reader could mistake for this one."""
    return [
        f"Kept apart from section {number}: {summary.why_apart(key, other)}."
        for number, other in enumerate(before, start=1)
        if other.dataset == key.dataset and suites[other.suite_hash] == suites[key.suite_hash]
    ]


def _section(number: int, key: Key, trained: list[Row], bases: list[Row], apart: list[str]) -> Section:
    bases = sorted(bases, key=lambda row: (not row.evaluation.valid, row.counts is None, row.entry.sha256))
    base = _reference(trained, bases)
    _judge(trained, base)
    trained = sorted(trained, key=lambda row: row.order)
    ranked = [row for row in trained if row.status == "ranked"]
    _same_problems([*([base] if base else []), *ranked])
    groups: dict[str, list[Row]] = {label: [] for label in sorted(row.label for row in ranked)}
    for row in ranked:
        groups[row.label].append(row)
    return Section(
        number=number,
        key=key,
        rows=[*ranked, *bases, *(row for row in trained if row.status != "ranked")],
        apart=apart,
        comparison=_compare(key, base, groups),
        seeds={label: len(rows) for label, rows in groups.items()},
        curves=_curves(f"s{number}-curve", base, groups),
        costs=_costs(f"s{number}-cost", base, groups),
    )


def _reference(trained: Sequence[Row], bases: Sequence[Row]) -> Row | None:
    """Returns the base that the gaps were measured from (the first one, if there are several)."""
    agreeing = (base for base in bases for row in trained if row.gap and _measured_from(row.gap, base))
    return next(agreeing, bases[0] if bases else None)


def _measured_from(gap: Gap, base: Row) -> bool:
    pairs = ((1, gap.base_pass_at_1), (gap.k, gap.base_pass_at_k))
    return all(abs(base.evaluation.pass_at_k.get(k, value) - value) <= _AGREES for k, value in pairs)


def _judge(trained: Sequence[Row], base: Row | None) -> None:
    """Decides which rows are ranked. The base must be valid, and only the latest run of each cell is ranked."""
    latest: dict[tuple[str, int | None], Row] = {}
    for row in sorted(trained, key=_finished):
        cell = row.entry.record.cell
        if base and row.gap and not _measured_from(row.gap, base):
            row.notes.append("measured from another evaluation of the base than the one shown")
        if base and not base.evaluation.valid and row.status == "ranked":
            row.status = "invalid"
            row.notes.append(f"the base is {summary.invalid(base.evaluation)}")
        if row.status == "ranked":
            if older := latest.get((row.label, cell.seed)):
                older.status = "superseded"
                older.notes.append(f"a later run of the same cell is ranked ({row.entry.sha256[:12]})")
            latest[row.label, cell.seed] = row


def _finished(row: Row) -> tuple[float, str]:
    finished = row.entry.record.provenance.finished
    return (finished.timestamp() if finished else 0.0, row.entry.sha256)


def _same_problems(rows: Sequence[Row]) -> None:
    """Removes the counts of rows whose problems differ from the section's, because they cannot be paired."""
    known = [row for row in rows if row.counts]
    for row in known:
        if row.counts and known[0].counts and row.counts.problem_ids != known[0].counts.problem_ids:
            row.counts = None
            row.notes.append(f"counts: not the problems of {known[0].label}")


# ------------------------------------------------------------------------------------------------ statistics, pictures


def _known(rows: Iterable[Row]) -> list[Counts]:
    return [row.counts for row in rows if row.counts]


def _compare(key: Key, base: Row | None, groups: Mapping[str, Sequence[Row]]) -> Comparison | None:
    """Compares the algorithms whose cells all have counts. Returns None if there is no such algorithm."""
    scores = {label: _scores(_known(rows), key) for label, rows in groups.items() if all(row.counts for row in rows)}
    base_counts = _known([base] if base else [])
    if not scores:
        return None
    return compare.compare(scores, _scores(base_counts, key)[0] if base_counts else None, key.confidence or 0.95)


def _scores(counts: Sequence[Counts], key: Key) -> Floats:
    """(S, N, 2): pass@1 and pass@k of every seed on every problem, in the order of the problem ids."""
    return np.stack([side.curve([1, key.k or 1]) for side in counts])


def _curves(name: str, base: Row | None, groups: Mapping[str, Sequence[Row]]) -> list[Plot]:
    """Plots pass@k of the base and of every algorithm with known counts."""
    base_counts = _known([base] if base else [])
    known = {label: _known(rows) for label, rows in groups.items()}
    figures = plots.curve_figures(base_counts, known)
    return [_plot(figure, f"{name}-{i}", caption) for i, (figure, caption) in enumerate(figures)]


def _costs(name: str, base: Row | None, groups: Mapping[str, Sequence[Row]]) -> list[Plot]:
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


def render(title: str, sections: Sequence[Section], broken: Sequence[Broken], n_records: int) -> str:
    """Returns the page as text, which does not depend on when or where it was made."""
    environment = Environment(
        loader=FileSystemLoader(PAGE_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = ("percent", "points", "span", "number", "crossing", "k_equivalent")
    environment.filters |= {name: summary.typeset(getattr(summary, name)) for name in words}
    environment.filters |= {"utc": summary.utc, "phases": _phases}
    environment.globals["show_points"] = summary.points
    template = environment.get_template("page.html.j2")
    return template.render(title=title, sections=sections, broken=broken, n_records=n_records)


def _phases(rows: Sequence[Row]) -> list[str]:
    """Returns all training phases that any of the rows has, in the order of the records."""
    trainings = [row.entry.record.training for row in rows]
    return list(dict.fromkeys(phase for training in trainings if training for phase in training.seconds))
