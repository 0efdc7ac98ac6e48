"""Draws what compares the algorithms of a section with each other: gaps, costs, coverage, accuracies and places.

Every function takes a tidy table of `section_frames.py`, which users get as well, of one section and verdict, and the
numbers of the algorithms' colours (`style.colours_of`). Fractions go in and percent is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from benchmarks.records.schema import BASE
from leaderboards.style import INK, Picture, brief, look, mark, place, styled

COVERAGE = {"both": "#029e73", "trained_only": "#2f8fc9", "base_only": "#d55e00", "neither": "#878787"}
"""Who solves a problem -> the colour of its share."""
ACROSS = 5
"""Histograms in one row."""
WIDTH = 5.4


def forest(table: pd.DataFrame, colours: Mapping[str, int]) -> Figure:
    """The gap of each algorithm with its interval, the smallest on top; dashed is the base's own gap."""
    base, trained = table[table["label"] == BASE], table[table["label"] != BASE]
    with styled():
        figure, axes = _axes(1.2 + 0.27 * max(2, len(trained)))
        for place, row in enumerate(trained.itertuples()):
            colour = look(colours[row.label])["color"]
            axes.plot([100 * row.gap_low, 100 * row.gap_high], [place, place], linewidth=2, color=colour)
            axes.plot(100 * row.gap, place, marker=mark(colours[row.label]), markersize=7, color=colour)
        for row in base.itertuples():
            axes.axvline(100 * row.gap, **look(None))
            axes.axvspan(100 * row.gap_low, 100 * row.gap_high, color=INK, alpha=0.08, linewidth=0)
        _names(axes, [f"{row.label} ({row.seeds})" for row in trained.itertuples()])
        axes.set(xlabel="gap (points)", ylabel="")
    return figure


def pareto(table: pd.DataFrame, colours: Mapping[str, int]) -> Figure:
    """The gap over the tokens that training generated; the line joins the algorithms on the front, which have names."""
    best = table[table["on_front"]]
    with styled():
        figure, axes = _axes(3.8)
        axes.step(best["training_tokens"], 100 * best["gap"], where="post", color=INK, linewidth=1, alpha=0.6)
        for row in table.itertuples():
            style = {"color": look(colours[row.label])["color"], "marker": mark(colours[row.label])}
            axes.plot(row.training_tokens, 100 * row.gap, linestyle="none", markersize=8, label=row.label, **style)
        axes.margins(x=0.12, y=0.12)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.set(xlabel="tokens generated in training", ylabel="gap (points)")
        sns.despine(ax=axes)
        _legend(figure, axes, 3)
    return figure


def coverage(table: pd.DataFrame) -> Figure:
    """Which shares of the problems both, one or none of base and trained policy solve."""
    with styled():
        figure, axes = _axes(1.5 + 0.27 * len(table))
        left = np.zeros(len(table))
        for name, colour in COVERAGE.items():
            width = 100 * table[name].to_numpy(dtype=float)
            bar: dict[str, Any] = {"color": colour, "height": 0.72, "linewidth": 0, "label": name.replace("_", " ")}
            axes.barh(range(len(table)), width, left=left, **bar)
            left += width
        _names(axes, table["label"].tolist())
        axes.set(xlabel="problems (%)", ylabel="", xlim=(0, 100))
        _legend(figure, axes, 4)
    return figure


def histograms(table: pd.DataFrame, colours: Mapping[str, int]) -> Figure:
    """How many problems have which pass@1: the base as a line, and each algorithm as bars in a panel of its own."""
    found = {label: part for label, part in table.groupby("label", sort=False)}
    base = found.pop(BASE, None)
    down = -(-len(found) // ACROSS)
    across = min(ACROSS, len(found))
    with styled():
        figure = Picture(figsize=(1.9 * across + 0.5, 1.5 * down + 0.5))
        place(figure, (down, across), left=0.72, right=0.18, bottom=0.57, top=0.25, across=0.3, down=0.54)
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flatten()
        for axes, (label, part) in zip(panels, found.items(), strict=False):
            edges = 100 * np.append(part["low"], part["high"].iloc[-1])
            axes.stairs(part["problems"], edges, fill=True, color=look(colours[label])["color"], alpha=0.85)
            if base is not None:
                axes.stairs(base["problems"], edges, color=INK, linewidth=1.2)
            axes.set_title(brief(str(label), 22), fontsize="small")
            axes.set_xlim(0, 100)
            axes.xaxis.set_tick_params(labelbottom=True)
            sns.despine(ax=axes)
        for axes in panels[len(found) :]:
            axes.set_axis_off()
        figure.supxlabel("pass@1 of a problem (%)", fontsize="medium")
        figure.supylabel("problems", fontsize="medium")
    return figure


def ranks(table: pd.DataFrame) -> Figure:
    """How often each algorithm has each place: rows are algorithms, and columns are places."""
    shares = table.pivot(index="label", columns="place", values="share").loc[table["label"].unique()]
    with styled():
        size = 1.2 + 0.3 * len(shares)
        figure = Picture(figsize=(max(4.2, size + 1.2), size), layout="constrained")
        axes = figure.add_subplot()
        shown = (100 * shares).map(lambda share: f"{share:.0f}" if share >= 0.5 else "")
        names = [brief(label, 26) for label in shares.index]
        sns.heatmap(
            100 * shares, ax=axes, cmap="Blues", vmin=0, vmax=100, cbar=False, annot=shown, fmt="",
            annot_kws={"fontsize": 8}, yticklabels=names,
        )  # fmt: skip
        for text in axes.texts:
            text.set_in_layout(False)  # they lie inside of the axes: measuring a thousand of them takes long
        axes.set(xlabel="place by mean pass@1 (% of draws)", ylabel="")
        axes.tick_params(length=0)
        axes.tick_params(axis="y", rotation=0)
    return figure


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Picture(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _names(axes: Axes, labels: Sequence[str]) -> None:
    """Algorithms from the top down."""
    axes.set_yticks(range(len(labels)), [brief(label, 30) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    sns.despine(ax=axes, left=True)


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    options: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": "small"}
    figure.legend(handles, [brief(label, 26) for label in labels], columnspacing=1.2, **options)
