"""The front page's tables: a view for each section and verdict, with a row for each algorithm.

Numbers are means over seeds. The intervals of a column hold at once: each has the level 1 - alpha / M for M algorithms
(Bonferroni). Groups are those of `comparison.py`, which hold at once as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.statistics.comparison import BaseStanding, Comparison, Standing
from benchmarks.statistics.crossing import roots
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.gap import Ratio
from benchmarks.statistics.intervals import Estimate
from leaderboards import frames, plots, summary
from leaderboards.addresses import list_file, section_file, slug
from leaderboards.pictures import Plot
from leaderboards.sections import Section

OTHER: dict[JudgedBy, JudgedBy] = {"answer": "sound", "sound": "answer"}
VERDICT_NAMES: dict[JudgedBy, str] = {"answer": "answer", "sound": "answer with a sound chain"}
EQUAL_STEPS, EQUAL_TOKENS = "equal steps", "equal generated tokens"
"""The budgets that algorithms are compared at. `budgets.py` has the second."""
show_points = summary.typeset(summary.points)
show_bounds = summary.typeset(summary.bounds)


@dataclass(frozen=True)
class Cell:
    """A cell of the table."""

    text: str
    interval: str = ""
    value: float | None = None
    """What the column is sorted by; None comes last."""


@dataclass(frozen=True)
class Row:
    """An algorithm, or the base."""

    label: str
    cells: tuple[Cell, ...]
    colour: int | None
    """None is the base."""
    page: str | None
    """The address of the algorithm's own page, from the front page."""
    note: str = ""


@dataclass(frozen=True)
class View:
    """One table with its picture: a section by one verdict."""

    id: str
    choices: dict[str, str]
    """What a reader chooses it by: dataset, budget, verdict, and more where several are there."""
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    picture: Plot | None
    k: int
    n_problems: int
    level: float
    """The level of the intervals, for a whole column at once."""
    remarks: tuple[str, ...]
    section: int
    verdict: JudgedBy
    more: str
    """The address of its page of plots and pairs, and in `problems` that of its problems, from the front page."""
    problems: str
    notes: tuple[str, ...] = ()
    """What stands below the table."""
    left_out: tuple[str, ...] = ()
    """The runs that cannot be compared at equal generated tokens, with the reason."""

    @property
    def name(self) -> str:
        """What heads the table."""
        budget = "" if self.choices["budget"] == EQUAL_STEPS else f", at {self.choices['budget']}"
        return f"{self.choices['dataset']}, by {self.choices['verdict']}{budget}"


def views(sections: Sequence[Section]) -> list[View]:
    """The tables at equal steps, in the order of the sections."""
    return [_view(section, verdict) for section in sections for verdict in section.comparisons]


def _view(section: Section, verdict: JudgedBy) -> View:
    comparison, crossed = section.comparisons[verdict], section.comparisons.get(OTHER[verdict])
    first = section.rows[0].entry.record
    gaps = {one.name: one.from_base.gap for one in crossed.joint if one.from_base} if crossed else {}
    rows = [row(section, one, gaps) for one in comparison.joint]
    if comparison.joint_base:
        rows.insert(0, base_row(comparison.joint_base, crossed.joint_base if crossed else None))
    more = f" (section {section.number})" if section.apart else ""
    return View(
        id=f"view-{section.number}-{verdict}",
        choices={
            "suite": first.suite.name,
            "base model": first.cell.base_model,
            "dataset": f"{section.key.dataset}{more}",
            "budget": EQUAL_STEPS,
            "verdict": VERDICT_NAMES[verdict],
        },
        columns=_columns(section.k, verdict),
        rows=tuple(rows),
        picture=_picture(section, verdict, comparison),
        k=section.k,
        n_problems=section.rows[0].evaluation.n_problems,
        level=section.key.confidence or 0.95,
        remarks=(*section.apart, *refusals(comparison)),
        section=section.number,
        verdict=verdict,
        more=section_file(section),
        problems=list_file(section),
    )


