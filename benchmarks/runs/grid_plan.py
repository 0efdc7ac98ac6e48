"""Which cells a grid has: the base, and every algorithm, seed and variant. A spec's hash tells which ones are finished.

runs/<suite>/grid.json    the cells that all grids of this folder were to run, for `rlvr-gap status`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import algorithms
from benchmarks.engines.identity import ModelRef, identify, is_local
from benchmarks.errors import Failure, UsageError
from benchmarks.files import content_hash, loads_strict, read_text, write_json_atomic
from benchmarks.records.schema import BASE, read_record
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.home import settle
from benchmarks.runs.lease import hold
from benchmarks.runs.run_folder import RECORD, Place
from benchmarks.runs.variants import tuned_cell, variant_of
from benchmarks.suites.preset import Preset
from benchmarks.suites.schema import Suite

FILE = "grid.json"
LOGS = "logs"


@dataclass(frozen=True)
class GridCell:
    """One cell of a grid."""

    run: CellRun
    spec_hash: str
    needs: tuple[str, ...] = ()
    """Names of the cells that come before it."""

    @property
    def name(self) -> str:
        """Of the cell's folder."""
        return self.run.name

    @property
    def is_done(self) -> bool:
        """Whether the cell's record is there, answers its question, and has all points that the suite asks for.

        It is validated when it is used.
        """
        path = self.run.folder / RECORD
        if not path.exists():
            return False
        try:
            record = loads_strict(read_text(path))
            if record["spec_hash"] != self.spec_hash:
                return False
            steps = self.run.suite.evaluation.checkpoints
            return not steps or not self.run.lacking(read_record(path))
        except (Failure, ValueError, KeyError, TypeError):
            return False

    @property
    def log(self) -> Path:
        """Where a launcher writes what the cell's command prints."""
        return self.run.folder.parent / LOGS / f"{self.name}.log"


@dataclass
class Questions:
    """Makes the hash of each cell's question from parts that many cells have in common."""

    guess: bool = False
    """Whether a model of the hub that cannot be reached gets a made-up identity, of which no cell is done."""
    models: dict[str, ModelRef] = field(default_factory=dict)
    asked: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By the suite's identity: the plan keeps all suites alive."""

    def hash(self, run: CellRun) -> str:
        """The hash that the cell's spec.json and record have."""
        suite = run.suite
        if suite.base_model not in self.models:
            self.models[suite.base_model] = self._identify(suite)
        source = run.source()
        if id(suite) not in self.asked:
            question = run.question(self.models[suite.base_model])
            self.asked[id(suite)] = {key: value for key, value in question.items() if key not in source}
        return content_hash(self.asked[id(suite)] | {"algorithm": run.algorithm, "seed": run.seed} | source)

    def _identify(self, suite: Suite) -> ModelRef:
        try:
            return identify(suite.base_path, suite.base_revision)
        except (UsageError, Failure, OSError):
            if not self.guess or is_local(suite.base_path):
                raise
            return ModelRef(suite.base_path, None, "not found")


def plan(
    suite: Suite,
    asked: Sequence[str],
    seeds: Sequence[str],
    place: Place,
    variants: Sequence[Sequence[str]] = ((),),
    *,
    preset: Preset | None = None,
    guess: bool = False,
) -> list[GridCell]:
    """The bases, then all algorithms and variants of the first seed, of the second, and so on.

    `variants`: lists of changes; an empty one is the suite itself. `preset`: in their place, each algorithm has the one
    variant that the preset makes of it. `guess`: a model of the hub need not be reached. Raises UsageError for unknown
    names and values.
    """
    names, numbers = _algorithms(asked), _seeds(seeds)
    beside = own(names)
    questions, cells = Questions(guess), dict[str, GridCell]()
    shared = [] if preset else [variant_of(suite, changes) for changes in variants]
    made = {name: [tuned_cell(suite, preset, name)] if preset else shared for name in names}
    place = settle(place, suite)  # once for all
    kinds = shared or [pair for one in made.values() for pair in one] or [(suite, None)]
    bases = {id(s): CellRun(s, BASE, 0, place, beside, v) for s, v in kinds}
    for run in bases.values():
        cells.setdefault(run.name, GridCell(run, questions.hash(run)))
    for seed in numbers:
        for name in names:
            for s, v in made[name]:
                run = CellRun(s, name, seed, place, beside, v)
                if run.name in cells:
                    raise UsageError(f"two cells of this grid would be called {run.name}: give other values.")
                cells[run.name] = GridCell(run, questions.hash(run), (bases[id(s)].name,))
    return list(cells.values())


def alone(run: CellRun) -> list[GridCell]:
    """The cell and the base that it is measured from, as a grid of their own."""
    questions = Questions()
    base = GridCell(run if run.algorithm == BASE else run.base, "")
    cells = [replace(base, spec_hash=questions.hash(base.run))]
    return cells if run.algorithm == BASE else [*cells, GridCell(run, questions.hash(run), (base.name,))]


def _algorithms(given: Sequence[str]) -> list[str]:
    """References without doubles, by default all that are built in. Two of one name would share their folders."""
    references = list(dict.fromkeys(given)) or list(algorithms.ALGORITHMS)
    seen: dict[str, str] = {}
    for reference in (one for one in references if one != BASE):
        name = algorithms.find(reference).name
        if name in seen:
            raise UsageError(f"{seen[name]} and {reference} have the same name, '{name}': give one of them another.")
        seen[name] = reference
    return list(seen.values())


def own(references: Sequence[str]) -> tuple[str, ...]:
    """Those that are not built in: the suite may have settings for any of them."""
    return tuple(one for one in references if one not in algorithms.ALGORITHMS)


def _seeds(given: Sequence[str]) -> list[int]:
    for seed in given:
        if not seed.isdecimal():
            raise UsageError(f"seed '{seed}' is not a whole number of at least 0.")
    return [int(seed) for seed in dict.fromkeys(given)] or [0]


def note_plan(home: Path, cells: Sequence[GridCell]) -> None:
    """Adds the cells to those that the folder's grids are to run."""
    with hold(home):
        planned = read_plan(home)
        merged = {**planned, **{cell.name: {"spec_hash": cell.spec_hash, "log": str(cell.log)} for cell in cells}}
        if merged != planned:
            write_json_atomic(home / FILE, {"schema": 1, "cells": merged})


def read_plan(home: Path) -> Mapping[str, Mapping[str, str]]:
    """Cell -> hash of its spec and path of its log, for all cells of the folder's grids. Damaged: Failure."""
    path = home / FILE
    if not path.exists():
        return {}
    try:
        return dict(loads_strict(read_text(path))["cells"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is damaged ({error}): remove it; the next grid writes it again.") from error
