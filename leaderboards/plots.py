"""Draws the figures of the page with seaborn: pass@k curves, and pass@1 against the cost of training.

A figure becomes a self-contained SVG string. Its text is drawn as paths, so it needs no font; it holds no date and ids
of its own; the same data give the same bytes. Ink takes the text colour of the page, so the figure can be read on light
and dark backgrounds. `save_png` draws it black on white. The numbers come from `comparison.bands`.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from benchmarks.errors import Failure
from benchmarks.statistics.comparison import Floats, bands
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.gap import near_binary

_BLIND = sns.color_palette("colorblind").as_hex()
COLOURS = tuple(_BLIND[i] for i in (0, 1, 2, 3, 4, 9, 5, 7))
"""seaborn's colour-blind-safe palette without its yellow and pale pink, which vanish on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
LINES_IN_ONE_PLOT = 3
"""With more trained models than this the bands hide each other, so each model also gets a plot of its own."""
INK = "#010203"
"""Stands for the page's text colour. No palette contains this value."""
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "text.parse_math": False,  # a name with a $ in it is a name
    "svg.fonttype": "path",
    "svg.hashsalt": "rlvr-gap",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "axes.grid": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.axisbelow": True,
}


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


def make_lines(base: Sequence[Counts], trained: Mapping[str, Sequence[Counts]], confidence: float = 0.95) -> list[Line]:
    """Returns mean curves over the seeds for k = 1, 2, 4, ... up to the largest k, each with a pointwise band.

    All counts must be on the same problems in the same order. The base comes first, if there is one, and is one model:
    its band holds no noise of training. Those of the others do, as far as any of them has several seeds.
    """
    known = {name: counts for name, counts in trained.items() if counts}
    colours = {name: i for i, name in enumerate(trained)}
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


@contextlib.contextmanager
def _styled() -> Iterator[None]:
    """Applies seaborn's style inside the block and restores the process's settings after it."""
    style: Any = {**sns.axes_style("ticks"), **sns.plotting_context("notebook", font_scale=0.95), **_STYLE}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box in the picture; the table has the name
        yield


def curve_figures(base: Sequence[Counts], trained: Mapping[str, Sequence[Counts]]) -> list[tuple[Figure, str]]:
    """Returns the plots of a section with their captions.

    A few algorithms share one plot; with more of them, each also gets its own. `base` holds the base's counts or is
    empty. `trained` maps each algorithm to the counts of its seeds, and its order decides the colours.
    """
    everything = make_lines(base, trained)
    reference = [line for line in everything if line.colour is None]
    lines = [line for line in everything if line.colour is not None]
    over = "problems and seeds" if any(len(counts) > 1 for counts in trained.values()) else "problems"
    caption = f"Bands: pointwise 95 % intervals over {over}."
    if len(lines) <= LINES_IN_ONE_PLOT:
        return [(curves([*reference, *lines]), caption)] if reference or lines else []
    top = _top([*reference, *lines])
    overview = curves([*reference, *lines], "all", bands=False, top=top)
    each = [(curves([*reference, line], line.name, top=top), caption) for line in lines]
    return [(overview, "All algorithms; their bands are in the plots that follow."), *each]


def curves(lines: Sequence[Line], title: str = "", bands: bool = True, top: float | None = None) -> Figure:
    """Plots pass@k in percent over k on a log2 axis, with the base dashed and the others in their colours and bands.

    `top` is the end of the y axis in percent, for plots that stand side by side. None fits the axis to the lines.
    """
    with _styled():
        figure, axes, columns = _figure([line.name for line in lines])
        for line in lines:
            _draw(axes, line, bands)
        _k_axis(axes, sorted({k for line in lines for k in line.ks}))
        axes.set(xlabel="k, samples of a problem (log scale)", ylabel="pass@k (%)", title=_brief(title, 48))
        _percent_axis(axes, _top(lines) if top is None else top)
        sns.despine(ax=axes)
        _legend(figure, {line.name: _handle(line) for line in lines}, columns)
    return figure


def _top(lines: Sequence[Line]) -> float:
    """Returns the end of the y axis in percent: a little above the highest line, and at most 100."""
    highest = max(float(np.max(side)) for line in lines for side in (line.mean, line.high) if side is not None)
    return min(100.0, max(5.0, 105 * highest))


