"""A study before anything runs: what one algorithm is tuned on, over what, at what cost, and what the study is called.

The name holds a hash of all that decides a trial, so two people who ask for different things have different studies,
and two who ask for the same join one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import algorithms
from algorithms.space import Axis
from benchmarks.errors import UsageError, unknown
from benchmarks.files import content_hash
from benchmarks.outside import Found
from benchmarks.records.schema import BASE
from benchmarks.records.study import Objective
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.home import settle
from benchmarks.runs.run_folder import Place
from benchmarks.runs.variants import Variant
from benchmarks.suites.datasets import Dataset
from benchmarks.suites.schema import Suite, parse, with_changes
from benchmarks.suites.sweep import SweepSettings
from benchmarks.sweeps.space import axes_of, defaults, to_json
from benchmarks.sweeps.study_files import FOLDER

VALIDATION = "validation"
"""The one dataset of a trial."""
OBJECTIVES: tuple[Objective, ...] = ("gap", "pass_at_1", "pareto")
PROBLEMS = 128
FRESH = 101
"""Seeds from here on play no part in choosing a setting."""


def read_objective(name: str) -> Objective:
    """Returns the objective of that name. UsageError if there is none."""
    for known in OBJECTIVES:
        if known == name:
            return known
    raise unknown("objective", name, OBJECTIVES)


@dataclass(frozen=True)
class StudyPlan:
    """One algorithm, tuned on one suite."""

    suite: Suite
    algorithm: str
    """A name, or a reference to an algorithm of one's own."""
    place: Place
    objective: Objective = "gap"
    trials: int | None = None
    """In place of the suite's own number."""

    def __post_init__(self) -> None:
        read_objective(self.objective)

    @functools.cached_property
    def found(self) -> Found:
        """The algorithm's class."""
        if self.algorithm == BASE:
            raise UsageError("the base is not trained, so there is nothing to tune: name an algorithm.")
        return algorithms.find(self.algorithm)

    @property
    def settings(self) -> SweepSettings:
        """The suite's section `sweep`. UsageError if there is none."""
        if self.suite.sweep is None:
            raise UsageError(
                f"suite '{self.suite.name}' has no section 'sweep': add `sweep: {{tokens: N}}`, the tokens that a "
                "trial may generate (docs/sweeps.md)."
            )
        return self.suite.sweep

    @property
    def n_trials(self) -> int:
        """How many trials the study has."""
        return self.trials or self.settings.trials

    @functools.cached_property
    def tuned(self) -> Suite:
        """The suite of all trials: it differs in what is evaluated, and in the budget."""
        data, settings = self.suite.model_dump(mode="json"), self.settings
        data["evaluation"] |= {
            "datasets": {VALIDATION: self.dataset.model_dump(mode="json")}, "design": {"rounds": [settings.samples]},
            "base_design": None, "k": settings.samples, "checkpoints": [],
        }  # fmt: skip
        data["training"] |= {"budget": {"tokens": settings.tokens}, "keep_steps": []}
        return parse(data, f"sweep of {self.suite.name}")

    @functools.cached_property
    def dataset(self) -> Dataset:
        """What settings are chosen on. UsageError if it is trained on, or reported."""
        trained = self.suite.trained.dataset
        dataset = self.settings.dataset
        if dataset is None:
            whole = Dataset(task=trained.task, split=VALIDATION, settings=trained.settings)
            dataset = whole.model_copy(update={"problems": min(PROBLEMS, len(whole.load()))})
        for key, other in {"training.dataset": trained, **self.suite.datasets}.items():
            same = (other.task, other.split, other.settings) == (dataset.task, dataset.split, dataset.settings)
            if same:
                raise UsageError(
                    f"sweep.dataset is {key}, split '{other.split}' of {other.task}: settings must be chosen on "
                    "problems that are neither trained on nor reported."
                )
        return dataset

    @functools.cached_property
    def axes(self) -> dict[str, Axis]:
        """What is searched, by suite path."""
        return axes_of(self.suite, self.found)

    @functools.cached_property
    def asked(self) -> dict[str, Any]:
        """All that decides a trial."""
        return {
            "suite": self.suite.asked, "sweep": self.settings.model_dump(mode="json"), "trials": self.n_trials,
            "algorithm": self.found.name, "objective": self.objective, "space": to_json(self.axes),
            "dataset": self.dataset.asked,
            "source": {**self.found.code, **self.suite.trained.dataset.code, **self.dataset.code},
        }  # fmt: skip

    @property
    def name(self) -> str:
        """Such as `grpo-gap-1a2b3c4d`."""
        return f"{self.found.name}-{self.objective}-{content_hash(self.asked)[:8]}"

    @functools.cached_property
    def folder(self) -> Path:
        """runs/<suite>/sweeps/<study>."""
        home = settle(self.place, self.suite).home
        assert home is not None
        return home / FOLDER / self.name

    def study_json(self, storage: str | None) -> Mapping[str, Any]:
        """What study.json holds. `storage`: a database without its password, or None."""
        settings = self.settings
        return {
            "schema": 1, "study": self.name, "suite": {"name": self.suite.name, "hash": self.suite.hash},
            "algorithm": self.found.name, "objective": self.objective, "k": settings.samples, "trials": self.n_trials,
            "budget": {"unit": "tokens", "amount": settings.tokens},
            "rungs": [round(100 * rung) for rung in settings.rungs],
            "default": defaults(self.suite, self.found, self.axes), "space": to_json(self.axes),
            "sweep": settings.model_dump(mode="json"), "source": self.asked["source"], "storage": storage,
        }  # fmt: skip

    # ------------------------------------------------------------------------------------------------ its cells

    def trial_cell(self, number: int, changes: tuple[str, ...]) -> CellRun:
        """The cell of a trial. UsageError if its settings cannot work together."""
        return self._cell(f"trials/trial-{number:04d}", self.settings.seed, changes, f"trial-{number:04d}")

    def default_cells(self) -> list[CellRun]:
        """The default setting with fresh seeds."""
        seeds = range(FRESH, FRESH + self.settings.repeats)
        return [self._cell(f"repeats/default-s{seed}", seed, (), "") for seed in seeds]

    def finalist_cells(self, number: int, changes: tuple[str, ...], seeds: int) -> list[CellRun]:
        """The setting of a trial with fresh seeds, the first of which the default has had as well."""
        name = f"trial-{number:04d}"
        return [self._cell(f"repeats/{name}-s{seed}", seed, changes, name) for seed in range(FRESH, FRESH + seeds)]

    def _cell(self, folder: str, seed: int, changes: tuple[str, ...], label: str) -> CellRun:
        variant = Variant(self.tuned, changes, label) if changes else None
        place = replace(self.place, home=self.folder)
        asked = with_changes(self.tuned, changes)
        return CellRun(asked, self.algorithm, seed, place, variant=variant, at=self.folder / folder)
