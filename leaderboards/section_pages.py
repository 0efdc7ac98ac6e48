"""The page of one section: plots that compare its algorithms, the tables behind them, and links to all pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.records.schema import BASE
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.ranks import DRAWS
from leaderboards import frames, pictures, plots, section_frames, section_plots
from leaderboards.addresses import pair_order
from leaderboards.front import VERDICT_NAMES
from leaderboards.pictures import Plot
from leaderboards.sections import Section

ABOUT = ("suite", "dataset", "verdict", "algorithm", "variant")
"""Columns that are the same in all rows of a plot's table, or that its label says."""
CURVES = "The table has the bands as well. They are drawn on the page of each algorithm."
TRAINING_ROWS = 6
"""Of a run in the table of training curves."""


@dataclass(frozen=True)
class Shown:
    """A plot, and the table that it was made from."""

    heading: str
    plot: Plot
    table: pd.DataFrame
    wide: bool = False


@dataclass(frozen=True)
class SectionPage:
    """What the template needs."""

    section: Section
    shown: Sequence[Shown]
    labels: Sequence[str]
    """Of the pairs: the algorithms by name, and then the base."""


def section_page(section: Section) -> SectionPage:
    """Draws the plots of a section whose counts are known."""
    labels = sorted(section.estimates["answer"].labels, key=pair_order)
    return SectionPage(section, [one for one in _shown(section) if one is not None], labels)


def _shown(section: Section) -> Iterator[Shown | None]:
    colours, level = section.colours, f"{100 * (section.key.confidence or 0.95):g} %"
    many = f"at k = {section.k}. Means over seeds, whose number is in brackets, with intervals that hold at {level} for"
    for verdict, name in VERDICT_NAMES.items():
        table = _of(section_frames.forest([section]), verdict)
        caption = f"The gap {many} all algorithms at once. Lower is better. The dashed line is the base's own gap."
        draw = partial(section_plots.forest, table, colours)
        yield _plot(section, f"Gap, by the {name}", f"forest-{verdict}", table, caption, draw)
    yield _curves(section)
    table = _of(section_frames.pareto([section]))
    caption = "Down and left is better. No algorithm is better in both than one on the line, which is the Pareto front."
    draw = partial(section_plots.pareto, table, colours)
    yield _plot(section, "Gap and cost", "pareto", table, caption, draw)
    table = _of(section_frames.coverage([section]))
    caption = (
        f"Expected shares of the problems that both, one or none of base and trained policy solve within {section.k} "
        "samples. Chance alone moves problems between the two in the middle."
    )
    yield _plot(section, "Coverage", "coverage", table, caption, partial(section_plots.coverage, table))
    table = _of(section_frames.histogram([section]))
    caption = "Problems by their pass@1: bars after training, as a mean over seeds, and the line before it."
    draw = partial(section_plots.histograms, table, colours)
    yield _plot(section, "Accuracy before and after", "histogram", table, caption, draw, wide=True)
    table = _of(section_frames.ranks([section]))
    caption = (
        f"How often each algorithm has each place in {DRAWS:,} draws of problems and of the noise of training. The "
        "places in the tables hold for all algorithms at once, and are wider."
    )
    yield _plot(section, "Places", "ranks", table, caption, partial(section_plots.ranks, table))
    yield _training(section)


def _plot(
    section: Section,
    heading: str,
    name: str,
    table: pd.DataFrame,
    caption: str,
    draw: Callable[[], Figure],
    wide: bool = False,
) -> Shown | None:
    """None where there is no algorithm to show."""
    if table[table["label"] != BASE].empty:
        return None
    title = f"{heading}, {section.key.dataset}. The table below has its data."
    plot = Plot(draw, caption, f"s{section.number}-{name}", title)
    return Shown(heading, plot, table.drop(columns=[*ABOUT]), wide)


def _curves(section: Section) -> Shown | None:
    """The picture that the page of details has as well."""
    found = pictures.curves(section)
    table = _of(frames.curves([section])).drop(columns=[*ABOUT])
    return Shown("pass@k", replace(found[0], caption=CURVES), table) if found else None


def _training(section: Section) -> Shown | None:
    """The picture of the page of details; in the first section of the same runs alone."""
    found = pictures.training(section)
    if not found:
        return None
    means = [
        plots.thinned(run.log[["step", *plots.TRAINING_AXES]], TRAINING_ROWS).assign(label=run.name)
        for run in pictures.logs(section)
    ]
    table = pd.concat(means, ignore_index=True)[["label", "step", *plots.TRAINING_AXES]]
    caption = f"{found[0].caption} The table has means over {TRAINING_ROWS} windows of steps."
    return Shown("Training", replace(found[0], caption=caption), table, wide=True)


def _of(table: pd.DataFrame, verdict: JudgedBy = "answer") -> pd.DataFrame:
    return table[table["verdict"] == verdict].reset_index(drop=True)
