"""Runs one cell of a suite, either an algorithm with a seed or the base, from its spec to its record.

A cell is done if and only if its record can be read and belongs to the requested spec. A call on a finished cell reads
the record back, and a call on an unfinished one continues it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import algorithms
from benchmarks.engines.identity import ModelRef, identify
from benchmarks.engines.pool import EngineSpec
from benchmarks.errors import UsageError, unknown
from benchmarks.evaluation.stage import DatasetResult
from benchmarks.files import content_hash
from benchmarks.outside import Found
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.provenance import now, provenance
from benchmarks.records.schema import BASE, Cell, Record, SuiteRef, write_record
from benchmarks.runs.cell_training import CellTraining, training_record
from benchmarks.runs.run_folder import (
    RECORD,
    SPEC,
    Place,
    read_done,
    read_found_at,
    read_spec,
    refuse_another_spec,
    write_spec,
)
from benchmarks.runs.suite_evaluation import check_versions, engine_of, evaluate_suite, gaps
from benchmarks.seeds import derive
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.gap import Gap
from benchmarks.suites.schema import Suite, parse
from benchmarks.tasks.prompts import CHAT


@dataclass(frozen=True)
class CellRun:
    """One cell, ready to run."""

    suite: Suite
    algorithm: str
    """A name, a reference to an algorithm of one's own (which becomes its name), or `base`."""
    seed: int
    place: Place
    beside: tuple[str, ...] = ()
    """References to other algorithms of one's own that the suite may have settings for."""
    found: Found | None = field(default=None, init=False, repr=False)
    """The algorithm's class. The base has none."""

    def __post_init__(self) -> None:
        if self.algorithm != BASE:
            found = algorithms.find(self.algorithm)
            object.__setattr__(self, "found", found)
            object.__setattr__(self, "algorithm", found.name)
        if self.algorithm != BASE and self.suite.prompt_template == CHAT:
            raise UsageError(f"prompt_template '{CHAT}' is for evaluation; training needs a named template.")
        self._check_settings()
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; expected 0 or more.")
        if self.algorithm == BASE:  # one base for all cells of a suite: its samples have a seed of their own
            object.__setattr__(self, "seed", 0)

    def _check_settings(self) -> None:
        """UsageError where the suite has settings for an algorithm that does not exist."""
        known = {*algorithms.known(), self.algorithm, *(algorithms.find(other).name for other in self.beside)}
        for name in self.suite.training.algorithms:
            if name not in known:
                raise unknown("algorithm", name, known)

    @property
    def name(self) -> str:
        """The name of the cell's folder: `base`, or `<algorithm>-s<seed>`."""
        return BASE if self.algorithm == BASE else f"{self.algorithm}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """The folder runs/<suite>/<cell>."""
        return self.place.out / self.suite.name / self.name

    @property
    def base(self) -> CellRun:
        """The base cell that this one is measured from."""
        others = self.beside if self.found is None else (*self.beside, self.found.reference)
        return CellRun(self.suite, BASE, 0, self.place, others)

    def run(self) -> Record:
        """Returns the cell's record. Finished parts are read back, and an interrupted cell continues.

        The base runs first if necessary. Raises Failure for a folder that holds another question or cannot be read.
        """
        started = now()
        base_model = identify(self.suite.base_path, self.suite.base_revision)
        spec_hash = self.claim(base_model)
        if (record := read_done(self.folder, spec_hash)) is not None:
            return record
        base = None if self.algorithm == BASE else self._base_record()
        trained = None if base is None else self.training.run()
        model = base_model if trained is None else identify(str(trained.policy))
        seed = derive("evaluate", self.algorithm, self.seed)
        results = evaluate_suite(self.suite, model, self.place, self.folder, seed, base=base is None)
        record = Record(
            suite=SuiteRef(name=self.suite.name, hash=self.suite.hash),
            cell=Cell(
                algorithm=self.algorithm, seed=None if base is None else self.seed, variant=None,
                base_model=self.suite.base_model, base_hash=base_model.hash or base_model.revision,
            ),
            settings=self._settings(),
            provenance=provenance(started, now()),
            training=None if trained is None else training_record(trained),
            evaluations={name: result.evaluation(self.folder) for name, result in results.items()},
            gap=None if base is None else self._gaps(base, results, "answer"),
            sound_gap=None if base is None else self._gaps(base, results, "sound"),
            spec_hash=spec_hash,
        )  # fmt: skip
        refuse_another_spec(self.folder, self._question(base_model))  # a task may have been edited while this ran
        write_record(self.folder / RECORD, record)
        return record

    def _gaps(self, base: Record, results: Mapping[str, DatasetResult], verdict: JudgedBy) -> dict[str, Gap]:
        return gaps(base, self.base.folder, results, self.suite.evaluation.k, verdict)

    def join(self) -> None:
        """Takes part in the training as one of the machines that are not the first.

        It waits until the first one has written the cell's spec and evaluated the base, or has finished the cell.
        """
        if self.algorithm == BASE:
            return
        with self.place.progress.stage("wait for the first machine", unit="s") as stage:
            while not self._is_ready():
                time.sleep(1)
                stage.advance(1)
        if not (self.folder / RECORD).exists():
            self.claim(identify(self.suite.base_path, self.suite.base_revision))
            self.training.start()

    def _is_ready(self) -> bool:
        base_is_done = (self.folder / SPEC).exists() and (self.base.folder / RECORD).exists()
        return base_is_done or (self.folder / RECORD).exists()

    def _base_record(self) -> Record:
        """Returns the base's record. It reports damaged counts or other task or verifier versions before training."""
        base = self.base.run()
        for name, source in self.suite.evaluation.datasets.items():
            task = source.make_task()
            check_versions(base, self.base.folder, name, task.version, source.make_verifier().version)
            read_evaluated(base.evaluations[name], self.base.folder)
        return base

    # -------------------------------------------------------------------------------- the spec

    def claim(self, base_model: ModelRef) -> str:
        """Writes spec.json into a new folder and returns its hash. Raises Failure for a folder with another spec.

        What must fail is refused before, because a folder with a wrong spec would stand in the way of the right one.
        """
        question = self._question(base_model)
        if (self.folder / SPEC).exists():
            refuse_another_spec(self.folder, question)
            if read_found_at(self.folder) == self._found_at():
                return content_hash(question)
        else:
            self._check()
        write_spec(self.folder, question, self._found_at())
        return content_hash(question)

    def _question(self, base_model: ModelRef) -> dict[str, Any]:
        """Returns what the folder is claimed for."""
        engine = engine_of(self.suite, self.place)
        return {
            "suite": self.suite.asked,
            "base": base_model.identity, "algorithm": self.algorithm, "seed": self.seed,
            "engine": " ".join(filter(None, [engine.name, engine.dtype])), **self._source(),
        }  # fmt: skip

    def _source(self) -> dict[str, Any]:
        """Returns the hash of each file of an algorithm that is not built in: another text is another algorithm."""
        return {} if self.found is None or self.found.source is None else {"source": self.found.source.hashes}

    def _found_at(self) -> dict[str, Any]:
        """Returns where a training process finds what is not built in."""
        if self.found is None:
            return {}
        outside: dict[str, Any] = {} if self.found.source is None else {"algorithm": self.found.reference}
        if self.suite.outside:
            outside["suite"] = self.suite.model_dump(mode="json")
        if self.beside:
            outside["beside"] = list(self.beside)
        return outside

    def _check(self) -> None:
        """Raises UsageError for problems that do not exist and settings that are unknown or cannot work together."""
        engine = engine_of(self.suite, self.place)
        EngineSpec(engine.name, "", settings=engine.settings).check()
        for dataset in self.suite.evaluation.datasets.values():
            dataset.load()
        if self.algorithm != BASE:
            self.training.check()

    @property
    def training(self) -> CellTraining:
        """Returns the training of the cell's policy. The base has none."""
        assert self.found is not None
        return CellTraining(self.suite, self.found, self.seed, self.folder, self.place)

    @classmethod
    def of_folder(cls, folder: Path, place: Place) -> CellRun:
        """Returns the cell that `folder`'s spec.json asks for. This tells a training process what it is part of."""
        asked, found_at = read_spec(folder), read_found_at(folder)
        data = {**found_at.get("suite", asked["suite"]), "name": folder.parent.name, "description": ""}
        algorithm, beside = found_at.get("algorithm", asked["algorithm"]), tuple(found_at.get("beside", ()))
        place = replace(place, out=folder.parent.parent)
        cell = cls(parse(data, str(folder / SPEC)), algorithm, asked["seed"], place, beside)
        refuse_another_spec(folder, {**asked, "suite": cell.suite.asked, **cell._source()})
        return cell

    def _settings(self) -> dict[str, Any]:
        """Returns all settings, resolved: the suite's, the algorithm's own, and every field that TRL was given.

        Of tasks and verifiers that are not built in, it holds the source as well.
        """
        sources = self.suite.sources
        return {
            "suite": self.suite.model_dump(mode="json"),
            **({"sources": sources} if sources else {}),
            **({} if self.algorithm == BASE else self.training.settings()),
        }
