"""Describes a record in a few words: its label, its numbers as text, and the tables that a terminal shows.

`build.py` takes the words of its page from here. Fractions are shown in percent, and differences in points. Nothing is
computed here that the record does not hold. Text from a record is shown as it is, even if it looks like markup.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.errors import UsageError, unknown
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import BASE, Cell, Record, TrainingRecord
from benchmarks.statistics.comparison import MIN_SEEDS
from benchmarks.statistics.crossing import Crossing, KEquivalent
from benchmarks.statistics.gap import Gap, Interval, Ratio
from benchmarks.statistics.intervals import Estimate

NONE = "-"
"""Shown where there is no value."""
DATASETS_SIDE_BY_SIDE = 2
"""A table with more datasets than this does not fit into 80 characters."""


# ------------------------------------------------------------------------------------------------ what may be compared


class Key(NamedTuple):
    """What two records must share to stand in one table. A base has no `k` and `confidence`, so it fits any of them."""

    suite_hash: str
    dataset: str
    task_version: int | str | None
    verifier_version: int | str | None
    base: str
    """Hash of the base model, or "name:..." if only the name is known."""
    problems_hash: str | None
    k: int | None
    confidence: float | None

    def for_base(self) -> Key:
        """Returns the key of the base that these records are measured from."""
        return self._replace(k=None, confidence=None)


def key(record: Record, dataset: str) -> Key:
    """Returns what decides comparability on the dataset. UsageError if the record has no evaluation of it."""
    if dataset not in record.evaluations:
        raise unknown("dataset", dataset, record.evaluations)
    versions, gap = record.evaluations[dataset].versions, (record.gap or {}).get(dataset)
    return Key(
        suite_hash=record.suite.hash,
        dataset=dataset,
        task_version=versions.task,
        verifier_version=versions.verifier,
        base=record.cell.base_hash or f"name:{record.cell.base_model}",
        problems_hash=record.evaluations[dataset].problems_hash,
        k=gap.k if gap else None,
        confidence=gap.confidence if gap else None,
    )


_WHY = {
    "suite_hash": "the suite differs in a setting that can move a number (suite hash {there} there, {here} here)",
    "task_version": "the task's VERSION is {there} there and {here} here, so the problems may mean something else",
    "verifier_version": "the verifier's VERSION is {there} there and {here} here, so a verdict may mean something else",
    "base": "the base model is another one ({there} there, {here} here), so other problems are within reach",
    "problems_hash": "the problems are not the same ones ({there} there, {here} here)",
    "k": "the gap is measured at k = {there} there and at k = {here} here",
    "confidence": "the level of the intervals is {there} there and {here} here",
}


def difference(here: Key, there: Key) -> list[str]:
    """Returns the names of the fields in which two keys differ."""
    return [name for name, a, b in zip(Key._fields, here, there, strict=True) if a != b]


def why_apart(here: Key, there: Key) -> str:
    """Explains to a reader of the table with the key `here` why records with the key `there` are not in it."""
    names = [name for name in difference(here, there) if name in _WHY]
    return "; ".join(_WHY[name].format(here=getattr(here, name), there=getattr(there, name)) for name in names)


def cell_name(cell: Cell) -> str:
    """Returns the name of the cell's folder, such as "grpo-s0", "reinforce_pp-s0-baseline" or "base"."""
    parts = [cell.algorithm, None if cell.seed is None else f"s{cell.seed}", cell.variant]
    return "-".join(part for part in parts if part)


def label(cell: Cell) -> str:
    """Returns the algorithm and its variant, if any. Cells with the same label differ only in their seed."""
    return f"{cell.algorithm} ({cell.variant})" if cell.variant else cell.algorithm


# ------------------------------------------------------------------------------------------------ numbers as text


def percent(share: float | None) -> str:
    """Formats a fraction in percent: 0.236 -> "23.6"."""
    return NONE if share is None else f"{100 * share:.1f}"


