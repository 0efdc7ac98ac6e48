"""The front page's tables by what training may spend: at equal steps (`front.py`), and at equal generated tokens.

At equal tokens (`equal_cost.py`), a run that generated more than the cheapest one is read between two of its own
evaluations. Where no run is, the second table would only repeat a part of the first: it is left out, and the first says
why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.statistics.designs import VERDICTS, JudgedBy
from leaderboards import budget_plots, equal_cost, frames, front, summary
from leaderboards.equal_cost import EqualTokens, ReadAtTarget, Reading
from leaderboards.front import Cell, Row, View
from leaderboards.pictures import Plot
from leaderboards.sections import CellRow, Section


def views(sections: Sequence[Section]) -> list[View]:
    """All tables of the front page, in the order of the sections; those at equal tokens after those at equal steps."""
    at_steps = front.views(sections)
    return [
        one for section in sections for one in _views(section, [v for v in at_steps if v.section == section.number])
    ]


def _views(section: Section, at_steps: Sequence[View]) -> list[View]:
    """The section's tables at equal steps, and those at equal tokens or why there are none."""
    found = {verdict: equal_cost.read_at_target(section, verdict) for verdict in VERDICTS}
    reads = {verdict: read for verdict, read in found.items() if read is not None}
    if any(one.is_interpolated for read in reads.values() for one in read.readings):
        return [*at_steps, *_at_tokens(section, at_steps)]
    return [_without(view, reads[view.verdict]) if view.verdict in reads else view for view in at_steps]


def _without(at_steps: View, read: ReadAtTarget) -> View:
    """The table at equal steps, which says why there is none at equal tokens if not all generated as many."""
    if not read.left_out:
        return at_steps
    why = (
        f"There is no table at equal generated tokens. The cheapest run generated {read.target:,} tokens, and none "
        "that generated more has an evaluated checkpoint that can be used."
    )
    return replace(at_steps, notes=(why,), left_out=_left_out(read))


def _at_tokens(section: Section, at_steps: Sequence[View]) -> list[View]:
    """The tables at equal tokens, which differ from those at equal steps in what stands in their rows."""
    every = {verdict: equal_cost.equal_tokens(section, verdict) for verdict in VERDICTS}
    found = {verdict: one for verdict, one in every.items() if one is not None}
    return [_view(section, view, found) for view in at_steps if view.verdict in found]


def _view(section: Section, at_steps: View, found: Mapping[JudgedBy, EqualTokens]) -> View:
    here, other = found[at_steps.verdict], found.get(front.OTHER[at_steps.verdict])
    gaps = {one.name: one.from_base.gap for one in other.comparison.joint if one.from_base} if other else {}
    rows = [_row(front.row(section, one, gaps), section, here) for one in here.comparison.joint]
    if here.comparison.joint_base:
        rows.insert(0, front.base_row(here.comparison.joint_base, other.comparison.joint_base if other else None))
    return replace(
        at_steps,
        id=f"{at_steps.id}-tokens",
        choices={**at_steps.choices, "budget": front.EQUAL_TOKENS},
        rows=tuple(rows),
        picture=_picture(section, at_steps.verdict, here),
        remarks=(*section.apart, *front.refusals(here.comparison)),
        notes=_notes(here),
        left_out=_left_out(here),
    )


def _picture(section: Section, verdict: JudgedBy, found: EqualTokens) -> Plot | None:
    """The gap along the trainings that are compared, up to and beyond the target."""
    compared = {summary.cell_name(one.row.entry.record.cell) for one in found.readings}
    points = frames.points([section])
    points = points[(points["verdict"] == verdict) & points["cell"].isin(compared) & points["gap"].notna()]
    if points.empty:
        return None  # there is no base to measure a gap from
    caption = (
        "The gap of the runs that are compared over the tokens that training had generated, as means over seeds. A "
        f"mark is an evaluation, and the upright line is at {found.target:,} tokens, where the algorithms are compared."
    )
    draw = partial(budget_plots.gap_by_tokens, points, section.colours, found.target)
    return Plot(draw, caption, f"front-{section.number}-{verdict}-tokens")


def _row(row: Row, section: Section, found: EqualTokens) -> Row:
    """The row of an algorithm, with the tokens that it is read at and how, and its seeds that could be read."""
    read = [one for one in found.readings if one.row.label == row.label]
    *kept, _, _ = row.cells
    tokens = float(np.mean([found.target if one.is_interpolated else one.tokens for one in read]))
    seeds = Cell(f"{len(read)} of {len(section.groups[row.label])}", value=float(len(read)))
    return replace(row, cells=(*kept, Cell(summary.short(tokens), _how(read), tokens), seeds))


def _how(read: Sequence[Reading]) -> str:
    """Such as `2 of 3 seeds interpolated`."""
    interpolated = sum(one.is_interpolated for one in read)
    if not interpolated:
        return "not interpolated"
    return "interpolated" if interpolated == len(read) else f"{interpolated} of {len(read)} seeds interpolated"


def _notes(found: EqualTokens) -> tuple[str, ...]:
    """The target, and what was interpolated."""
    interpolated = sorted({one.row.label for one in found.readings if one.is_interpolated})
    target = (
        f"Every algorithm is compared after {found.target:,} generated tokens, which is what the cheapest run "
        f"generated. A run that generated up to {100 * equal_cost.WITHIN:g} % more stands as it is."
    )
    if not interpolated:
        return (target,)
    return (
        target,
        f"Read between two evaluations, linearly in tokens: {', '.join(interpolated)}. Learning curves mostly bend "
        "downwards, so pass@1 of such a row is more likely too low than too high, and its gap too high than too low.",
    )


def _left_out(read: ReadAtTarget) -> tuple[str, ...]:
    """The runs that are left out, and the checkpoints that were not used, with the reason."""
    return tuple(f"{_run(row)}: {why}." for row, why in (*read.left_out, *read.unused))


def _run(row: CellRow) -> str:
    seed = row.entry.record.cell.seed
    return row.label if seed is None else f"{row.label}, seed {seed}"
