"""Grades a run again with today's verifier: first its datasets (`regrade_dataset.py`), then its record.

    rlvr-gap evaluate runs/countdown/grpo-s0 --regrade

The base comes first, because the gap of every other cell is measured from its counts, and a gap between two versions of
a verifier is refused. The new record replaces the old one in one step. If a re-grade is interrupted before, the old
record no longer fits its counts, which every reader reports; the same command then continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.engines.pool import EnginePool, EngineSpec
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation.plan import Question, read_question
from benchmarks.evaluation.regrade_dataset import Regrade, regrade
from benchmarks.evaluation.stage import DatasetResult, read_result
from benchmarks.files import content_hash
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.provenance import now, provenance
from benchmarks.records.schema import BASE, Point, Record, SuiteRef, read_record, write_record
from benchmarks.runs.lease import Lease, hold, saying
from benchmarks.runs.model_run import EXTERNAL
from benchmarks.runs.run_folder import (
    EVAL,
    POINTS,
    RECORD,
    SOURCE,
    SPEC,
    TRAIN,
    Place,
    base_of,
    read_done,
    read_found_at,
    read_spec,
    write_spec,
)
from benchmarks.runs.suite_evaluation import check_versions, engine_of, gaps
from benchmarks.settings import Stops
from benchmarks.statistics.designs import VERDICTS, JudgedBy
from benchmarks.statistics.gap import Gap
from benchmarks.suites.schema import Suite, parse


@dataclass(frozen=True)
class RunRegrade:
    """The outcome of a re-grade."""

    record: Record
    datasets: dict[str, Regrade]
    stale: tuple[Path, ...]
    """Runs whose gaps were measured from this base before it changed."""


@dataclass(frozen=True)
class RunFolder:
    """A finished run of a cell or a model, read from its folder."""

    folder: Path
    record: Record
    suite: Suite

    @classmethod
    def read(cls, folder: Path) -> RunFolder:
        """Reads the run. UsageError for an imported run or no run at all; Failure for an unfinished or damaged one."""
        if not (folder / EVAL).is_dir() and not (folder / RECORD).exists():
            raise UsageError(f"{folder} is not the folder of a run: expected {EVAL}/ and {RECORD} in it.")
        record = read_done(folder)
        if record is None:
            raise Failure(f"{folder} has no {RECORD}: finish the run first, with the command that began it.")
        if record.imported is not None:
            raise UsageError(f"{folder} was imported from counts: there are no completions to grade.")
        if record.diverged:
            raise UsageError(f"{folder} has no evaluations, because its training diverged: there is nothing to grade.")
        return cls(folder, record, parse(record.settings.get("suite"), str(folder / RECORD)))

    @property
    def base_folder(self) -> Path:
        """What the run is measured from."""
        return base_of(self.folder, self.record.cell.variant)

    def base(self) -> Record | None:
        """The record that the gaps are measured from. None for the base itself and for a run without gaps."""
        if self.record.cell.algorithm == BASE:
            return None
        base = read_done(self.base_folder)
        if base is not None and base.suite.hash == self.record.suite.hash:
            return base
        if self.record.gap:
            raise Failure(
                f"{self.base_folder} has no record of this suite to measure the gap from; if its stops have changed, "
                "re-grade the base first."
            )
        return None

    def regrade(
        self, place: Place, datasets: Sequence[str] = (), model: str | None = None, stops: Stops | None = None
    ) -> RunRegrade:
        """Grades the datasets (by default all of them) and makes the record again.

        `stops` cut the completions of all datasets anew, and are from then on those of the run's suite.
        If the new verdicts need more samples, they are drawn from `model`, by default the run's own. The record is read
        again under the folder's lease, because another process may have changed it since.
        """
        with hold(self.folder, saying(place.progress, self.folder)) as lease:
            run = RunFolder.read(self.folder)
            if stops is not None:
                run = run._with_stops(stops, datasets)
            return run._regrade(place, datasets, model, lease)

    def _with_stops(self, stops: Stops, datasets: Sequence[str]) -> RunFolder:
        """Returns the run as one of the suite with these stops. Nothing is written."""
        if datasets and set(datasets) != set(self.record.evaluations):
            raise UsageError("other stops are for all datasets of a run, so --dataset does not go with them.")
        if self.record.suite.hash != self.suite.hash:
            raise UsageError(
                f"{self.folder} is no run of its suite as it stands (but a variant, or of an earlier version): its "
                "stops cannot be changed."
            )
        suite = self.suite.model_copy(update={"stops": stops})
        settings = {**self.record.settings, "suite": suite.model_dump(mode="json")}
        changed = {"suite": SuiteRef(name=suite.name, hash=suite.hash), "settings": settings}
        return replace(self, suite=suite, record=self.record.model_copy(update=changed))

    def _renew_spec(self, names: Sequence[str]) -> str:
        """Makes the run's spec one of its suite and of today's code of the verifiers, and returns the spec's hash."""
        question, found_at = read_spec(self.folder), read_found_at(self.folder)
        question["suite"] = self.suite.asked
        for name in names:
            question[SOURCE] = {**question.get(SOURCE, {}), **self.suite.evaluation.datasets[name].verifier_code}
        if "suite" in found_at:
            found_at["suite"] = self.suite.model_dump(mode="json")
        write_spec(self.folder, question, found_at)
        return content_hash(question)

    def _regrade(self, place: Place, datasets: Sequence[str], model: str | None, lease: Lease) -> RunRegrade:
        names = list(datasets) or list(self.record.evaluations)
        for name in names:
            if name not in self.record.evaluations:
                raise unknown(f"dataset of {self.folder}", name, self.record.evaluations)
            read_result(self.folder / EVAL / name)  # damaged: said before anything is changed
        base = self.base()
        if base is not None:
            self._check_base(base, names)
        graded = {name: self._grade(name, place, model) for name in names}
        results = {name: done.result for name, done in graded.items() if done.result is not None}
        points = {step: self._regrade_point(step, names, place, base) for step in self.record.points}
        record = self._record(results, base).model_copy(update={"points": points})
        lease.check()
        if (self.folder / SPEC).exists():
            record = record.model_copy(update={"spec_hash": self._renew_spec(names)})
        write_record(self.folder / RECORD, record)
        return RunRegrade(record, graded, self._stale(record))

    def _verifier(self, name: str) -> Any:
        return self.suite.verifier_of(name)

    def _check_base(self, base: Record, names: Sequence[str]) -> None:
        """Raises Failure if the base's counts are damaged or come from another version of the verifier than today's."""
        for name in names:
            found, folder = base.evaluations[name], self.base_folder
            check_versions(base, folder, name, found.versions.task, self._verifier(name).version)
            read_evaluated(found, folder)

    def _regrade_point(self, step: int, names: Sequence[str], place: Place, base: Record | None) -> Point:
        """The same for the policy after one of its training steps."""
        old, checkpoint = self.record.points[step], step * self.suite.trained.updates_per_step
        folder, model = self.folder / POINTS / f"step-{step}", self.folder / TRAIN / f"checkpoint-{checkpoint}"
        graded = {name: self._grade(name, place, str(model), folder).result for name in names}
        results = {name: result for name, result in graded.items() if result is not None}
        found, sound = (self._gaps(base, results, verdict) for verdict in VERDICTS)
        evaluations = {**old.evaluations, **{n: r.evaluation(self.folder) for n, r in results.items()}}
        changed = {"evaluations": evaluations, "gap": {**old.gap, **found}, "sound_gap": {**old.sound_gap, **sound}}
        return old.model_copy(update=changed)

    def _grade(self, name: str, place: Place, model: str | None, run: Path | None = None) -> Regrade:
        """Grades without a model first, and with one only if that is not enough."""
        folder, problems = (run or self.folder) / EVAL / name, self.suite.evaluation.datasets[name].load()
        stops = self.suite.template.stops if self.suite.stops is not None else None
        done = regrade(folder, problems, self._verifier(name), stops=stops, progress=place.progress)
        if done.result is not None:
            return done
        question = read_question(folder)
        lacking = f"the new verdicts need more samples of {len(done.lacking)} problems of '{name}'"
        path, revision = self.model(model, lacking)
        with self.pool(question, path, revision, place) as pool:
            return regrade(
                folder, problems, self._verifier(name), pool=pool, template=self.suite.template, stops=stops,
                progress=place.progress,
            )  # fmt: skip

    def pool(self, question: Question, model: str, revision: str | None, place: Place) -> EnginePool:
        """Returns engines that sample as the run did: with the settings that its engine had, and its precision."""
        engine = engine_of(self.suite, replace(place, engine=question.engine))
        spec = EngineSpec(question.engine, model, revision, dict(engine.settings)).with_precision(question.precision)
        return EnginePool(spec, engine.workers, question.rows_per_batch)

    def model(self, asked: str | None, why: str) -> tuple[str, str | None]:
        """Returns what the run sampled from, or `asked`, with the hub's revision. Raises Failure if it is unknown.

        `why` says in the error what the model was needed for.
        """
        if asked is not None:
            return asked, None
        if self.record.cell.algorithm == BASE:
            return self.suite.base_path, self.suite.base_revision
        if self.record.cell.algorithm != EXTERNAL:
            from algorithms.train import FINAL

            return str(self.folder / TRAIN / FINAL), None
        path, at, revision = str(self.record.settings.get("model")).rpartition("@")
        if at:  # of the hub: a folder is known by its hash alone
            return path, revision
        raise Failure(f"{why}: choose a --model.")

    def _record(self, results: dict[str, DatasetResult], base: Record | None) -> Record:
        old, today = self.record, provenance(now(), now())
        made = {"commit": today.commit, "dirty": today.dirty, "command": today.command}
        found, sound = (self._gaps(base, results, verdict) for verdict in VERDICTS)
        return old.model_copy(
            update={
                "evaluations": {**old.evaluations, **{n: r.evaluation(self.folder) for n, r in results.items()}},
                "gap": None if old.gap is None else {**old.gap, **found},
                "sound_gap": None if old.gap is None else {**(old.sound_gap or {}), **sound},
                "settings": {**old.settings, "regraded": {**made, "versions": dict(today.versions), **self._sources()}},
                "provenance": old.provenance.model_copy(update={"finished": today.finished}),
            }
        )

    def _sources(self) -> dict[str, Any]:
        """Returns today's source of tasks and verifiers that are not built in; `sources` keeps that of the training."""
        sources = self.suite.sources
        return {"sources": sources} if sources else {}

    def _gaps(self, base: Record | None, results: dict[str, DatasetResult], verdict: JudgedBy) -> dict[str, Gap]:
        return gaps(base, self.base_folder, results, self.suite.evaluation.k, verdict) if base else {}

    def _stale(self, record: Record) -> tuple[Path, ...]:
        """Returns the other runs of the suite that have a gap, if this is a base whose results changed."""
        if record.cell.algorithm != BASE or _said(record) == _said(self.record):
            return ()
        found = []
        for path in sorted(self.folder.parent.glob(f"*/{RECORD}")):
            try:
                other = read_record(path)
            except Failure:
                continue  # one that cannot be read is said by whatever reads it for its own sake
            if other.suite.hash == record.suite.hash and other.gap:
                found.append(path.parent)
        return tuple(found)


def _said(record: Record) -> dict[str, Any]:
    """Returns what gaps are measured from, and the verifier's version."""
    return {name: (found.counts.sha256, found.versions) for name, found in record.evaluations.items()}
