"""Evaluates any model on a suite's datasets: `rlvr-gap evaluate MODEL`. It may be a checkpoint or trained elsewhere.

runs/<suite>/model-<name>/    plan and files of each dataset under eval/, and record.json last
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines.identity import ModelRef, identify
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation.stage import DatasetResult
from benchmarks.files import remove_drafts
from benchmarks.records.provenance import now, provenance
from benchmarks.records.schema import BASE, Cell, Record, SuiteRef, write_record
from benchmarks.runs.home import settle
from benchmarks.runs.lease import Holder, Lease, hold
from benchmarks.runs.run_folder import RECORD, Place, read_done
from benchmarks.runs.suite_evaluation import evaluate_suite, gaps
from benchmarks.seeds import derive
from benchmarks.statistics.designs import STOP_AFTER, JudgedBy
from benchmarks.statistics.gap import Gap
from benchmarks.suites.schema import DesignSpec, Suite

EXTERNAL = "external"
"""The `cell.algorithm` of a model whose training is unknown to this project."""


@dataclass(frozen=True)
class ModelRun:
    """The evaluation of one model."""

    suite: Suite
    model: str
    """A folder or a hub id."""
    place: Place
    revision: str | None = None
    name: str = ""
    """Names the folder. The default is the model's own name."""
    datasets: tuple[str, ...] = ()
    """Datasets of the suite. The default is all of them."""

    @property
    def folder(self) -> Path:
        """The folder runs/<suite>/model-<name>."""
        name = self.name or re.sub(r"[^A-Za-z0-9._-]+", "-", self.model[-80:]).strip("-.")
        return self._home / f"model-{name}"

    @property
    def _home(self) -> Path:
        """The folder of the suite's runs."""
        home = settle(self.place, self.suite).home
        assert home is not None
        return home

    def run(self) -> Record:
        """Returns the record, with the gap to the base if OUT holds the base's record of the same suite."""
        for dataset in self.datasets:
            if dataset not in self.suite.evaluation.datasets:
                raise unknown(f"dataset of suite '{self.suite.name}'", dataset, self.suite.evaluation.datasets)
        model = identify(self.model, self.revision)
        with hold(self.folder, self._wait) as lease:
            remove_drafts(self.folder)
            return self._run(model, lease)

    def _wait(self, holder: Holder) -> None:
        self.place.progress.wait(f"wait for {self.folder.name}", f"{self.folder} is in the hands of {holder}")

    def _run(self, model: ModelRef, lease: Lease) -> Record:
        """The record is read under the lease: another process may just have added a dataset to it."""
        started, before = now(), self._before(model)
        if before is not None and set(self.datasets or self.suite.evaluation.datasets) <= set(before.evaluations):
            return before
        results = evaluate_suite(
            self.suite, model, self.place, self.folder, derive("evaluate", model.identity), self.datasets
        )
        record = self._record(model, results, started)
        if before is not None:  # what other datasets gave stays
            names = ("evaluations", "gap", "sound_gap")
            merged = {name: {**(getattr(before, name) or {}), **(getattr(record, name) or {})} for name in names}
            record = record.model_copy(update=merged)
        lease.check()
        write_record(self.folder / RECORD, record)
        return record

    def _before(self, model: ModelRef) -> Record | None:
        """Returns the folder's record. Raises Failure if it is of another suite or model."""
        record = read_done(self.folder)
        if record is not None and (record.suite.hash, record.settings.get("model")) != (
            self.suite.hash, model.identity
        ):  # fmt: skip
            raise Failure(f"{self.folder} has the record of another suite or model: choose another --name or OUT.")
        return record

    def base(self) -> Record | None:
        """Returns the base's record to measure from, or None if this same suite has none."""
        base = read_done(self._home / BASE)
        return base if base is not None and base.suite.hash == self.suite.hash else None

    def _gaps(self, base: Record | None, results: dict[str, DatasetResult], verdict: JudgedBy) -> dict[str, Gap]:
        folder = self._home / BASE
        return {} if base is None else gaps(base, folder, results, self.suite.evaluation.k, verdict)

    def _record(self, model: ModelRef, results: dict[str, DatasetResult], started: object) -> Record:
        base, sources = self.base(), self.suite.sources
        return Record.model_validate(
            {
                "suite": SuiteRef(name=self.suite.name, hash=self.suite.hash),
                "cell": Cell(
                    algorithm=EXTERNAL, seed=None, variant=self.folder.name.removeprefix("model-"),
                    base_model=self.suite.base_model, base_hash=None if base is None else base.cell.base_hash,
                ),
                "settings": {
                    "suite": self.suite.model_dump(mode="json"), "model": model.identity,
                    **({"sources": sources} if sources else {}),
                },
                "provenance": provenance(started, now()),  # type: ignore[arg-type]
                "training": None,
                "evaluations": {name: result.evaluation(self.folder) for name, result in results.items()},
                "gap": self._gaps(base, results, "answer"),
                "sound_gap": self._gaps(base, results, "sound"),
            }
        )  # fmt: skip


def with_design(suite: Suite, n: int | None, design: str | None) -> Suite:
    """The suite with another sampling design: `sequential` in rounds of n/4, n/2 and n, or `fixed` n.

    A sequential one stops on what the suite's design stops on.
    """
    if n is None and design is None:
        return suite
    largest = n or suite.evaluation.design.rounds[-1]
    kind = design or ("fixed" if suite.evaluation.design.stop_after is None else "sequential")
    if kind not in ("fixed", "sequential"):
        raise unknown("design", kind, ["fixed", "sequential"])
    rounds: Sequence[int] = (largest,) if kind == "fixed" or largest < 8 else (largest // 4, largest // 2, largest)
    stop = {} if len(rounds) == 1 else {"stop_after": STOP_AFTER, "stop_on": suite.evaluation.design.stop_on}
    spec = DesignSpec.model_validate({"rounds": rounds, **stop})
    if suite.evaluation.k > largest:
        raise UsageError(f"--n {largest} is below the suite's k = {suite.evaluation.k}.")
    evaluation = suite.evaluation.model_copy(update={"design": spec, "base_design": None})
    return suite.model_copy(update={"evaluation": evaluation})