def points(difference: float | None) -> str:
    """Formats a difference of fractions with its sign: 0.143 -> "+14.3". A value that rounds to zero has no sign."""
    if difference is None:
        return NONE
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def span(low: float, high: float, show: Callable[[float], str] = percent) -> str:
    """Formats an interval: "[66.0, 74.5]"."""
    return f"[{show(low)}, {show(high)}]"


def number(value: float | None) -> str:
    """Formats a count, 8412345 -> "8,412,345", or seconds and k, with one decimal below 100."""
    if value is None:
        return NONE
    return f"{value:,.1f}" if value < 100 and value != int(value) else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Formats a large count briefly: 8412345 -> "8.41 M"."""
    if value is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def utc(moment: datetime | None) -> str:
    """Formats date and minute in UTC, whatever the record's time zone."""
    return "not known" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def bounds(low: float | None, high: float | None, show: Callable[[float], str] = number) -> str:
    """Formats an interval that may be open: "[3.3, 24.5]", "[below 1, 2.0]", "[3.3, no bound]"."""
    left = "no bound" if low is None or math.isinf(low) else "below 1" if low == 0 and show is number else show(low)
    return f"[{left}, {'no bound' if high is None or math.isinf(high) else show(high)}]"


def percent_bounds(found: Ratio | Estimate | None) -> str:
    """Formats a ratio in percent with its interval: "26.1 [21.3, 31.4]". It may have no bounds, or no value."""
    if found is None or found.value is None:
        return NONE
    return f"{percent(found.value)} {bounds(found.low, found.high, percent)}"


def crossing(place: Crossing) -> str:
    """Says who overtakes where: "base ahead from 6.1 [5.0, 7.2]", or "none to 256 (trained leads)"."""
    if place.kind == "none":
        leads = "" if place.leads_at_1 == "neither" else f" ({place.leads_at_1} leads)"
        return f"none to {place.k_max}{leads}"
    if place.low is None or place.high is None or place.overtakes is None:  # an older record
        return ", ".join(number(k) for k in place.k)
    rows = zip(place.overtakes, place.k, place.low, place.high, strict=True)
    return "; ".join(f"{side} ahead from {number(k)} {bounds(low, high)}" for side, k, low, high in rows)


def k_equivalent(place: KEquivalent) -> str:
    """Says how many samples of the base the training is worth: "3.2 [2.5, 4.1]", "< 1", "> 256"."""
    text = {"below_1": "< 1", "above_k_max": f"> {place.k_max}"}.get(place.kind, number(place.k))
    if place.low is None and place.high is None:
        return text
    return f"{text} {bounds(place.low, math.inf if place.high is None else place.high)}"


def solved_by_one(gap: Gap) -> str:
    """Counts problems that only one side solved, with what chance alone would give: "5 / 39 (by chance 6 / 8)"."""
    text = f"{gap.gained} / {gap.lost}"
    if gap.solved is None:
        return text
    return f"{text} (by chance {gap.solved.trained_repetition:.0f} / {gap.solved.base_repetition:.0f})"


def beyond_doubt(gap: Gap) -> str:
    """Counts those of the above on which the two chances differ beyond doubt: "0 / 8"."""
    found = gap.solved
    if found is None or found.gained_beyond_doubt is None:
        return NONE
    return f"{found.gained_beyond_doubt} / {found.lost_beyond_doubt}"


def chains(evaluation: EvaluationRecord) -> str:
    """Counts sound chains among the correct completions whose chain could be checked: "91.2 of 1,204"."""
    checked = evaluation.chains
    if checked is None or not checked.correct_checked:
        return NONE
    return f"{percent(checked.correct_sound / checked.correct_checked)} of {number(checked.correct_checked)}"


def generated(training: TrainingRecord) -> tuple[int, int]:
    """Returns all completions and all tokens that training sampled: for the loss, discarded, and greedy."""
    parts = (training, training.discarded, training.greedy)
    return sum(part.completions for part in parts), sum(part.tokens for part in parts)


