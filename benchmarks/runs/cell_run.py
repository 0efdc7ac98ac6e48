"""Runs one cell of a suite, either an algorithm with a seed or the base, from its spec to its record.

A cell is done if and only if its record can be read and belongs to the requested spec. A call on a finished cell reads
the record back, and a call on an unfinished one continues it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import algorithms
from benchmarks.engines.identity import ModelRef, identify
from benchmarks.engines.pool import EngineSpec
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation.stage import DatasetResult
from benchmarks.files import content_hash, remove_drafts
from benchmarks.outside import Found
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.provenance import now, provenance
from benchmarks.records.schema import BASE, Cell, Point, Record, SuiteRef, write_record
from benchmarks.runs import divergence, status
from benchmarks.runs.cell_training import CellTraining, diverged_record, training_record
from benchmarks.runs.home import claim_home, settle
from benchmarks.runs.lease import hold, saying
from benchmarks.runs.run_folder import (
    POINTS,
    RECORD,
    SOURCE,
    SPEC,
    Place,
    is_begun,
    read_done,
    read_found_at,
    read_spec,
    refuse_another_spec,
    replace_run,
    write_spec,
)
from benchmarks.runs.same_base import copy_evaluations
from benchmarks.runs.suite_evaluation import check_versions, engine_of, evaluate_suite, gaps
from benchmarks.runs.variants import Variant
from benchmarks.seeds import derive
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.gap import Gap
from benchmarks.suites.schema import Suite, parse


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
    variant: Variant | None = None
    """What was changed to make this `suite` of the one that the folder is named after."""
    at: Path | None = None
    """The cell's folder, where it is known; else it follows from the names."""
    found: Found | None = field(default=None, init=False, repr=False)
    """The algorithm's class. The base has none."""

    def __post_init__(self) -> None:
        if self.algorithm != BASE:
            found = algorithms.find(self.algorithm)
            object.__setattr__(self, "found", found)
            object.__setattr__(self, "algorithm", found.name)
        if self.algorithm != BASE:
            self.suite.trained  # noqa: B018  (it says what to do where there is nothing to train)
        self._check_settings()
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; expected 0 or more.")
        if self.algorithm == BASE:  # one base for all cells of a suite: its samples have a seed of their own
            object.__setattr__(self, "seed", 0)
            if self.variant is not None and self.variant.shares_base:
                object.__setattr__(self, "suite", self.variant.of)
                object.__setattr__(self, "variant", None)
        object.__setattr__(self, "place", settle(self.place, self.table))

    def _check_settings(self) -> None:
        """UsageError where the suite has settings for an algorithm that does not exist."""
        known = {*algorithms.ALGORITHMS, self.algorithm}
        asked = [] if self.suite.training is None else [n for n in self.suite.training.algorithms if n not in known]
        if not asked:
            return  # looking up what installed packages offer takes milliseconds, and a grid has many cells
        known |= {*algorithms.known(), *(algorithms.find(other).name for other in self.beside)}
        for name in asked:
            if name not in known:
                raise unknown("algorithm", name, known)

    @property
    def name(self) -> str:
        """The name of the cell's folder: `base` or `<algorithm>-s<seed>`, and `-<variant>` for a variant."""
        return cell_name(self.algorithm, self.seed, self.variant)

    @property
    def folder(self) -> Path:
        """The folder runs/<suite>/<cell>."""
        assert self.place.home is not None
        return self.at or self.place.home / self.name

    @property
    def table(self) -> Suite:
        """The suite whose records this cell's is compared with: a variant that shares its base stands beside it."""
        return self.suite if self.variant is None else self.variant.of

    @property
    def base(self) -> CellRun:
        """The base cell that this one is measured from."""
        others = self.beside if self.found is None else (*self.beside, self.found.reference)
        return CellRun(self.suite, BASE, 0, self.place, others, self.variant)

    def run(self, fresh: bool = False) -> Record:
        """Returns the cell's record. Finished parts are read back, and an interrupted cell continues.

        The base runs first if necessary. If another process runs the cell, this one waits for it and reads what it
        wrote. `fresh`: what the folder holds is moved away first. Raises Failure for a folder that holds another
        question or cannot be read.
        """
        base_model = identify(self.suite.base_path, self.suite.base_revision)
        question = self.question(base_model)
        if not fresh and (record := self.done(question)) is not None and self._is_where_it_was():
            if not self.lacking(record):
                return self._say_done(record)
            self.training.check_points()
        if fresh or not is_begun(self.folder):
            self._check()
        assert self.place.home is not None
        claim_home(self.place.home, self.table)
        with hold(self.folder, saying(self.place.progress, self.folder)) as lease:
            remove_drafts(self.folder)
            if fresh and (moved := replace_run(self.folder)) is not None:
                self.place.progress.say(f"{self.name} starts afresh; what there was is in {moved}.")
            self.claim(question)
            record = self.done(question)
            if record is not None and not self.lacking(record):
                return self._say_done(record)
            if self.algorithm == BASE and (other := copy_evaluations(self.folder, question)) is not None:
                self.place.progress.say(f"{self.name}: its evaluation is that of {other}; nothing is sampled again.")
            with status.reporting(self.folder, self.place.progress):
                record = self._make(base_model, content_hash(question)) if record is None else self._complete(record)
                refuse_another_spec(self.folder, self.question(base_model))  # a task may have been edited meanwhile
                lease.check()
                write_record(self.folder / RECORD, record)
        return record

    def done(self, question: dict[str, Any]) -> Record | None:
        """The record if there is one. Raises Failure if the folder is of another question."""
        if is_begun(self.folder):
            refuse_another_spec(self.folder, question)
        return read_done(self.folder, content_hash(question))

    def _say_done(self, record: Record) -> Record:
        made = record.provenance
        at = f" at {made.commit[:7]}{' with changes' if made.dirty else ''}" if made.commit else ""
        self.place.progress.say(f"{self.name}: finished {made.finished:%Y-%m-%d}{at}, nothing run.")
        return record

    def _make(self, base_model: ModelRef, spec_hash: str) -> Record:
        """Trains and evaluates whatever is not there yet. A training that diverged is recorded and not evaluated."""
        started = now()
        base = None if self.algorithm == BASE else self._base_record()
        trained, diverged = (None, None) if base is None else self._trained()
        results: dict[str, DatasetResult] = {}
        if diverged is None:
            model = base_model if trained is None else identify(str(trained.policy))
            seed = derive("evaluate", self.algorithm, self.seed)
            results = evaluate_suite(self.suite, model, self.place, self.folder, seed, base=base is None)
        training = diverged_record(diverged) if diverged else None if trained is None else training_record(trained)
        apart = self.variant is not None and not self.variant.shares_base
        return Record(
            suite=SuiteRef(name=self.suite.name, hash=(self.suite if apart else self.table).hash),
            cell=Cell(
                algorithm=self.algorithm, seed=None if base is None else self.seed,
                variant=None if self.variant is None else self.variant.name,
                base_model=self.suite.base_model, base_hash=base_model.hash or base_model.revision,
            ),
            settings=self._settings(),
            provenance=provenance(started, now()),
            training=training,
            evaluations={name: result.evaluation(self.folder) for name, result in results.items()},
            gap=None if base is None else self._gaps(base, results, "answer"),
            sound_gap=None if base is None else self._gaps(base, results, "sound"),
            points={} if base is None or diverged else self._points(base, self.suite.evaluation.checkpoints),
            spec_hash=spec_hash,
        )  # fmt: skip

    def _trained(self) -> tuple[Any, divergence.Outcome | None]:
        """The result of the training, and how it diverged if it did."""
        trained = None
        try:
            trained = self.training.run()
        except Failure:
            if divergence.not_finite(self.training.train_folder) is None:
                raise
        return trained, divergence.find(self.training.train_folder, self.suite.trained.rows_per_step)

    def lacking(self, record: Record) -> list[int]:
        """The steps whose checkpoints the suite wants evaluated, and of which the finished record has no point."""
        if self.algorithm == BASE or record.diverged:
            return []
        return [step for step in self.suite.evaluation.checkpoints if step not in record.points]

    def _complete(self, record: Record) -> Record:
        """The finished record with the points that it lacks. Nothing is trained, and its other numbers stay."""
        started, steps = now(), self.lacking(record)
        self.place.progress.say(f"{self.name}: finished; evaluates its checkpoints after steps {steps}.")
        found = self._points(self._base_record(), steps)
        made = provenance(started, now())
        points = record.points | {step: one.model_copy(update={"provenance": made}) for step, one in found.items()}
        settings: dict[str, Any] = copy.deepcopy(record.settings)
        settings["suite"]["evaluation"]["checkpoints"] = sorted(points)
        return record.model_copy(update={"points": dict(sorted(points.items())), "settings": settings})

    def _points(self, base: Record, steps: Sequence[int]) -> dict[int, Point]:
        """The evaluations of the checkpoints after these steps. All of them are looked for before the first is."""
        checkpoints = {step: self.training.checkpoint(step) for step in steps}
        found = {}
        for step, path in checkpoints.items():
            folder, cost, model = (
                self.folder / POINTS / f"step-{step}",
                self.training.cost_by(path),
                identify(str(path)),
            )
            seed = derive("evaluate", self.algorithm, self.seed, "step", step)
            results = evaluate_suite(self.suite, model, self.place, folder, seed)
            found[step] = Point(
                evaluations={name: result.evaluation(self.folder) for name, result in results.items()},
                gap=self._gaps(base, results, "answer"),
                sound_gap=self._gaps(base, results, "sound"),
                tokens=cost.used("tokens"),
                completions=cost.used("completions"),
            )
        return found

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
            refuse_another_spec(self.folder, self.question(identify(self.suite.base_path, self.suite.base_revision)))
            self.training.join()

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

    def claim(self, question: dict[str, Any]) -> None:
        """Writes spec.json into a new folder. Raises Failure for a folder with results of another spec."""
        if is_begun(self.folder):
            refuse_another_spec(self.folder, question)
            if read_found_at(self.folder) == self._found_at():
                return
        write_spec(self.folder, question, self._found_at())

    def question(self, base_model: ModelRef) -> dict[str, Any]:
        """Everything that the record depends on: what spec.json holds, and the cell is known by the hash of."""
        engine = engine_of(self.suite, self.place)
        return {
            "suite": self.suite.asked,
            "base": base_model.identity, "algorithm": self.algorithm, "seed": self.seed,
            "engine": " ".join(filter(None, [engine.name, engine.dtype])), **self.source(),
        }  # fmt: skip

    def source(self) -> dict[str, Any]:
        """Returns the hashes of the code that decides the cell's numbers, by file: other code is another question.

        That is the code of the algorithm, and of built-in tasks and verifiers.
        """
        code = {} if self.found is None else {**self.found.code, **self.suite.trained.dataset.code}
        for dataset in self.suite.evaluation.datasets.values():
            code |= dataset.code
        return {SOURCE: dict(sorted(code.items()))}

    def _is_where_it_was(self) -> bool:
        """Whether the folder's spec says where that is found which is not built in. Files may have moved since."""
        if not (self.folder / SPEC).exists():
            return False
        there, now = read_found_at(self.folder), self._found_at()
        if not self.suite.outside:  # a built-in task is found by its name
            there, now = ({key: value for key, value in one.items() if key != "suite"} for one in (there, now))
        return there == now

    def _found_at(self) -> dict[str, Any]:
        """Returns what a training process needs besides: the suite, and where it finds what is not built in."""
        if self.found is None:
            return {}
        outside: dict[str, Any] = {"suite": self.suite.model_dump(mode="json")}
        if self.found.source is not None:
            outside["algorithm"] = self.found.reference
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
            self.training.check_points()

    @property
    def training(self) -> CellTraining:
        """Returns the training of the cell's policy. The base has none."""
        assert self.found is not None
        return CellTraining(self.suite, self.found, self.seed, self.folder, self.place)

    @classmethod
    def of_folder(cls, folder: Path, place: Place) -> CellRun:
        """Returns the cell that `folder`'s spec.json asks for. This tells a training process what it is part of."""
        asked, found_at = read_spec(folder), read_found_at(folder)
        data = {**found_at["suite"], "name": folder.parent.name, "description": ""}
        algorithm, beside = found_at.get("algorithm", asked["algorithm"]), tuple(found_at.get("beside", ()))
        place = replace(place, home=folder.parent)
        cell = cls(parse(data, str(folder / SPEC)), algorithm, asked["seed"], place, beside, at=folder)
        refuse_another_spec(folder, {**asked, "suite": cell.suite.asked, **cell.source()})
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


def cell_name(algorithm: str, seed: int, variant: Variant | None) -> str:
    """The name of a cell's folder: `base`, `grpo-s0`, `grpo-s0-learning_rate-5e-5`, or `base-k-4`."""
    parts = [algorithm] if algorithm == BASE else [algorithm, f"s{seed}"]
    return "-".join([*parts, *([variant.name] if variant else [])])
