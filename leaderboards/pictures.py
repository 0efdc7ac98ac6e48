"""Draws the pictures of a section of the page."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from benchmarks.errors import Failure
from leaderboards import frames, plots, summary
from leaderboards.addresses import slug
from leaderboards.load import Broken, Entry, plain
from leaderboards.sections import Section, known
from leaderboards.style import save, to_svg


@dataclass(frozen=True, eq=False)
class Plot:
    """A picture with its caption. It is drawn when its SVG or title is first asked for."""

    draw: Callable[[], Figure]
    """Can be sent to another process."""
    caption: str
    name: str
    """Letters, digits and hyphens. Two pictures of a site never share one."""
    description: str = ""
    """What a screen reader says of it, if not the names of its axes."""

    @functools.cached_property
    def _drawn(self) -> tuple[str, str]:
        figure = self.draw()
        axes = figure.axes[0]
        title = self.description or f"{axes.get_ylabel()} over {axes.get_xlabel()} {axes.get_title()}".strip()
        return to_svg(figure, self.name, title), title

    @property
    def svg(self) -> Markup:
        """An `<svg>` element."""
        return Markup(self._drawn[0])

    @property
    def title(self) -> str:
        """What a screen reader says of it."""
        return self._drawn[1]


def curves(section: Section) -> list[Plot]:
    """pass@k of the base and of every algorithm with known counts.

    A few algorithms share one plot; with more of them, each also gets its own.
    """
    lines = frames.lines(section)
    several = any(len(known(rows)) > 1 for rows in section.groups.values())
    caption = f"Bands: pointwise 95 % intervals over {'problems and seeds' if several else 'problems'}."
    named = [line.name for line in lines if line.colour is not None]
    if len(named) <= plots.LINES_IN_ONE_PLOT:
        return [Plot(partial(plots.curves, lines), caption, f"s{section.number}-curves")] if lines else []
    overview = partial(plots.curves, lines, "all", bands=False, top=plots.top_of(lines))
    all_of_them = "All algorithms; their bands are in the plots that follow."
    return [Plot(overview, all_of_them, f"s{section.number}-curves"), *(own_curve(section, name) for name in named)]


def own_curve(section: Section, label: str) -> Plot:
    """pass@k of one algorithm of the section and of the base, on the axes that all of them share."""
    lines = frames.lines(section)
    shown = [line for line in lines if line.colour is None or line.name == label]
    caption = "Bands: pointwise 95 % intervals over problems, and over seeds where there are several."
    draw = partial(plots.curves, shown, label, top=plots.top_of(lines))
    return Plot(draw, caption, f"s{section.number}-curve-{picture_name(label)}")


def picture_name(label: str) -> str:
    """Returns a part of a picture's name, of letters, digits and hyphens, that no other label has."""
    return slug(label).replace("_", "--")


def training(section: Section) -> list[Plot]:
    """The training curves of all runs that have a log; in the first section of the same runs alone."""
    found = logs(section) if section.first == section.number else []
    if not found:
        return []
    longest = max(len(one.log) for one in found)
    windows = f" Beyond {plots.POINTS} steps, a point is the mean of a few." if longest > plots.POINTS else ""
    caption = f"A line is a run, which is one seed of an algorithm.{windows}"
    return [Plot(partial(plots.training, found), caption, f"s{section.number}-training")]


def logs(section: Section) -> list[plots.Training]:
    """The training logs of the section's runs. Those that are damaged are left out (`damaged_logs`)."""
    found = []
    for row in (row for row in section.rows if row.status != "base"):
        with contextlib.suppress(Failure):
            if (log := frames.training_log(row.entry)) is not None:
                found.append(plots.Training(row.label, log, section.colours[row.label]))
    return found


def damaged_logs(entries: Sequence[Entry]) -> list[Broken]:
    """The training logs that cannot be read. No number of a page comes from them, and the runs count all the same."""
    broken = []
    for entry in entries:
        try:
            frames.training_log(entry)
        except Failure as error:
            broken.append(Broken(entry.where, plain(error, entry.path.parent)))
    return broken


def costs(section: Section) -> list[Plot]:
    """pass@1 against everything that training generated, in completions and in tokens."""
    base = section.base
    figures = []
    for i, unit in enumerate(("completions", "tokens")):
        points = [
            plots.Point(
                label,
                summary.generated(row.entry.record.training)[i],
                row.gap.trained_pass_at_1,
                section.colours[label],
            )
            for label, rows in section.groups.items()
            for row in rows
            if row.entry.record.training and row.gap
        ]
        if points:
            base_at_1 = base.evaluation.pass_at_k.get(1) if base else None
            caption = f"A point is a cell. {unit.capitalize()} include discarded and greedy ones."
            draw = partial(plots.cost, points, unit, base_at_1)
            figures.append(Plot(draw, caption, f"s{section.number}-cost-{i}"))
    return figures


def inline(shown: Plot) -> Markup:
    """The picture as a part of the page itself."""
    return shown.svg


def save_print(folder: Path, shown: Plot) -> None:
    """Writes the picture to `folder`/pictures as PDF and PNG, black on white. Failure if that is not possible."""
    figure = shown.draw()
    for kind in ("pdf", "png"):
        save(figure, folder / "pictures" / f"{shown.name}.{kind}")
