"""Makes the tables that a terminal shows of a finished run: one cell in detail, or algorithms as means over seeds.

The words come from `summary.py`. The page that `build.py` makes has intervals over seeds, and places; a table here only
repeats what the records hold. Text from a record is shown as it is, even if it looks like markup.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.errors import UsageError, unknown
from benchmarks.records.schema import BASE, Record
from benchmarks.statistics.comparison import MIN_SEEDS
from benchmarks.statistics.gap import Gap, Interval
from leaderboards.summary import (
    NONE,
    beyond_doubt,
    by_chance,
    cell_name,
    chains,
    crossing,
    difference,
    invalid,
    k_equivalent,
    key,
    label,
    number,
    percent,
    percent_bounds,
    points,
    short,
    solved_by_one,
    span,
    token_passes,
    training_tokens,
)

DATASETS_SIDE_BY_SIDE = 2
"""A table with more datasets than this does not fit into 80 characters."""


def table(records: Sequence[Record], dataset: str | None = None) -> Table:
    """Returns the results as a table that is at most 80 characters wide, as long as names are short.

    With a dataset, each algorithm is a row, with means over its seeds: the base first, then those with enough seeds
    for a place by ascending gap (lower is better), then the others. Invalid cells come last, one by one.
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
    trained = [record for record in records if record.gap and not record.diverged]
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


def plain_table(title: str, caption: str) -> Table:
    """Returns an empty table without column separators, which take room that 80 characters do not have."""
    return Table(
        title=Text(title, style="bold") if title else None,
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
    result = plain_table(title, f"in %, differences in points [{levels} interval]; a lower gap is better")
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
    result.add_row("training tokens", *(short(training_tokens(record)) for _ in datasets))
    result.add_row("passes forward / back", *(token_passes(record) for _ in datasets))
    result.add_row("evaluation tokens", *(short(evaluation.tokens) for evaluation in evaluations))
    if any(not evaluation.valid for evaluation in evaluations):
        result.add_row("invalid", *(Text(invalid(evaluation) or "") for evaluation in evaluations))
    return result


def _add_sound(table: Table, k: str, gaps: Sequence[Gap | None]) -> None:
    """The rows of the same quantities where only an answer under a sound chain is correct."""
    table.add_section()
    table.add_row("answers under a sound chain")
    for name, show in _quantities(k):
        if name not in ("k", "crossing k", "k-equivalent", "newly solved / unsolved", "  by chance"):
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
        ("  by chance", by_chance),
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
        rows.append((f"Cover@{at.tau:g}", texts))
    return rows


def _grid_table(records: Sequence[Record], dataset: str) -> Table:
    """Returns a table with a row per cell for one dataset. Raises UsageError for records that must not be mixed."""
    found = [record for record in records if dataset in record.evaluations]
    if not found:
        raise unknown("dataset", dataset, {name for record in records for name in record.evaluations})
    trained = [record for record in found if (record.gap or {}).get(dataset)]
    k = _refuse_mixed(found, trained, dataset)
    caption = (
        "in %, means over seeds; a lower gap is better; sd: of the gap between seeds. "
        f"Fewer than {MIN_SEEDS} seeds say too little for a place. The page compares algorithms, with intervals."
    )
    result = plain_table(f"{found[0].suite.name}: {dataset}", caption)
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
