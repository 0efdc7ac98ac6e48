"""How the states of cells look on a terminal: a table that fits into 80 characters, and below it why cells failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.progress import duration
from benchmarks.runs.overview import DIVERGED, FAILED, QUEUED, RUNNING, STATES, CellState

COLOURS = {"running": "cyan", "done": "green", "failed": "red", "diverged": "magenta", "queued": "yellow"}
_MOST_ROWS = 60
"""A table with more cells than this shows those that are neither done nor waiting, and counts the others."""
_MOST_REASONS = 20
_WIDE = 110
"""From this width on, the table says where each cell runs."""


def table(states: Sequence[CellState], width: int) -> Group:
    """A table for each suite, with a row for each cell, for a terminal that is so many characters wide."""
    parts: list[RenderableType] = []
    for suite in dict.fromkeys(state.suite for state in states):
        of_suite = [state for state in states if state.suite == suite]
        parts += [_table(suite, of_suite, width), *_reasons(of_suite), *_logs(of_suite), Text("")]
    return Group(*parts)


def _table(suite: str, states: Sequence[CellState], width: int) -> Table:
    shown = states if len(states) <= _MOST_ROWS else [s for s in states if s.state not in ("done", "waiting")]
    result = Table(
        box=box.SIMPLE_HEAD, title=Text(f"{suite}: {counts(states)}", style="bold"), title_justify="left",
        show_edge=False, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    names = ("cell", "state", "progress", "left", "time", "tokens", *(["where"] if width >= _WIDE else []))
    for name in names:
        right = name in ("left", "time", "tokens")
        result.add_column(name, overflow="fold", justify="right" if right else "left", no_wrap=right or name == "state")
    for s in shown[: 10 * _MOST_ROWS]:
        cells = (
            s.cell, s.state, _progress(s), "" if s.left_s is None else duration(s.left_s),
            duration(s.seconds) if s.seconds else "", tokens(s.tokens), s.where,
        )  # fmt: skip
        texts = (Text(cell, style=COLOURS.get(s.state, "") if i == 1 else "") for i, cell in enumerate(cells))
        result.add_row(*list(texts)[: len(names)])
    return result


def _progress(s: CellState) -> str:
    """Such as `30 % train: 30/100 steps`."""
    if s.state in (FAILED, DIVERGED):
        return ""
    if s.state == QUEUED and not s.said:
        return s.where  # the number of its job
    share = "" if s.share is None else f"{100 * s.share:.0f} % "
    return share + s.said.replace(f" {s.cell}:", ":")


def _reasons(states: Sequence[CellState]) -> list[Text]:
    """A line for each cell that failed or diverged, which says why."""
    found = [s for s in states if s.state in (FAILED, DIVERGED)]
    lines = []
    for s in found[:_MOST_REASONS]:
        line = Text(f"{s.state} ", style=COLOURS[s.state], overflow="fold")
        lines.append(line.append(f"{s.cell}{f' ({s.where})' if s.where else ''}: {s.said}", style="default"))
    more = len(found) - len(lines)
    return [*lines, *([Text(f"and {more} more: --json has them all")] if more else [])]


def _logs(states: Sequence[CellState]) -> list[Text]:
    """Where the logs are: all have the names of their cells."""
    folders = dict.fromkeys(str(Path(s.log).parent) for s in states if s.log)
    return [Text(f"logs {folder}/CELL.log", overflow="fold") for folder in folders]


def counts(states: Sequence[CellState]) -> str:
    """`7 cells: 1 waiting, 2 running, 4 done`."""
    found = Counter(state.state for state in states)
    return f"{len(states)} cells: " + ", ".join(f"{found[name]} {name}" for name in STATES if found[name])


def summary(states: Sequence[CellState]) -> str:
    """One line: the counts, and how far each running cell is."""
    running = [
        f"{s.cell} {_progress(s)}" + ("" if s.left_s is None else f" ({duration(s.left_s)} left)")
        for s in states
        if s.state == RUNNING
    ]
    return "; ".join([counts(states), *running])


def tokens(value: int) -> str:
    """`12 k`, `1.09 M`."""
    if value >= 1_000_000:
        return f"{value / 1e6:.3g} M"
    return f"{value / 1e3:.0f} k" if value >= 1000 else str(value or "")
