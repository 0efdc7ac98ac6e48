"""Writes the data behind the leaderboard, for programs: `rlvr-gap export RUNS --level all --to FOLDER`.

    data.json            all tables, what their columns mean, and what they were built from
    <table>.csv          each table by itself
    leaderboard.bib      how to cite them

docs/data.md describes the files. Everything follows from the records: the same records give the same bytes, and the
date is that of the newest of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.files import content_hash, write_json_atomic, write_text_atomic
from benchmarks.records.schema import Record
from leaderboards import frames
from leaderboards.build import Gathered, gather
from leaderboards.columns import meaning
from leaderboards.load import Broken, Entry
from leaderboards.sections import Section

SCHEMA = 1
"""Of data.json and the CSV files. It rises when a column changes its name or meaning, or goes; not for a new one."""

TABLES: dict[str, Callable[[Sequence[Section], Sequence[Entry]], pd.DataFrame]] = {
    "table": lambda sections, entries: frames.table(sections),
    "equal_tokens": lambda sections, entries: frames.equal_tokens(sections),
    "cells": frames.cells,
    "points": lambda sections, entries: frames.points(sections),
    "curves": lambda sections, entries: frames.curves(sections),
}
"""Name -> what makes it. A row is what frames.py says."""


ABOUT = {
    "data.json": "everything below in one file",
    "table.csv": "algorithms: means over seeds",
    "equal_tokens.csv": "algorithms at equal generated tokens",
    "cells.csv": "single runs, with costs and settings",
    "points.csv": "models that were evaluated along each training",
    "curves.csv": "pass@k for k = 1, 2, 4, ...",
    "leaderboard.bib": "BibTeX entries of the leaderboard and of the paper whose comparison it repeats",
}
"""File -> what it holds."""
KEYS = {
    "schema": f"{SCHEMA}. It rises when a column changes its name or its meaning, or goes; a new column does not raise "
    "it.",
    "built_from": "`version` (a hash of all records), `date` (of the newest record), `records` (their number), "
    "`suites` (hash to name), `commits`, and `packages` (versions of this project)",
    "columns": "for each table, what each column means",
    "tables": "for each table, its rows as objects; a missing value is null",
    "left_out": "records, counts and logs that could not be used: `where` and `reason`",
}
"""Key of data.json -> what it holds."""


def write_all(runs: Path, folder: Path) -> list[str]:
    """Writes all files into the folder, and returns why records were left out. Errors as in `load.load`."""
    found = gather(runs, folder / "data.json")
    write(found, folder)
    return [str(one) for one in found.broken]


def write(found: Gathered, folder: Path) -> dict[str, pd.DataFrame]:
    """Writes all files into the folder, and returns the tables by name."""
    ordered = sorted(found.entries, key=lambda entry: entry.where)
    made = {name: make(found.sections, ordered) for name, make in TABLES.items()}
    for name, table in made.items():
        write_text_atomic(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    built = built_from(ordered)
    write_json_atomic(folder / "data.json", _data(made, built, found.broken))
    write_text_atomic(folder / "leaderboard.bib", bibtex(built))
    return made


def built_from(entries: Sequence[Entry]) -> dict[str, Any]:
    """What the tables were built from: the version is a hash of all records, the date that of the newest."""
    records = [entry.record for entry in entries]
    dates = [one.provenance.finished for one in records if one.provenance.finished is not None]
    return {
        "version": content_hash(sorted(entry.sha256 for entry in entries))[:12],
        "date": f"{max(dates):%Y-%m-%d}" if dates else None,
        "records": len(entries),
        "suites": {one.suite.hash: one.suite.name for one in sorted(records, key=_suite)},
        "commits": sorted({one.provenance.commit for one in records if one.provenance.commit}),
        "packages": sorted({v for one in records if (v := one.provenance.versions.get("rlvr-gap"))}),
    }


def _suite(record: Record) -> tuple[str, str]:
    return record.suite.name, record.suite.hash


def _data(made: dict[str, pd.DataFrame], built: dict[str, Any], broken: Sequence[Broken]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "built_from": built,
        "columns": {name: {column: meaning(column) for column in table} for name, table in made.items()},
        "tables": {name: rows(table) for name, table in made.items()},
        "left_out": [{"where": one.where, "reason": one.reason} for one in broken],
    }


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON has them: null where a value is missing, and dates as text."""
    text = table.to_json(orient="records", date_format="iso", double_precision=15)
    return list(json.loads(text))


def bibtex(built: dict[str, Any]) -> str:
    """BibTeX entries of the leaderboard as it was built, and of the paper whose comparison it repeats."""
    suites = ", ".join(f"{name} ({key})" for key, name in built["suites"].items())
    year = f"  year    = {{{built['date'][:4]}}},\n" if built["date"] else ""
    return (
        "@misc{rlvr_gap_leaderboard,\n"
        "  title   = {{RLVR} Gap: leaderboard of the sampling efficiency gap},\n"
        "  author  = {{The RLVR Gap authors}},\n"
        f"{year}"
        f"  version = {{{built['version']}}},\n"
        f"  note    = {{{built['records']} records up to {built['date']}; suites: {suites}}}\n"
        "}\n\n"
        "@article{yue2025does,\n"
        "  title   = {Does Reinforcement Learning Really Incentivize Reasoning Capacity in {LLMs} Beyond the Base "
        "Model?},\n"
        "  author  = {Yue, Yang and Chen, Zhiqi and Lu, Rui and Zhao, Andrew and Wang, Zhaokai and Yue, Yang and "
        "Song, Shiji and Huang, Gao},\n"
        "  journal = {arXiv preprint arXiv:2504.13837},\n"
        "  year    = {2025}\n"
        "}\n"
    )
