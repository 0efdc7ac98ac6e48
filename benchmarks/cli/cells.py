"""How the states of cells look on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.progress import duration
from benchmarks.runs.overview import RUNNING, STATES, CellState

COLOURS = {"running": "cyan", "done": "green", "failed": "red", "diverged": "magenta", "queued": "yellow"}
_MOST_ROWS = 60
"""A table with more cells than this shows those that are neither done nor waiting, and counts the others."""


def table(states: Sequence[CellState]) -> Table:
    """A row for each cell; what is longer than its column is folded."""
    shown = states if len(states) <= _MOST_ROWS else [s for s in states if s.state not in ("done", "waiting")]
    result = Table(box=box.SIMPLE_HEAD, title=counts(states), title_justify="left")
    for name in ("cell", "state", "progress", "left", "time", "tokens", "where", "log"):
        result.add_column(name, overflow="fold", justify="right" if name in ("left", "time", "tokens") else "left")
    for s in shown[: 10 * _MOST_ROWS]:
        share = "" if s.share is None else f"{100 * s.share:.0f} % "
        cells = (
            f"{s.suite}/{s.cell}", s.state, f"{share}{s.said}", "" if s.left_s is None else duration(s.left_s),
            duration(s.seconds) if s.seconds else "", tokens(s.tokens), s.where, s.log,
        )  # fmt: skip
        result.add_row(*(Text(cell, style=COLOURS.get(s.state, "") if i == 1 else "") for i, cell in enumerate(cells)))
    return result


def counts(states: Sequence[CellState]) -> str:
    """`7 cells: 1 waiting, 2 running, 4 done`."""
    found = Counter(state.state for state in states)
    return f"{len(states)} cells: " + ", ".join(f"{found[name]} {name}" for name in STATES if found[name])


def summary(states: Sequence[CellState]) -> str:
    """One line: the counts, and how far each running cell is."""
    running = [
        f"{s.cell} {s.said}" + ("" if s.left_s is None else f" ({duration(s.left_s)} left)")
        for s in states
        if s.state == RUNNING
    ]
    return "; ".join([counts(states), *running])


def tokens(value: int) -> str:
    """`12 k`, `1.09 M`."""
    if value >= 1_000_000:
        return f"{value / 1e6:.3g} M"
    return f"{value / 1e3:.0f} k" if value >= 1000 else str(value or "")
