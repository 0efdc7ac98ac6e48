"""Draws the figures of the page with seaborn: pass@k curves, training curves, and pass@1 against the cost of training.

`style.py` has their looks and what they are written as. The bands come from `comparison.bands`. Notebooks draw with
these functions too (`rlvr_gap/plot.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from benchmarks.statistics.comparison import Floats, bands
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.gap import near_binary
from leaderboards.style import (
    COLOURS,
    INK,
    Picture,
    below_axes,
    brief,
    legend,
    legend_columns,
    look,
    mark,
    new_figure,
    percent_axis,
    place,
    styled,
)

LINES_IN_ONE_PLOT = 3
"""With more trained models than this the bands hide each other, so each model also gets a plot of its own."""
POINTS = 60
"""A training curve has at most this many points, each the mean of a window of steps."""
TRAINING_AXES = {
    "reward": "reward",
    "accuracy": "accuracy (%)",
    "entropy": "entropy (nats per token)",
    "length": "completion length (tokens)",
}
"""Metric of a training -> the name of its axis."""


@dataclass(frozen=True, eq=False)
class Line:
    """A curve of fractions: `mean` over `ks`, with an optional pointwise band from `low` to `high`."""

    name: str
    ks: Sequence[int]
    mean: Floats
    low: Floats | None = None
    high: Floats | None = None
    colour: int | None = None
    """Position in the order of algorithms. None is the base, which is drawn dashed and in ink."""


@dataclass(frozen=True)
class Point:
    """One cell: how much training generated, and the accuracy that it reached (a fraction)."""

    name: str
    cost: int
    pass_at_1: float
    colour: int


@dataclass(frozen=True, eq=False)
class Training:
    """The log of one training: columns `step` and the metrics of `TRAINING_AXES`, a row for each step."""

    name: str
    log: pd.DataFrame
    colour: int


def make_lines(
    base: Sequence[Counts],
    trained: Mapping[str, Sequence[Counts]],
    colours: Mapping[str, int],
    confidence: float = 0.95,
) -> list[Line]:
    """Returns mean curves over the seeds for k = 1, 2, 4, ... up to the largest k, each with a pointwise band.

    All counts must be on the same problems in the same order. `colours`: the number of each algorithm
    (`style.colours_of`). The base comes first, if there is one, and is one model:
    its band holds no noise of training. Those of the others do, as far as any of them has several seeds.
    """
    known = {name: counts for name, counts in trained.items() if counts}
    lines = [_lines({"base": base}, {}, confidence)] if base else []
    return [line for part in [*lines, _lines(known, colours, confidence) if known else []] for line in part]


def _lines(groups: Mapping[str, Sequence[Counts]], colours: Mapping[str, int], confidence: float) -> list[Line]:
    sides = [side for counts in groups.values() for side in counts]
    k_max = min(side.design.max_k for side in sides)
    ks = sorted({2**i for i in range(k_max.bit_length())} | {k_max})
    scores = {name: np.stack([side.curve(ks) for side in counts]) for name, counts in groups.items()}
    found = bands(scores, [near_binary(k, *sides) for k in ks], confidence)
    means = {name: array.mean(axis=(0, 1)) for name, array in scores.items()}
    return [Line(name, ks, means[name], *found[name], colours.get(name)) for name in groups]


def curves(
    lines: Sequence[Line],
    title: str = "",
    bands: bool = True,
    top: float | None = None,
    marks: Sequence[float] = (),
) -> Figure:
    """Plots pass@k in percent over k on a log2 axis, with the base dashed and the others in their colours and bands.

    `top` is the end of the y axis in percent, for plots that stand side by side. None fits the axis to the lines.
    `marks` are places on the k axis that get a thin upright line.
    """
    with styled():
        columns = legend_columns([line.name for line in lines], 64)
        rows = -(-len(lines) // columns)
        figure = Picture(figsize=(4.8, 3.35 + 0.21 * rows))
        place(figure, (1, 1), left=0.67, right=0.06, bottom=below_axes(rows), top=0.25 if title else 0.1)
        axes = figure.add_subplot()
        draw_curves(axes, lines, title, bands, top)
        for k in marks:
            axes.axvline(k, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        legend(figure, handles(lines), columns)
    return figure


def draw_curves(
    axes: Axes, lines: Sequence[Line], title: str = "", bands: bool = True, top: float | None = None
) -> None:
    """The same on axes that are there, without a legend."""
    for line in lines:
        _draw(axes, line, bands)
    _k_axis(axes, sorted({k for line in lines for k in line.ks}))
    axes.set(xlabel="k, samples of a problem (log scale)", ylabel="pass@k (%)", title=brief(title, 48))
    percent_axis(axes, top_of(lines) if top is None else top)
    sns.despine(ax=axes)


def handles(lines: Sequence[Line]) -> dict[str, Line2D]:
    """What a legend shows of the lines, by name."""
    return {line.name: _handle(line) for line in lines}


def top_of(lines: Sequence[Line]) -> float:
    """The end of the y axis in percent: a little above the highest line, and at most 100."""
    highest = max(float(np.max(side)) for line in lines for side in (line.mean, line.high) if side is not None)
    return min(100.0, max(5.0, 105 * highest))


def _draw(axes: Axes, line: Line, bands: bool) -> None:
    style = look(line.colour)
    point: dict[str, Any] = {}
    if line.colour is not None:
        point = {"marker": mark(line.colour), "markersize": 5, "markeredgewidth": 0}
    axes.plot(line.ks, 100 * line.mean, **style, **point)  # seaborn's lineplot takes ten times as long for each line
    if bands and line.low is not None and line.high is not None:
        axes.fill_between(list(line.ks), 100 * line.low, 100 * line.high, color=style["color"], alpha=0.16, linewidth=0)


def _handle(line: Line) -> Line2D:
    return Line2D([], [], marker=mark(line.colour) or "None", markersize=5, **look(line.colour))


def _k_axis(axes: Axes, ks: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    powers = [k for k in ks if k & (k - 1) == 0]
    shown = powers if len(powers) <= 6 else powers[::2]
    axes.xaxis.set_major_locator(FixedLocator([*shown, *([ks[-1]] if ks[-1] not in powers else [])]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def cost(points: Sequence[Point], unit: str, base_pass_at_1: float | None = None) -> Figure:
    """Plots pass@1 in percent against what training generated, with the base as a dashed line.

    `unit` is "completions" or "tokens". The x axis is logarithmic if the costs span a factor of four or more.
    """
    shown = {}
    with styled():
        names = list(dict.fromkeys(point.name for point in points)) + ["base"] * (base_pass_at_1 is not None)
        figure, axes, columns = new_figure(names)
        for name, colour in {point.name: point.colour for point in points}.items():
            style: dict[str, Any] = {"color": COLOURS[colour % len(COLOURS)], "marker": mark(colour)}
            own = [point for point in points if point.name == name]
            places = [point.cost for point in own], [100 * point.pass_at_1 for point in own]
            axes.scatter(*places, s=70, edgecolors="white", linewidths=0.8, **style)
            shown[name] = Line2D([], [], linestyle="none", markersize=7, markeredgewidth=0, **style)
        if base_pass_at_1 is not None:
            axes.axhline(100 * base_pass_at_1, **look(None))
            shown["base"] = Line2D([], [], **look(None))
        _cost_axis(axes, [point.cost for point in points])
        axes.set(xlabel=f"{unit} generated in training", ylabel="pass@1 (%)")
        highest = max(base_pass_at_1 or 0.0, *(point.pass_at_1 for point in points))
        percent_axis(axes, min(100.0, max(5.0, 115 * highest)))
        sns.despine(ax=axes)
        legend(figure, shown, columns)
    return figure


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    low, high = min(costs), max(costs)
    if low > 0 and high >= 4 * low:
        axes.set_xscale("log", base=2)
        axes.set_xlim(low / 1.5, high * 1.5)
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, 1.15 * max(high, 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))


def training(logs: Sequence[Training], metrics: Sequence[str] = tuple(TRAINING_AXES)) -> Figure:
    """Plots metrics over the steps of training, one line for each run, in the colour of its algorithm.

    A line of more than `POINTS` steps shows means over windows of equal width.
    """
    shown = {one.name: Line2D([], [], **look(one.colour)) for one in sorted(logs, key=lambda one: one.colour)}
    columns = legend_columns(list(shown), 128)
    legend_rows = -(-len(shown) // columns)
    rows, across = -(-len(metrics) // 2), min(2, len(metrics))
    with styled():
        figure = Picture(figsize=(4.8 * across, 2.75 * rows + 0.3 + 0.21 * legend_rows))
        below, left = below_axes(legend_rows), 0.9  # wide enough for a tick such as -0.025
        place(figure, (rows, across), left=left, right=0.1, bottom=below, top=0.1, across=left, down=0.7)
        panels = figure.subplots(rows, across, squeeze=False, sharex=True).flatten()
        for axes, metric in zip(panels, metrics, strict=False):
            for one in logs:
                _draw_training(axes, one, metric)
            axes.set(xlabel="step", ylabel=TRAINING_AXES[metric])
            axes.xaxis.set_tick_params(labelbottom=True)
            sns.despine(ax=axes)
        for axes in panels[len(metrics) :]:
            axes.set_axis_off()
        legend(figure, shown, columns)
    return figure


def _draw_training(axes: Axes, run: Training, metric: str) -> None:
    both_2N = run.log[["step", metric]].to_numpy(dtype=float).T
    step_W, value_W = _window_means(both_2N[:, ~np.isnan(both_2N).any(axis=0)])
    scale = 100 if TRAINING_AXES[metric].endswith("(%)") else 1
    style = {**look(run.colour), "linewidth": 1.2, "alpha": 0.9}
    axes.plot(step_W, scale * value_W, **style)


def _window_means(values_2N: Floats, most: int = POINTS) -> Floats:
    """(2, W): what `thinned` gives, of two columns without missing values; pandas takes ten times as long."""
    size = values_2N.shape[1]
    starts = np.arange(0, size, max(1, -(-size // most)))
    if not size:
        return values_2N
    return np.asarray(np.add.reduceat(values_2N, starts, axis=1) / np.diff(starts, append=size))


def thinned(log: pd.DataFrame, most: int = POINTS) -> pd.DataFrame:
    """Returns at most `most` rows: means over windows of as many rows each, but for the last one."""
    width = max(1, -(-len(log) // most))
    return log.groupby(np.arange(len(log)) // width).mean()