def training_tokens(record: Record) -> int | None:
    """Returns all tokens that training sampled, or None if that is unknown or there was no training."""
    return generated(record.training)[1] if record.training else None


def invalid(evaluation: EvaluationRecord) -> str | None:
    """Returns the reason why the numbers do not count, or None if they do."""
    if evaluation.valid:
        return None
    return f"invalid: {percent(evaluation.error_share)} % of the verdicts are errors of the verifier"


def remarks(gap: Gap) -> list[str]:
    """Returns what a reader must know beside the gap, such as verifier errors or another kind of interval."""
    found = [f"interval of the gap: {gap.method}"] if gap.n_problems == 1 else []
    if gap.errors:
        counted = number(gap.errors.base_errors + gap.errors.trained_errors)
        bounds = f"{percent(gap.errors.gap_low)} and {percent(gap.errors.gap_high)}"
        found.append(f"the verifier failed on {counted} completions: the gap lies between {bounds}")
    return found


def typeset(show: Callable[..., str]) -> Callable[..., str]:
    """Adapts a formatter to the page: a hyphen becomes a minus sign, or a dash where it stands alone."""

    def typeset_text(*args: object, **options: object) -> str:
        text = show(*args, **options)
        return "–" if text == NONE else text.replace("-", "−")

    return typeset_text


# ------------------------------------------------------------------------------------------------ tables for a terminal


def table(records: Sequence[Record], dataset: str | None = None) -> Table:
    """Returns the results as a table that is at most 80 characters wide, as long as names are short.

    With a dataset, each algorithm is a row, with means over its seeds: the base first, then those with enough seeds for a
    place by ascending gap (lower is better), then the others. Invalid cells come last, each with a row of its own.
    Without a dataset, `records` must hold one trained cell; its quantities are the rows and its datasets the columns.
    Raises UsageError for no record, an unknown dataset, several cells and no dataset, or records that must not be
    mixed.
    """
    if not records:
        raise UsageError("there is no record to show.")
    if dataset is not None:
        return _grid_table(records, dataset)
    trained = [record for record in records if record.gap is not None]
    if len(trained) != 1:
        raise UsageError(f"expected one trained cell where no dataset is named, got {len(trained)}.")
    return _cell_table(trained[0], list(trained[0].gap or {}))


def report(records: Sequence[Record], files: Mapping[str, Path | str]) -> Group:
    """Returns all tables of a finished run, followed by one line for each of `files` (what it is -> its path).

    One trained cell is shown with its datasets side by side, two to a table. Several cells get a table per dataset.
    """
    trained = [record for record in records if record.gap is not None]
    parts: list[RenderableType]
    if len(trained) == 1:
        names = list(trained[0].gap or {})
        chunks = [names[i : i + DATASETS_SIDE_BY_SIDE] for i in range(0, len(names), DATASETS_SIDE_BY_SIDE)]
        parts = [_cell_table(trained[0], chunk) for chunk in chunks]
    else:
        names = list(dict.fromkeys(name for record in records for name in record.evaluations))
        parts = [_grid_table(records, name) for name in names]
    width = max((len(what) for what in files), default=0)
    lines = [Text(f"{what:<{width}}  {path}", overflow="fold", no_wrap=False) for what, path in files.items()]
    spaced = [line for part in parts for line in (part, Text(""))]
    return Group(*spaced, *lines)


