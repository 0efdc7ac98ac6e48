"""Progress of long stages: a bar with rate and time left on a terminal, and an occasional plain line elsewhere.

with Progress() as progress, progress.stage("sample test", total=12_800, unit="completions") as stage:
    stage.advance(512)
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichBars
from rich.text import Text

LINE_EVERY_S = 15.0
"""Without a terminal, at most one line is printed in this time."""


@dataclass
class Stage:
    """One long piece of work."""

    name: str
    total: float | None
    unit: str
    show: Callable[[Stage], None] = field(repr=False)
    done: float = 0
    started: float = field(default_factory=lambda: time.monotonic())
    skipped: float = 0
    """The part of `done` that an earlier run did, which says nothing about the rate."""
    note: str = ""
    """What else is known of where it stands, such as "reward 0.31, entropy 0.157"."""

    def advance(self, amount: float = 1) -> None:
        """Adds work that this run has done."""
        self.done += amount
        self.show(self)

    def skip(self, amount: float) -> None:
        """Adds work that was done before this run."""
        self.skipped += amount
        self.advance(amount)

    def update(self, name: str | None = None, total: float | None = None) -> None:
        """Changes the name or the total. None leaves it as it is."""
        self.name = self.name if name is None else name
        self.total = self.total if total is None else total
        self.show(self)

    @property
    def rate(self) -> float | None:
        """Units per second since the stage began, or None if nothing was done yet."""
        seconds = time.monotonic() - self.started
        done = self.done - self.skipped
        return done / seconds if done > 0 and seconds > 0 else None

    def line(self, ending: str = "") -> str:
        """Returns a line such as `sample test: 512/12800 completions, 310/s, 40 s left`."""
        parts = [
            number(self.done) + ("" if self.total is None else f"/{number(self.total)}") + f" {self.unit}".rstrip()
        ]
        if self.rate is not None:
            parts.append(f"{number(self.rate)}/s")
            if self.total is not None and self.total > self.done:
                parts.append(f"{duration((self.total - self.done) / self.rate)} left")
        parts += [ending] if ending else []
        return f"{self.name}: " + ", ".join(parts) + (f"; {self.note}" if self.note else "")


def number(value: float) -> str:
    """Formats a value such as `12800`, `41` or `2.35`: whole from a hundred on, three digits below."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Formats seconds, such as `40 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Progress:
    """Shows how far stages are, on standard error by default. With `quiet` it shows nothing."""

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.stream = stream if stream is not None else sys.stderr
        self.listener: Callable[[Stage], None] = lambda stage: None
        """Told of every change, whatever is shown."""
        self._bars: Bars | None = None
        self._last_line = float("-inf")
        if not quiet and self.stream.isatty():
            self._bars = Bars(*_columns(), console=Console(file=self.stream), transient=False)

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, line: str) -> None:
        """Shows a line, above the bars where there are bars."""
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            self._write(line)

    @contextlib.contextmanager
    def stage(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Stage]:
        """Opens a stage. On a terminal its bar stays after the end; elsewhere its last line is always written."""
        if self._bars is not None:
            task = self._bars.add_task(name, total=total, unit=unit)
            stage = Stage(name, total, unit, lambda stage: self._show_bar(task, stage))
        else:
            stage = Stage(name, total, unit, self._show_line)
        self.listener(stage)
        yield stage
        if self._bars is None and stage.done:
            self._write(stage.line(f"done in {duration(time.monotonic() - stage.started)}"))

    def _show_bar(self, task: TaskID, stage: Stage) -> None:
        assert self._bars is not None
        self.listener(stage)
        self._bars.update(task, description=stage.name, total=stage.total, completed=stage.done, rate=stage.rate)
        self._bars.update(task, note=stage.note)

    def _show_line(self, stage: Stage) -> None:
        self.listener(stage)
        now = time.monotonic()
        if now - max(self._last_line, stage.started) >= LINE_EVERY_S:
            self._last_line = now
            self._write(stage.line())

    def _write(self, line: str) -> None:
        if not self.quiet:
            print(line, file=self.stream, flush=True)


class Bars(RichBars):
    """The bars, and below them what is noted of those that are not finished: beside them it would not fit."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """What rich draws."""
        yield from super().get_renderables()
        notes = [task.fields.get("note") for task in self.tasks if not task.finished]
        yield from (Text(f"  {note}", style="dim", no_wrap=True, overflow="ellipsis") for note in notes if note)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.fields.get("rate")
        return Text("" if rate is None else f"{number(rate)} {task.fields.get('unit', '')}/s".replace(" /s", "/s"))


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), _RateColumn(),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False),
    )  # fmt: skip
