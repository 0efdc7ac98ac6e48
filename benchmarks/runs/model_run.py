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
from benchmarks.evaluation.stage import DatasetResult, read_result
from benchmarks.files import remove_drafts
from benchmarks.records.provenance import now, provenance
from benchmarks.records.schema import BASE, Cell, Record, SuiteRef, write_record
from benchmarks.runs.home import settle
from benchmarks.runs.lease import Lease, hold, saying
from benchmarks.runs.run_folder import EVAL, RECORD, Place, read_done
from benchmarks.runs.suite_evaluation import evaluate_suite, gaps
from benchmarks.seeds import derive
from benchmarks.statistics.designs import STOP_AFTER, JudgedBy
from benchmarks.statistics.gap import Gap
from benchmarks.suites.schema import Suite, with_changes

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
    seed: int = 0
    """Draws other samples than another seed does."""
    tag: str = ""
    """Tells an evaluation with changed settings from that of the suite as it is, in the default name of the folder."""

    @property
    def folder(self) -> Path:
        """The folder runs/<suite>/model-<name>."""
        own = re.sub(r"[^A-Za-z0-9._-]+", "-", self.model[-80:]).strip("-.")
        parts = [self.name] if self.name else [own, self.tag, f"s{self.seed}" if self.seed else ""]
        return self._home / "-".join(["model", *filter(None, parts)])

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
        with hold(self.folder, saying(self.place.progress, self.folder)) as lease:
            remove_drafts(self.folder)
            return self._run(model, lease)

    def _run(self, model: ModelRef, lease: Lease) -> Record:
        """The record is read under the lease: another process may just have added a dataset to it."""
        started, before = now(), self._before(model)
        if before is not None and set(self.datasets or self.suite.evaluation.datasets) <= set(before.evaluations):
            return self._with_gap(before, lease)
        seed = derive("evaluate", model.identity, *([self.seed] if self.seed else []))
        results = evaluate_suite(self.suite, model, self.place, self.folder, seed, self.datasets)
        record = self._record(model, results, started)
        if before is not None:  # what other datasets gave stays
            names = ("evaluations", "gap", "sound_gap")
            merged = {name: {**(getattr(before, name) or {}), **(getattr(record, name) or {})} for name in names}
            record = record.model_copy(update=merged)
        lease.check()
        write_record(self.folder / RECORD, record)
        return record

    def _with_gap(self, record: Record, lease: Lease) -> Record:
        """Returns the record, with the gap on every dataset if the base was evaluated only after this model."""
        base, missing = self.base(), set(record.evaluations) - set(record.gap or {})
        results = {name: read_result(self.folder / EVAL / name) for name in sorted(missing)} if base else {}
        found = {name: result for name, result in results.items() if result is not None}
        if not found:
            return record
        gaps = {"gap": self._gaps(base, found, "answer"), "sound_gap": self._gaps(base, found, "sound")}
        merged = {name: {**(getattr(record, name) or {}), **gap} for name, gap in gaps.items()}
        assert base is not None
        cell = record.cell.model_copy(update={"base_hash": base.cell.base_hash})
        record = record.model_copy(update={**merged, "cell": cell})
        lease.check()
        write_record(self.folder / RECORD, record)
        return record

    def _before(self, model: ModelRef) -> Record | None:
        """Returns the folder's record. Raises Failure if it is of another suite or model."""
        record = read_done(self.folder)
        if record is None:
            return None
        if (record.suite.hash, record.settings.get("model")) != (self.suite.hash, model.identity):
            raise Failure(f"{self.folder} has the record of another suite or model: choose another --name or OUT.")
        if (there := record.settings.get("seed", 0)) != self.seed:
            raise Failure(f"{self.folder} has the samples of seed {there}, not {self.seed}: choose another --name.")
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
                    **({"sources": sources} if sources else {}), **({"seed": self.seed} if self.seed else {}),
                },
                "provenance": provenance(started, now()),  # type: ignore[arg-type]
                "training": None,
                "evaluations": {name: result.evaluation(self.folder) for name, result in results.items()},
                "gap": self._gaps(base, results, "answer"),
                "sound_gap": self._gaps(base, results, "sound"),
            }
        )  # fmt: skip


def adapted(
    suite: Suite,
    changes: Sequence[str] = (),
    n: int | None = None,
    design: str | None = None,
    k: int | None = None,
    greedy: bool = False,
) -> Suite:
    """Returns the suite with changes such as `evaluation.sampling.top_p=1`, and with another sampling design.

    `design` is `sequential`, in rounds of n/4, n/2 and n that stop on what the suite's design stops on, or `fixed`.
    `k` is that of the gap. `greedy` takes one sample of each problem at temperature 0. All are applied together, and
    only then checked. Raises UsageError for a change that is not valid, or for an n below k.
    """
    if greedy:
        if n not in (None, 1) or k not in (None, 1) or design not in (None, "fixed"):
            raise UsageError("--greedy takes one sample of each problem: leave out --n, --k and --design.")
        n, design, k = 1, "fixed", 1
        changes = [*changes, "evaluation.sampling.temperature=0.0"]
    more = [] if n is None and design is None else _design_changes(suite, n, design)
    given = k is not None or any(change.startswith("evaluation.k=") for change in changes)
    if n is not None and not given and n < suite.evaluation.k:
        raise UsageError(f"--n {n} is below the suite's k = {suite.evaluation.k}: give a --k of at most {n} as well.")
    return with_changes(suite, [*changes, *more, *([] if k is None else [f"evaluation.k={k}"])])


def _design_changes(suite: Suite, n: int | None, design: str | None) -> list[str]:
    own = suite.evaluation.design
    largest, kind = n or own.rounds[-1], design or ("fixed" if own.stop_after is None else "sequential")
    if kind not in ("fixed", "sequential"):
        raise unknown("design", kind, ["fixed", "sequential"])
    rounds = [largest] if kind == "fixed" or largest < 8 else [largest // 4, largest // 2, largest]
    stop = "" if len(rounds) == 1 else f", stop_after: {STOP_AFTER}, stop_on: {own.stop_on}"
    return [f"evaluation.design={{rounds: {rounds}{stop}}}", "evaluation.base_design=null"]
