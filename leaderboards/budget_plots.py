"""Draws what algorithms are compared by at equal generated tokens: the gap along each training."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from leaderboards.style import INK, legend, look, mark, new_figure, styled


def means(points: pd.DataFrame) -> pd.DataFrame:
    """The mean over seeds of tokens and gap, for each algorithm and step that was evaluated with all of its seeds.

    `points`: rows of `frames.points` of one section and verdict. The columns are label, step, tokens and gap.
    """
    seeds = points.groupby("label")["seed"].nunique()
    found = points.groupby(["label", "step"], sort=True).agg(
        tokens=("tokens", "mean"), gap=("gap", "mean"), seeds=("seed", "nunique")
    )
    found = found.reset_index()
    return found[found["seeds"] == found["label"].map(seeds)].drop(columns="seeds").reset_index(drop=True)


def gap_by_tokens(points: pd.DataFrame, colours: Mapping[str, int], target: int) -> Figure:
    """Plots the mean gap in points over the tokens that training had generated; a mark is an evaluation.

    The upright line is at the target, at which the algorithms are compared. `points` as in `means`.
    """
    with styled():
        table = means(points)
        figure, axes, columns = new_figure(sorted(table["label"].unique()))
        lines = {}
        for label, part in table.groupby("label"):
            style = {"color": look(colours[label])["color"], "marker": mark(colours[label])}
            lines[label] = axes.plot(part["tokens"], 100 * part["gap"], linewidth=1.5, markersize=5, **style)[0]
        axes.axvline(target, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.set(xlabel="tokens generated in training", ylabel="gap (points)")
        sns.despine(ax=axes)
        legend(figure, lines, columns)
    return figure
