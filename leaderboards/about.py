"""The pages beside the front page: the data and how to cite it, numbers of others as cited, and the changelog.

Nothing here is computed from counts: the data is what `exports.py` writes, and the cited numbers are `citations.py`'s.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment

from benchmarks.files import read_text, write_text_atomic
from leaderboards import changelog, citations, columns, exports, pages
from leaderboards.build import Gathered

FINDINGS = Path(__file__).parent / "FINDINGS.md"
"""What the published records show, in words. It is there in a checkout, and not in an installed wheel."""
DATA = "data"
"""The folder of the data in the site."""


@dataclass(frozen=True)
class Built:
    """What the site was built from, and by what. None of it depends on when or where that was."""

    version: str | None
    """Of this package; None where it is not installed."""
    commit: str | None
    """Of the code that built the site; None where the caller did not say."""
    records: Mapping[str, Any]
    """See `exports.built_from`."""
    is_published: bool
    """Whether the records are the published ones, which the changelog and the findings are about."""


def built(found: Gathered, commit: str | None) -> Built:
    """Says what the site was built from."""
    return Built(_version(), commit, exports.built_from(found.entries), changelog.is_about(found.entries))


def _version() -> str | None:
    try:
        return importlib.metadata.version("rlvr-gap")
    except importlib.metadata.PackageNotFoundError:
        return None


def write(found: Gathered, made: Built, folder: Path, environment: Environment, common: Mapping[str, Any]) -> None:
    """Writes the data and the pages beside the front page. `common`: what every page needs."""
    tables = exports.write(found, folder / DATA)
    contents: dict[str, dict[str, Any]] = {
        "data": {
            "about": exports.ABOUT,
            "keys": {name: pages.as_html(text) for name, text in exports.KEYS.items()},
            "sizes": {f"{name}.csv": len(table) for name, table in tables.items()},
            "columns": described(tables),
            "bibtex": exports.bibtex(dict(made.records)),
        },
        "cited": {"cited": [(one, cited_rows(one)) for one in citations.load()], "ours": _ours(found)},
    }
    if made.is_published:
        contents["changelog"] = {"changelog": pages.as_html(read_text(changelog.FILE))}
        contents["findings"] = {"findings": pages.as_html(read_text(FINDINGS))}
    for name, content in contents.items():
        text = environment.get_template(f"{name}.html.j2").render(up="", **content, **common)
        write_text_atomic(folder / f"{name}.html", text, durable=False)


def described(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, str, list[str]]]:
    """(column, its meaning, the tables that have it), in the order of `columns.py`; ends of intervals are left out."""
    having = {name: [table for table, frame in tables.items() if _has(frame, name)] for name in columns.COLUMNS}
    return [(name, columns.COLUMNS[name], where) for name, where in having.items() if where]


def _has(frame: pd.DataFrame, name: str) -> bool:
    return name in frame or f"{name}_low" in frame  # `between` has two ends alone


@dataclass(frozen=True)
class CitedRow:
    """A row of a cited table: numbers as text, in per cent and points, with as many digits as were printed."""

    label: str
    gap: str
    pass_at_1: str
    pass_at_k: str
    gain_at_1: str
    change_at_k: str


def cited_rows(table: citations.Cited) -> dict[str, list[CitedRow]]:
    """Dataset -> rows, the base first."""
    found: dict[str, list[CitedRow]] = {dataset: [] for dataset in table.datasets}
    for row in citations.frame([table]).to_dict("records"):
        digits = max(0, round(-math.log10(100 * row["rounding"])))
        shares = {name: _text(row[name], f".{digits}f") for name in ("gap", "pass_at_1", "pass_at_k")}
        changes = {name: _text(row[name], f"+.{digits}f") for name in ("gain_at_1", "change_at_k")}
        found[row["dataset"]].append(CitedRow(row["label"], **shares, **changes))
    return found


def _text(share: float, form: str) -> str:
    return "–" if math.isnan(share) else f"{100 * share:{form}}".replace("-", "−")


def _ours(found: Gathered) -> Sequence[str]:
    """The suites of the site with their base models, such as `countdown (embedded:countdown-1m)`."""
    records = [entry.record for entry in found.entries]
    return sorted({f"{one.suite.name} (base model {one.cell.base_model})" for one in records})
