"""The pictures of a site: pages are written with marks in place of pictures, which are then drawn all at once.

A picture that several pages show is drawn once. Names tell pictures apart (`pictures.Plot`).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from benchmarks.files import write_text_atomic
from leaderboards.cores import Spread
from leaderboards.pictures import Plot
from leaderboards.style import standalone

_MARK = re.compile(r"<!--picture ([A-Za-z0-9-]+) ((?:\.\./)*)-->")


class _Drawn(NamedTuple):
    """What an element says of a picture that was written; sizes in CSS pixels."""

    title: str
    width: int
    height: int


class Album:
    """The pictures that the pages of one site ask for."""

    def __init__(self) -> None:
        self._asked: dict[str, Plot] = {}
        self._drawn: dict[str, _Drawn] = {}

    def show(self, shown: Plot, up: str = "") -> Markup:
        """Returns the mark of a picture. `up` leads from the page to the folder of the site: "" or "../"."""
        self._asked.setdefault(shown.name, shown)
        return Markup(f"<!--picture {shown.name} {up}-->")

    def draw(self, folder: Path, spread: Spread) -> None:
        """Writes what was asked for to `folder`/pictures."""
        asked = list(self._asked.values())
        made = spread(partial(_write, folder), asked)
        self._drawn |= {shown.name: drawn for shown, drawn in zip(asked, made, strict=True)}

    def fill(self, page: str) -> str:
        """Returns the page with an element in place of each mark, which loads the picture when a reader comes near."""
        return _MARK.sub(lambda mark: self._element(mark[1], mark[2]), page)

    def _element(self, name: str, up: str) -> Markup:
        return Markup('<img src="{}pictures/{}.svg" alt="{}" width="{}" height="{}" loading="lazy">').format(
            up, name, *self._drawn[name]
        )


def _write(folder: Path, shown: Plot) -> _Drawn:
    write_text_atomic(folder / "pictures" / f"{shown.name}.svg", standalone(shown.svg), durable=False)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', shown.svg)
    assert size is not None, "matplotlib writes the size"
    return _Drawn(shown.title, *(round(float(one) * 4 / 3) for one in size.groups()))
