"""Writes what Markdown files show of the records: the README's picture and first rows, and the tables of the findings.

    make readme        or        python -m leaderboards.readme leaderboards/records .

All of it is as the front page has it. What stands between two markers is replaced, in README.md and in
leaderboards/FINDINGS.md of the folder that is named last. The picture is written to docs/pictures/ there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import Failure, UsageError
from benchmarks.files import read_text, write_text_atomic
from leaderboards import budgets
from leaderboards.front import Cell, View
from leaderboards.load import load
from leaderboards.sections import make_sections
from leaderboards.style import standalone

BEGIN, END = "<!-- leaderboard: written by make readme -->", "<!-- leaderboard: end -->"
PICTURE = Path("docs/pictures/leaderboard.svg")
ROWS = 7
"""So many algorithms are shown after the base, in the order of the front page."""
TABLE = re.compile(r"<!-- table: (?P<name>.+?) -->\n.*?<!-- table: end -->", re.DOTALL)
"""A table of the findings with its markers. It is named by dataset, budget and verdict, as on the front page."""


@dataclass(frozen=True)
class Made:
    """What is written from the records."""

    block: str
    """The README's, with its markers."""
    picture: str
    """The SVG file that the block shows."""
    tables: Mapping[str, str]
    """All tables of the front page, by name."""


def write(records: Path, root: Path) -> None:
    """Writes README, findings and picture anew. Errors as in `load.load`, or Failure for a missing or wrong marker."""
    found = made(records)
    readme, findings = root / "README.md", root / "leaderboards" / "FINDINGS.md"
    texts = {
        readme: with_block(read_text(readme), found.block),
        findings: with_tables(read_text(findings), found.tables),
        root / PICTURE: found.picture,
    }
    for path, text in texts.items():
        write_text_atomic(path, text)


def made(records: Path) -> Made:
    """Makes everything from the records. UsageError if no algorithm can be compared."""
    views = budgets.views(make_sections(*load([records])))
    if not views or views[0].picture is None:
        raise UsageError(f"no algorithm can be compared in {records}.")
    return Made(block(views[0]), standalone(views[0].picture.svg), {name(view): table(view) for view in views})


def with_block(text: str, block: str) -> str:
    """Replaces the README's block. Failure without its markers."""
    begin, end = text.find(BEGIN), text.find(END)
    if not 0 <= begin < end:
        raise Failure(f"README.md lacks the lines '{BEGIN}' and '{END}'.")
    return text[:begin] + block + text[end + len(END) :]


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """Replaces the tables of the findings. Failure if a marker names none that is there."""

    def replace(old: re.Match[str]) -> str:
        if old["name"] not in tables:
            raise Failure(f"FINDINGS.md asks for the table '{old['name']}'; there are {', '.join(tables)}.")
        return f"<!-- table: {old['name']} -->\n{tables[old['name']]}\n<!-- table: end -->"

    return TABLE.sub(replace, text)


def name(view: View) -> str:
    """What a marker calls the table."""
    return ", ".join(view.choices[key] for key in ("dataset", "budget", "verdict"))


def block(view: View) -> str:
    """Picture and first rows as Markdown, with the markers around them."""
    assert view.picture is not None, "the caller looked"
    n_trained = sum(row.colour is not None for row in view.rows)
    lines = [
        BEGIN,
        f"![{view.picture.caption}]({PICTURE})",
        "",
        f"*{view.picture.caption}*",
        "",
        table(view, ROWS),
        "",
        f"The first {min(ROWS, n_trained)} of {n_trained} algorithms on the {view.n_problems} problems of "
        f"`{view.choices['dataset']}`: means over seeds, in percent and points.",
        "Those with too few seeds for a place come last.",
        f"The intervals of a column hold at once with {100 * view.level:g} %. Algorithms that share a letter cannot be "
        "told apart.",
        END,
    ]
    return "\n".join(lines)


def table(view: View, rows: int | None = None) -> str:
    """The base and the algorithms, or the first of them, as a table in Markdown."""
    names = ("gap", "group", "pass@1", f"pass@{view.k}", "gap closed", f"change at {view.k}", "tokens", "seeds")
    places = [view.columns.index(one) - 1 for one in names]
    base, trained = ([row for row in view.rows if (row.colour is None) is is_base] for is_base in (True, False))
    cells = ([row.label, *(_text(row.cells[place]) for place in places)] for row in (*base, *trained[:rows]))
    lines = [["algorithm", *names], ["---", *("---:" for _ in names)], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(cell: Cell) -> str:
    """Without what the front page says in small letters, unless it is an interval."""
    return f"{cell.text} {cell.interval}" if cell.interval.startswith("[") else cell.text


def main(arguments: Sequence[str]) -> None:
    """Runs the command line: records, and the folder of the README."""
    if len(arguments) != 2:
        raise UsageError("expected two paths, of the records and of the folder that README.md is in.")
    write(Path(arguments[0]), Path(arguments[1]))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failure, UsageError) as error:
        print(f"readme: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
