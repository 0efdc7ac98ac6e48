"""The pages behind the front page: one for each algorithm, and one for each cell."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from benchmarks.errors import Failure
from benchmarks.statistics.counts import Counts
from leaderboards import frames, plots
from leaderboards.addresses import slug
from leaderboards.load import Entry, counts_of, plain
from leaderboards.pictures import Plot, logs, own_curve, picture_name
from leaderboards.sections import CellRow, Section
from leaderboards.summary import cell_name

DOCS = Path(__file__).resolve().parents[1] / "docs" / "algorithms"
"""One page of documentation for each algorithm. They are there in a checkout, and not in an installed wheel."""


@dataclass(frozen=True)
class Datum:
    """What an algorithm's page says of one dataset."""

    section: Section
    rows: Sequence[CellRow]
    curves: Plot | None


@dataclass(frozen=True)
class AlgorithmPage:
    """What the template of an algorithm's page needs."""

    label: str
    file: str
    doc: Markup | None
    data: Sequence[Datum]
    training: Plot | None
    settings: Mapping[str, str]
    """Of its first run. Seeds of one label differ in nothing else."""


def algorithm_pages(sections: Sequence[Section]) -> list[AlgorithmPage]:
    """One for each algorithm that has a run in a section, by name."""
    labels = sorted({row.label for section in sections for row in section.rows if row.status != "base"})
    return [_algorithm(label, sections) for label in labels]


def _algorithm(label: str, sections: Sequence[Section]) -> AlgorithmPage:
    here = [section for section in sections if any(row.label == label for row in section.rows)]
    data = [_datum(label, section) for section in here]
    record = data[0].rows[0].entry.record
    runs = [one for section in here if section.first == section.number for one in logs(section) if one.name == label]
    caption = "A line is a run, which is one seed of the algorithm."
    curves = Plot(partial(plots.training, runs), caption, f"training-{picture_name(label)}") if runs else None
    doc = documentation(record.cell.algorithm)
    return AlgorithmPage(label, f"algorithms/{slug(label)}.html", doc, data, curves, flat(_asked(record.settings)))


def _datum(label: str, section: Section) -> Datum:
    rows = [row for row in section.rows if row.label == label and row.status != "base"]
    known = any(line.colour is not None and line.name == label for line in frames.lines(section))
    return Datum(section, rows, own_curve(section, label) if known else None)


def _asked(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of training: those of the algorithm, and the suite's."""
    suite = settings.get("suite")
    own = {name: value for name, value in settings.items() if name != "suite"}
    return {**own, **({"training": suite["training"]} if isinstance(suite, dict) and "training" in suite else {})}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns nested settings as one level, with names such as "training.optimizer.beta"."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = "not set" if value is None else str(value)
    return found


def documentation(algorithm: str, folder: Path = DOCS) -> Markup | None:
    """Returns the algorithm's documentation as HTML, or None if there is none."""
    path = folder / f"{algorithm}.md"
    if path.parent != folder or not path.is_file():
        return None
    return as_html(path.read_text(encoding="utf-8"), lower=2)


_BOX = '<div class="box" tabindex="0" role="region" aria-label="Table {}">{}</div>'


def as_html(markdown: str, lower: int = 0) -> Markup:
    """Returns Markdown as HTML, with headings so many levels lower.

    HTML inside it stays text, and lines that are comments are left out. Of its links those to the web remain; files
    beside it are not a part of the site. Tables scroll. The site's policy forbids attributes of style, so columns of
    numbers have a class.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(re.sub(r"(?m)^<!-- .* -->\n", "", markdown))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + lower)}"
        if token.type in ("th_open", "td_open"):
            token.attrs = {"class": "number" if token.attrs.get("style") == "text-align:right" else "text wide"}
        if token.children:
            token.children = _without_local_links(token.children)
    numbers = itertools.count(1)
    html = reader.renderer.render(tokens, reader.options, {})
    return Markup(
        re.sub(r"<table>.*?</table>", lambda table: _BOX.format(next(numbers), table[0]), html, flags=re.DOTALL)
    )


def _without_local_links(tokens: Sequence[Token]) -> list[Token]:
    kept: list[Token] = []
    opened: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            opened.append(str(token.attrGet("href")).startswith("https://"))
        keep = token.type != "image" and (opened[-1] if token.type in ("link_open", "link_close") else True)
        if token.type == "link_close":
            opened.pop()
        if keep:
            kept.append(token)
    return kept


def cell_file(entry: Entry) -> str:
    """Returns the address of a cell's page, which no other record has."""
    return f"cells/{slug(cell_name(entry.record.cell))}-{entry.sha256[:12]}.html"


def raw_counts(entry: Entry) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Returns the counts by dataset, and what cannot be read."""
    try:
        found = {name: counts_of(entry, evaluation) for name, evaluation in entry.record.evaluations.items()}
    except Failure as error:
        return {}, [plain(error, entry.path.parent)]
    return {name: _table(counts) for name, counts in found.items()}, []


def _table(counts: Counts) -> pd.DataFrame:
    verdicts = {name: counts.verdicts(name) for name in ("sound", *frames.NOT_CORRECT)}
    known = {name: column for name, column in verdicts.items() if column is not None}
    return pd.DataFrame({"problem_id": counts.problem_ids, "n": counts.n_N, "correct": counts.c_N, **known})
