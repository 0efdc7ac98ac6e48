"""What a terminal of 100 characters shows, as text."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType


def shown(*parts: RenderableType) -> str:
    """The parts one below the other."""
    console = Console(file=io.StringIO(), width=100)
    console.print(*parts, sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
