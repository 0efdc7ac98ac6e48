"""Draws the pictures of a section of the page."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from benchmarks.errors import Failure
from benchmarks.files import write_text_atomic
from leaderboards import frames, plots, summary
from leaderboards.load import Broken, Entry, plain
from leaderboards.sections import Section, known
from leaderboards.style import standalone, to_svg


@dataclass(frozen=True)
class Plot:
    """A picture with its caption."""

    svg: Markup
    caption: str
    name: str
    """Unique on the page: letters, digits and hyphens."""
    title: str
    """What a screen reader says of it."""


def curves(section: Section) -> list[Plot]:
    """pass@k of the base and of every algorithm with known counts."""
    several = any(len(known(rows)) > 1 for rows in section.groups.values())
    figures = plots.curve_figures(frames.lines(section), "problems and seeds" if several else "problems")
    return [plot(figure, f"s{section.number}-curve-{i}", caption) for i, (figure, caption) in enumerate(figures)]


def training(section: Section) -> list[Plot]:
    """The training curves of all runs that have a log; in the first section of the same runs alone."""
    found = logs(section) if section.first == section.number else []
    if not found:
        return []
    figure = plots.training(found)
    longest = max(len(one.log) for one in found)
    windows = f" Beyond {plots.POINTS} steps, a point is the mean of a few." if longest > plots.POINTS else ""
    caption = f"A line is a run, which is one seed of an algorithm.{windows}"
    return [plot(figure, f"s{section.number}-training", caption)]


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
            figures.append(plot(plots.cost(points, unit, base_at_1), f"s{section.number}-cost-{i}", caption))
    return figures


def plot(figure: Figure, name: str, caption: str) -> Plot:
    """Turns a figure into a picture of the page. `name`: letters, digits and hyphens, unique on the site."""
    axes = figure.axes[0]
    title = f"{axes.get_ylabel()} over {axes.get_xlabel()} {axes.get_title()}".strip()
    return Plot(Markup(to_svg(figure, name, title)), caption, name, title)


def inline(shown: Plot) -> Markup:
    """The picture as a part of the page itself."""
    return shown.svg


def beside(folder: Path, shown: Plot, up: str = "") -> Markup:
    """Writes the picture to `folder`/pictures and returns an element that loads it when a reader comes near.

    `up` leads from the page to the folder: "" or "../".
    """
    write_text_atomic(folder / "pictures" / f"{shown.name}.svg", standalone(shown.svg), durable=False)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', shown.svg)
    assert size is not None, "matplotlib writes the size"
    width, height = (round(float(one) * 4 / 3) for one in size.groups())
    return Markup('<img src="{}pictures/{}.svg" alt="{}" width="{}" height="{}" loading="lazy">').format(
        up, shown.name, shown.title, width, height
    )
