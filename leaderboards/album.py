"""The pictures of a site: pages are written with marks in place of pictures, which other cores draw in the meantime.

A picture that several pages show is drawn once. Names tell pictures apart (`pictures.Plot`).
"""

from __future__ import annotations

import re
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from benchmarks.files import write_text_atomic
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

    def __init__(self, folder: Path, pool: Executor) -> None:
        """Pictures are drawn by `pool` and written to `folder`/pictures."""
        self._folder, self._pool = folder, pool
        self._drawn: dict[str, Future[_Drawn]] = {}

    def show(self, shown: Plot, up: str = "") -> Markup:
        """Returns the mark of a picture, and has it drawn if no page has asked for it before.

        `up` leads from the page to the folder of the site: "" or "../".
        """
        if shown.name not in self._drawn:
            self._drawn[shown.name] = self._pool.submit(_write, self._folder, shown)
        return Markup(f"<!--picture {shown.name} {up}-->")

    def fill(self, page: str) -> str:
        """Returns the page with an element in place of each mark, which loads the picture when a reader comes near.

        It waits until the pictures of the page are there. What went wrong with one of them is raised here.
        """
        return _MARK.sub(lambda mark: self._element(mark[1], mark[2]), page)

    def _element(self, name: str, up: str) -> Markup:
        return Markup('<img src="{}pictures/{}.svg" alt="{}" width="{}" height="{}" loading="lazy">').format(
            up, name, *self._drawn[name].result()
        )


def _write(folder: Path, shown: Plot) -> _Drawn:
    write_text_atomic(folder / "pictures" / f"{shown.name}.svg", standalone(shown.svg), durable=False)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', shown.svg)
    assert size is not None, "matplotlib writes the size"
    return _Drawn(shown.title, *(round(float(one) * 4 / 3) for one in size.groups()))