def _look(colour: int | None) -> dict[str, Any]:
    if colour is None:
        return {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.8}
    dash = DASHES[(colour // len(COLOURS)) % len(DASHES)]
    return {"color": COLOURS[colour % len(COLOURS)], "linestyle": dash, "linewidth": 2.0}


def _mark(colour: int | None) -> str:
    return "" if colour is None else MARKERS[colour % len(MARKERS)]


def _draw(axes: Axes, line: Line, bands: bool) -> None:
    look = _look(line.colour)
    mark = {"marker": _mark(line.colour), "markersize": 5, "markeredgewidth": 0} if line.colour is not None else {}
    sns.lineplot(
        x=list(line.ks), y=100 * line.mean, ax=axes, estimator=None, errorbar=None, legend=False, **look, **mark
    )
    if bands and line.low is not None and line.high is not None:
        axes.fill_between(list(line.ks), 100 * line.low, 100 * line.high, color=look["color"], alpha=0.16, linewidth=0)


def _handle(line: Line) -> Line2D:
    return Line2D([], [], marker=_mark(line.colour) or "None", markersize=5, **_look(line.colour))


def _k_axis(axes: Axes, ks: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    powers = [k for k in ks if k & (k - 1) == 0]
    shown = powers if len(powers) <= 6 else powers[::2]
    axes.xaxis.set_major_locator(FixedLocator([*shown, *([ks[-1]] if ks[-1] not in powers else [])]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _percent_axis(axes: Axes, top: float) -> None:
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _figure(names: Sequence[str]) -> tuple[Figure, Axes, int]:
    """Returns a figure, axes whose size does not depend on the legend below them, and the number of legend columns."""
    columns = max(1, min(len(names), 64 // (max((len(_brief(name, 30)) for name in names), default=1) + 8)))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.8, 3.35 + 0.21 * rows), layout="constrained")
    return figure, figure.add_subplot(), columns


def _legend(figure: Figure, entries: Mapping[str, Line2D], columns: int) -> None:
    """Puts the legend below the axes, where it hides no data."""
    names = [_brief(name, 30) for name in entries]
    options: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": "small"}
    figure.legend(list(entries.values()), names, handlelength=2.6, columnspacing=1.4, **options)


def _brief(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def cost(points: Sequence[Point], unit: str, base_pass_at_1: float | None = None) -> Figure:
    """Plots pass@1 in percent against what training generated, with the base as a dashed line.

    `unit` is "completions" or "tokens". The x axis is logarithmic if the costs span a factor of four or more.
    """
    handles = {}
    with _styled():
        names = list(dict.fromkeys(point.name for point in points)) + ["base"] * (base_pass_at_1 is not None)
        figure, axes, columns = _figure(names)
        for point in points:
            style = {"color": COLOURS[point.colour % len(COLOURS)], "marker": _mark(point.colour)}
            sns.scatterplot(x=[point.cost], y=[100 * point.pass_at_1], ax=axes, s=70, legend=False, **style)
            handles[point.name] = Line2D([], [], linestyle="none", markersize=7, markeredgewidth=0, **style)
        if base_pass_at_1 is not None:
            axes.axhline(100 * base_pass_at_1, **_look(None))
            handles["base"] = Line2D([], [], **_look(None))
        _cost_axis(axes, [point.cost for point in points])
        axes.set(xlabel=f"{unit} generated in training", ylabel="pass@1 (%)")
        highest = max(base_pass_at_1 or 0.0, *(point.pass_at_1 for point in points))
        _percent_axis(axes, min(100.0, max(5.0, 115 * highest)))
        sns.despine(ax=axes)
        _legend(figure, handles, columns)
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


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Returns the figure as an `<svg>` element with nothing around it.

    `name` (letters, digits and hyphens) prefixes every id, so that many figures can stand in one page. A screen reader
    reads `description` aloud. The same figure and name give the same bytes.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(f"name must be letters, digits and hyphens, got {name!r}")
    buffer = io.StringIO()
    with _styled():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    text = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)  # they repeat the names in the text
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = text.replace(INK, "currentColor")
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(r"\n\s*\n+", "\n", text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)).strip()


def save_png(figure: Figure, path: Path | str, dpi: int = 150) -> None:
    """Writes the figure as a picture, black on white. Raises Failure if that is not possible."""
    try:
        with _styled():
            figure.savefig(path, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}.") from error