def _columns(k: int, verdict: JudgedBy) -> tuple[str, ...]:
    other = "sound gap" if verdict == "answer" else "answer gap"
    return (
        "algorithm",
        "gap",
        "group",
        "pass@1",
        f"pass@{k}",
        "gap closed",
        other,
        f"change at {k}",
        "tokens",
        "seeds",
    )


def refusals(comparison: Comparison) -> tuple[str, ...]:
    """Returns a sentence that says why nobody has a place, where that is so."""
    if comparison.base and comparison.base.refused:
        return ("Nobody is ranked here, because next to nothing is within the base's reach.",)
    return () if comparison.placed else ("Nobody is ranked yet, because no algorithm has enough seeds.",)


def row(section: Section, one: Standing, other: dict[str, Estimate]) -> Row:
    """The row of an algorithm. `other`: gaps by the other verdict."""
    since, group = one.from_base, one.place.group if one.place else ""
    cells = (
        _share(since.gap if since else None),
        Cell(group or "–", value=float(min(map(ord, group))) if group else None),
        _share(one.pass_at_1),
        _share(one.pass_at_k),
        _ratio(since.closed if since else None),
        _share(other.get(one.name)),
        _shift(since.change_at_k if since else None),
        _tokens(section, one.name),
        Cell(str(one.n_seeds), value=float(one.n_seeds)),
    )
    note = "" if group else "not ranked"
    return Row(one.name, cells, section.colours[one.name], f"algorithms/{slug(one.name)}.html", note)


def base_row(base: BaseStanding, other: BaseStanding | None) -> Row:
    """The row of the base. `other`: the base by the other verdict, where that is known."""
    none = Cell("–")
    cells = (
        *(_share(base.own_gap), none, _share(base.pass_at_1), _share(base.pass_at_k), none),
        *(_share(other.own_gap if other else None), none, none, none),
    )
    return Row("base", cells, None, None)


def _share(found: Estimate | None) -> Cell:
    if found is None:
        return Cell("–")
    return Cell(summary.percent(found.value), summary.span(found.low, found.high), found.value)


def _ratio(found: Ratio | Estimate | None) -> Cell:
    if found is None or found.value is None:
        return Cell("–")
    interval = show_bounds(found.low, found.high, summary.percent)
    return Cell(f"{summary.percent(found.value)} %".replace("-", "−"), interval, found.value)


def _shift(found: Estimate | None) -> Cell:
    if found is None:
        return Cell("–")
    interval = summary.span(found.low, found.high, show_points)
    return Cell(show_points(found.value), interval, found.value)


def _tokens(section: Section, label: str) -> Cell:
    """What training sampled, as a mean over seeds."""
    found = [summary.training_tokens(row.entry.record) for row in section.groups[label]]
    counted = [tokens for tokens in found if tokens is not None]
    if not counted:
        return Cell("–")
    return Cell(summary.short(float(np.mean(counted))), value=float(np.mean(counted)))


def _meetings(base: plots.Line, best: plots.Line) -> list[float]:
    """Every k at which the mean curves cross, linear in log k."""
    ks = [k for k in base.ks if k in best.ks]
    base_K, best_K = ([line.mean[list(line.ks).index(k)] for k in ks] for line in (base, best))
    return [k for k, _ in roots(ks, np.subtract(best_K, base_K))]


def _picture(section: Section, verdict: JudgedBy, comparison: Comparison) -> Plot | None:
    """The curves of the base and of the best algorithm, and where they cross."""
    lines = {line.name if line.colour is not None else None: line for line in frames.lines(section, verdict)}
    best = lines.get(comparison.standings[0].name)
    base = lines.get(None)
    if best is None:
        return None
    shown = [line for line in (base, best) if line is not None]
    places = _meetings(base, best) if base else []
    names = f"{'the base and of ' if base else ''}{best.name}"
    caption = f"pass@k of {names}, the first algorithm of the table, with pointwise bands."
    if places:
        caption += f" Their means cross at k ≈ {' and '.join(summary.number(round(k, 1)) for k in places)}."
    return Plot(partial(plots.curves, shown, marks=places), caption, f"front-{section.number}-{verdict}")
