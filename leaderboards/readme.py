"""Writes the README's picture and its first rows from records, as the front page has them.

    make readme        or        python -m leaderboards.readme leaderboards/records README.md

What stands between two markers of the README is replaced. The picture is written to docs/pictures/ beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import Failure, UsageError
from benchmarks.files import read_text, write_text_atomic
from leaderboards import front
from leaderboards.front import Cell, View
from leaderboards.load import load
from leaderboards.sections import make_sections
from leaderboards.style import standalone

BEGIN, END = "<!-- leaderboard: written by make readme -->", "<!-- leaderboard: end -->"
PICTURE = Path("docs/pictures/leaderboard.svg")
ROWS = 7
"""So many algorithms are shown, the best ones, after the base."""
COLUMNS = ("gap", "group", "pass@1", "gap closed", "seeds")
"""Of the front page's table, with pass@k and the change at k beside them."""


def write_readme(records: Path, readme: Path) -> None:
    """Replaces the block between the markers and the picture. Errors as in `load.load`, or Failure without a marker."""
    block, svg = made(records)
    text = read_text(readme)
    begin, end = text.find(BEGIN), text.find(END)
    if not 0 <= begin < end:
        raise Failure(f"{readme} lacks the lines '{BEGIN}' and '{END}'.")
    write_text_atomic(readme.parent / PICTURE, svg)
    write_text_atomic(readme, text[:begin] + block + text[end + len(END) :])


def made(records: Path) -> tuple[str, str]:
    """The block, with its markers, and the picture's file."""
    entries, broken = load([records])
    view = next(iter(front.views(make_sections(entries, broken)[:1])), None)
    if view is None or view.picture is None:
        raise UsageError(f"no algorithm can be compared in {records}.")
    return block(view), standalone(view.picture.svg)


def block(view: View) -> str:
    """Picture and table as Markdown, with the markers around them."""
    assert view.picture is not None, "the caller looked"
    names = [*COLUMNS[:3], f"pass@{view.k}", COLUMNS[3], f"change at {view.k}", *COLUMNS[4:]]
    places = [view.columns.index(name) - 1 for name in names]
    base, trained = ([row for row in view.rows if (row.colour is None) is is_base] for is_base in (True, False))
    cells = ([row.label, *(_text(row.cells[place]) for place in places)] for row in (*base, *trained[:ROWS]))
    lines = [
        BEGIN,
        f"![{view.picture.caption}]({PICTURE})",
        "",
        f"*{view.picture.caption}*",
        "",
        f"| {' | '.join(['algorithm', *names])} |",
        f"|---|{'---:|' * len(names)}",
        *(f"| {' | '.join(row)} |" for row in cells),
        "",
        f"The best {min(ROWS, len(trained))} of {len(trained)} algorithms on the {view.n_problems} problems of "
        f"`{view.choices['dataset']}`: means over seeds, in percent and points.",
        f"The intervals of a column hold at once with {100 * view.level:g} %. Algorithms that share a letter cannot be "
        "told apart.",
        END,
    ]
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    return f"{cell.text} {cell.interval}".strip()


def main(arguments: Sequence[str]) -> None:
    """Runs the command line: records and README."""
    if len(arguments) != 2:
        raise UsageError("expected two paths, of the records and of the README.")
    write_readme(Path(arguments[0]), Path(arguments[1]))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failure, UsageError) as error:
        print(f"readme: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
