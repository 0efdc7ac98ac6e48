"""How figures look: colours of algorithms, legends and axes, and what a figure is written as.

A figure on the page becomes a self-contained SVG string. Its text is drawn as paths, so it needs no font; it holds no
date and ids of its own; the same data give the same bytes. Ink takes the text colour of the page there, so that a
figure can be read on light and dark backgrounds. Everywhere else it is nearly black, on white.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmarks.errors import Failure

COLOURS = ("#0173b2", "#b57a00", "#029e73", "#d55e00", "#c25bb0", "#8a5fd0", "#9c6a3c", "#7d8288")
"""The hues of seaborn's colour-blind-safe palette, as dark as a contrast of 3:1 asks on a white page and as light as it
asks on a dark one."""
NUMBERED = (
    *("ppo", "grpo", "rloo", "reinforce_pp", "reinforce_pp_baseline", "remax", "dapo"),
    *("dr_grpo", "gspo", "cispo", "lite_ppo", "maxrl", "nsr", "psr", "w_reinforce", "raft", "prorl"),
    "pass_at_k_training",
)
"""Algorithms whose number never changes, so that each has the same colour on every page and in every picture."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
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
    "figure.facecolor": "white",
    "axes.axisbelow": True,
}


class Picture(Figure):
    """A figure that a notebook shows, whether or not pyplot was set up in it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with styled():
            self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def colours_of(labels: Iterable[str]) -> dict[str, int]:
    """Gives each algorithm its number, which `look` and `mark` turn into a colour, a dash and a marker.

    Those of `NUMBERED` keep theirs; the others follow, by name.
    """
    found = set(labels)
    others = sorted(found - set(NUMBERED))
    numbers = {label: i for i, label in enumerate((*NUMBERED, *others))}
    return {label: numbers[label] for label in sorted(found)}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Applies seaborn's style inside the block and restores the process's settings after it."""
    style: Any = {**sns.axes_style("ticks"), **sns.plotting_context("notebook", font_scale=0.95), **_STYLE}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box in the picture; the table has the name
        yield


def look(colour: int | None) -> dict[str, Any]:
    """Colour, dash and width of a line. None is the base."""
    if colour is None:
        return {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.8}
    dash = DASHES[(colour // len(COLOURS)) % len(DASHES)]
    return {"color": COLOURS[colour % len(COLOURS)], "linestyle": dash, "linewidth": 2.0}


def mark(colour: int | None) -> str:
    """The marker of an algorithm's points. The base has none."""
    return "" if colour is None else MARKERS[colour % len(MARKERS)]


def percent_axis(axes: Axes, top: float) -> None:
    """Scales the y axis from 0 to `top` percent."""
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def place(
    figure: Figure,
    shape: tuple[int, int],
    *,
    left: float,
    right: float,
    bottom: float,
    top: float,
    across: float = 0.0,
    down: float = 0.0,
) -> None:
    """Puts rows and columns of axes between margins, with gaps across and down; all in inches.

    For pictures of which there are many. A layout engine finds the margins by measuring every text twice, which takes
    a third of the time of a picture.
    """
    (rows, columns), (width, height) = shape, figure.get_size_inches()
    wide = (width - left - right - across * (columns - 1)) / columns
    high = (height - bottom - top - down * (rows - 1)) / rows
    sides = {"left": left / width, "right": 1 - right / width, "bottom": bottom / height, "top": 1 - top / height}
    figure.subplots_adjust(**sides, wspace=across / wide, hspace=down / high)


def below_axes(legend_rows: int) -> float:
    """The height of tick labels, the name of the axis and a legend, in inches."""
    return 0.66 + 0.198 * legend_rows


def new_figure(names: Sequence[str]) -> tuple[Figure, Axes, int]:
    """Returns a figure, axes whose size does not depend on the legend below them, and the number of legend columns."""
    columns = legend_columns(names, 64)
    rows = -(-len(names) // columns)
    figure = Picture(figsize=(4.8, 3.35 + 0.21 * rows), layout="constrained")
    return figure, figure.add_subplot(), columns


def legend_columns(names: Sequence[str], width: int) -> int:
    """How many names stand side by side in a legend of that many characters."""
    return max(1, min(len(names), width // (max((len(brief(name, 30)) for name in names), default=1) + 8)))


def legend(figure: Figure, entries: Mapping[str, Line2D], columns: int) -> None:
    """Puts the legend below the axes, where it hides no data."""
    names = [brief(name, 30) for name in entries]
    options: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": "small"}
    figure.legend(list(entries.values()), names, handlelength=2.6, columnspacing=1.4, **options)


def brief(text: str, length: int) -> str:
    """Cuts a text that is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Returns the figure as an `<svg>` element with nothing around it.

    `name` (letters, digits and hyphens) prefixes every id, so that many figures can stand in one page. A screen reader
    reads `description` aloud. The same figure and name give the same bytes.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ValueError(f"name must be letters, digits and hyphens, got {name!r}")
    buffer = io.StringIO()
    figure.set_facecolor("none")
    with styled():  # not savefig: it draws a figure twice, of which the first time is for the layout alone
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    text = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)  # they repeat the names in the text
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = text.replace(INK, "currentColor")
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(r"\n\s*\n+", "\n", text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)).strip()


def standalone(svg: str) -> str:
    """Returns the element as a file of its own, whose ink follows the reader's light or dark setting."""
    ink = "svg{color:#1c2024}@media(prefers-color-scheme:dark){svg{color:#e6e9ec}}@media print{svg{color:#1c2024}}"
    return re.sub(r">", f"><style>{ink}</style>", svg, count=1) + "\n"


def save(figure: Figure, path: Path) -> None:
    """Writes the figure black on white, as a PDF or PNG by the path's suffix. Raises Failure if that is not possible.

    A figure that was never drawn before gives the same bytes each time: they say neither when nor by what it was made.
    """
    kind = path.suffix[1:]
    unsaid = {"png": ("Software",), "pdf": ("CreationDate", "Creator", "Producer")}[kind]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with styled():
            figure.savefig(path, format=kind, dpi=200, metadata=dict.fromkeys(unsaid))
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}.") from error
