"""Draws the pictures of a section of the page."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from leaderboards import frames, plots, summary
from leaderboards.sections import Section, known
from leaderboards.style import to_svg


@dataclass(frozen=True)
class Plot:
    """A picture with its caption."""

    svg: Markup
    caption: str


def curves(section: Section) -> list[Plot]:
    """pass@k of the base and of every algorithm with known counts."""
    base_counts = known([section.base] if section.base else [])
    known = {label: known(rows) for label, rows in section.groups.items()}
    figures = plots.curve_figures(base_counts, known, section.colours)
    return [_plot(figure, f"s{section.number}-curve-{i}", caption) for i, (figure, caption) in enumerate(figures)]


def training(section: Section) -> list[Plot]:
    """The training curves of all runs that have a log; in the first section of the same runs alone."""
    if section.first != section.number:
        return []
    rows = [row for row in section.rows if row.status != "base"]
    logs = [(row, log) for row in rows if (log := frames.training_log(row.entry)) is not None]
    if not logs:
        return []
    figure = plots.training([plots.Training(row.label, log, section.colours[row.label]) for row, log in logs])
    longest = max(len(log) for _, log in logs)
    windows = f" A curve of more than {plots.POINTS} steps shows means over windows." if longest > plots.POINTS else ""
    caption = f"A line is a run: one seed of an algorithm. Each step samples anew, so lines are noisy.{windows}"
    return [_plot(figure, f"s{section.number}-training", caption)]


def costs(section: Section) -> list[Plot]:
    """pass@1 against everything that training generated, in completions and in tokens."""
    base = section.base
    figures = []
    for i, unit in enumerate(("completions", "tokens")):
        points = [
            plots.Point(
                label, summary.generated(row.entry.record.training)[i], row.gap.trained_pass_at_1, section.colours[label]
            )
            for label, rows in section.groups.items()
            for row in rows
            if row.entry.record.training and row.gap
        ]
        if points:
            base_at_1 = base.evaluation.pass_at_k.get(1) if base else None
            caption = f"A point is a cell. {unit.capitalize()} include discarded and greedy ones."
            figures.append(_plot(plots.cost(points, unit, base_at_1), f"s{section.number}-cost-{i}", caption))
    return figures


def _plot(figure: Figure, name: str, caption: str) -> Plot:
    axes = figure.axes[0]
    title = f"{axes.get_ylabel()} over {axes.get_xlabel()} {axes.get_title()}".strip()
    return Plot(Markup(to_svg(figure, name, title)), caption)