def _table(title: str, caption: str) -> Table:
    """Returns an empty table without column separators, which take room that 80 characters do not have."""
    return Table(
        title=Text(title, style="bold"),
        caption=Text(caption),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _cell_table(record: Record, datasets: Sequence[str]) -> Table:
    """Rows are quantities, columns are datasets."""
    gaps = [record.gap[dataset] for dataset in datasets] if record.gap else []
    levels = ", ".join(sorted({f"{100 * gap.confidence:g} %" for gap in gaps}))
    title = f"{record.suite.name}: {cell_name(record.cell)}"
    result = _table(title, f"in %, differences in points [{levels} interval]; a lower gap is better")
    result.add_column("")
    for dataset in datasets:
        result.add_column(Text(dataset), justify="right", overflow="fold")
    ks = {gap.k for gap in gaps}
    k = str(ks.pop()) if len(ks) == 1 else "k"
    for name, show in _quantities(k):
        result.add_row(name, *(Text(show(gap)) for gap in gaps))
    for name, texts in _cover_rows(gaps):
        result.add_row(name, *texts)
    evaluations = [record.evaluations[dataset] for dataset in datasets]
    result.add_row("problems", *(number(gap.n_problems) for gap in gaps))
    if any(evaluation.chains for evaluation in evaluations):
        result.add_row("sound chains of correct", *(chains(evaluation) for evaluation in evaluations))
    if record.sound_gap:
        _add_sound(result, k, [record.sound_gap.get(dataset) for dataset in datasets])
    result.add_row("generated tokens, training", *(short(training_tokens(record)) for _ in datasets))
    result.add_row("generated tokens, evaluation", *(short(evaluation.tokens) for evaluation in evaluations))
    if any(not evaluation.valid for evaluation in evaluations):
        result.add_row("invalid", *(Text(invalid(evaluation) or "") for evaluation in evaluations))
    return result


def _add_sound(table: Table, k: str, gaps: Sequence[Gap | None]) -> None:
    """The rows of the same quantities where only an answer under a sound chain is correct."""
    table.add_section()
    table.add_row("answers under a sound chain")
    for name, show in _quantities(k):
        if name not in ("k", "crossing k", "k-equivalent", "newly solved / unsolved"):
            table.add_row(f"  {name}", *(Text(NONE if gap is None else show(gap)) for gap in gaps))
    table.add_section()


def _with_span(found: Interval | None, show: Callable[[float], str] = points) -> str:
    return NONE if found is None else f"{show(found.value)} {span(found.low, found.high, show)}"


def _quantities(k: str) -> list[tuple[str, Callable[[Gap], str]]]:
    """Returns the rows that come from the gap; `k` is the text to show."""
    rows: list[tuple[str, Callable[[Gap], str]]] = [
        ("base pass@1", lambda gap: percent(gap.base_pass_at_1)),
        ("trained pass@1", lambda gap: percent(gap.trained_pass_at_1)),
        (f"base pass@{k}", lambda gap: percent(gap.base_pass_at_k)),
        (f"trained pass@{k}", lambda gap: percent(gap.trained_pass_at_k)),
        ("sampling efficiency gap", lambda gap: f"{percent(gap.gap)} {span(gap.low, gap.high)}"),
        ("the base's own gap", lambda gap: _with_span(gap.base_gap, percent)),
        ("share of it closed", lambda gap: percent_bounds(gap.closed)),
        ("headroom realised", lambda gap: percent_bounds(gap.headroom)),
        ("gain at 1", lambda gap: _with_span(gap.gain_at_1)),
        (f"change at {k}", lambda gap: _with_span(gap.change_at_k)),
        ("crossing k", lambda gap: crossing(gap.crossing)),
        ("k-equivalent", lambda gap: k_equivalent(gap.k_equivalent)),
        ("newly solved / unsolved", solved_by_one),
        ("  beyond doubt", beyond_doubt),
    ]
    return rows if k != "k" else [("k", lambda gap: str(gap.k)), *rows]


def _cover_rows(gaps: Sequence[Gap]) -> list[tuple[str, list[str]]]:
    """Cover@tau of base and trained model."""
    first = next((gap.cover for gap in gaps if gap.cover), ())
    rows = []
    for i, at in enumerate(first):
        covers = [gap.cover[i] if gap.cover and len(gap.cover) > i else None for gap in gaps]
        texts = [f"{percent(c.base.value)} -> {percent(c.trained.value)}" if c else NONE for c in covers]
        rows.append((f"Cover@{at.tau:g}, base -> trained", texts))
    return rows


def _grid_table(records: Sequence[Record], dataset: str) -> Table:
    """Returns a table with a row per cell for one dataset. Raises UsageError for records that must not be mixed."""
    found = [record for record in records if dataset in record.evaluations]
    if not found:
        raise unknown("dataset", dataset, {name for record in records for name in record.evaluations})
    trained = [record for record in found if (record.gap or {}).get(dataset)]
    k = _refuse_mixed(found, trained, dataset)
    caption = (
        f"in %, means over seeds; a lower gap is better; sd: of the gap between seeds. Fewer than {MIN_SEEDS} seeds say too "
        "little for a place. The page compares algorithms, with intervals."
    )
    result = _table(f"{found[0].suite.name}: {dataset}", caption)
    result.add_column("algorithm", overflow="fold")
    for name in ("seeds", "pass@1", f"pass@{k}", "gap", "sd", "tokens"):
        result.add_column(name, justify="right", no_wrap=True)
    bases = [record for record in found if record.cell.algorithm == BASE]
    first = trained[0].gap[dataset] if trained and trained[0].gap else None
    if not bases and first:  # the records of the trained cells know it too
        result.add_row("base", NONE, percent(first.base_pass_at_1), percent(first.base_pass_at_k), NONE, NONE, NONE)
    for record in bases:
        result.add_row(*_base_row(record, dataset, k))
    for texts in _trained_rows(trained, dataset):
        result.add_row(*(Text(text) for text in texts))
    return result


def _refuse_mixed(found: Sequence[Record], trained: Sequence[Record], dataset: str) -> int:
    """Returns the k that all share, or the largest known one of a base alone. UsageError for records that differ."""
    keys = {key(record, dataset) for record in trained} or {key(record, dataset) for record in found}
    one = next(iter(keys))
    odd = [*keys, *(key(record, dataset) for record in found if record not in trained)]
    for other in odd:
        wrong = [name for name in difference(one, other) if not (other.k is None and name in ("k", "confidence"))]
        if wrong:
            raise UsageError(f"records of '{dataset}' must not stand in one table: they differ in {', '.join(wrong)}.")
    return one.k or max(max(record.evaluations[dataset].pass_at_k) for record in found)


def _base_row(record: Record, dataset: str, k: int) -> list[Text]:
    at = record.evaluations[dataset].pass_at_k
    return [Text(text) for text in (cell_name(record.cell), NONE, percent(at.get(1)), percent(at.get(k)), *[NONE] * 3)]


def _trained_rows(trained: Sequence[Record], dataset: str) -> list[list[str]]:
    """A row per algorithm, means over its valid cells, and one per invalid cell."""
    valid = [record for record in trained if record.evaluations[dataset].valid]
    groups: dict[str, list[Record]] = {}
    for record in valid:
        groups.setdefault(label(record.cell), []).append(record)
    gaps = {name: [record.gap[dataset] for record in records if record.gap] for name, records in groups.items()}

    def order(name: str) -> tuple[bool, float, str]:
        return len(gaps[name]) < MIN_SEEDS, statistics.fmean(gap.gap for gap in gaps[name]), name

    rows = [_algorithm_row(name, gaps[name], groups[name]) for name in sorted(groups, key=order)]
    invalid_cells = sorted((record for record in trained if record not in valid), key=lambda one: cell_name(one.cell))
    return [*rows, *([cell_name(one.cell), NONE, NONE, NONE, "invalid (errors)", NONE, NONE] for one in invalid_cells)]


def _algorithm_row(name: str, gaps: Sequence[Gap], records: Sequence[Record]) -> list[str]:
    tokens = [spent for record in records if (spent := training_tokens(record)) is not None]
    return [
        name,
        str(len(gaps)),
        percent(statistics.fmean(gap.trained_pass_at_1 for gap in gaps)),
        percent(statistics.fmean(gap.trained_pass_at_k for gap in gaps)),
        percent(statistics.fmean(gap.gap for gap in gaps)),
        percent(statistics.stdev(gap.gap for gap in gaps)) if len(gaps) > 1 else NONE,
        short(statistics.fmean(tokens)) if tokens else NONE,
    ]
