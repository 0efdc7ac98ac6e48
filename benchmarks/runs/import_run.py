"""Makes records of what other tools measured: `rlvr-gap import FORMAT FILE...`.

    runs/<suite>/imported-<model>/    eval/<dataset>/counts.jsonl, and record.json last, labelled as imported

What the files do not say (sampling, versions, commit, dates) is null in the record. Imports have a suite of their own,
whatever its name, so an imported record never shares a table with records that were measured here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import importers
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation.dataset_run import COUNTS
from benchmarks.evaluation.stage import powers_of_two, sound_evaluation
from benchmarks.files import content_hash, file_sha256
from benchmarks.importers import Choices
from benchmarks.progress import Progress
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.provenance import command, now
from benchmarks.records.schema import BASE, Cell, Imported, Provenance, Record, SuiteRef, read_record, write_record
from benchmarks.runs.lease import hold, saying
from benchmarks.runs.model_run import EXTERNAL
from benchmarks.runs.run_folder import EVAL, RECORD
from benchmarks.statistics.counts import NOT_CORRECT, Counts, read_counts, write_counts
from benchmarks.statistics.designs import VERDICTS, JudgedBy
from benchmarks.statistics.gap import Gap, sampling_efficiency_gap

DEFAULT_K = 256
"""The default k of the gap, unless both sides have fewer samples."""
NOT_KNOWN = "not known"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class BaseCounts:
    """What a gap is measured from."""

    counts: Counts
    model: str
    hash: str | None


@dataclass(frozen=True)
class Import:
    """The results of one model on one dataset that were made elsewhere."""

    format: str
    files: tuple[Path, ...]
    suite: str
    """A name for what belongs together: imports under the same name are compared."""
    dataset: str
    model: str
    source: str
    """The address or citation of the published results."""
    out: Path
    choices: Choices = field(default_factory=Choices)
    base: Path | None = None
    """Counts of a base, or its record, or the folder of its record."""
    as_base: bool = False
    """Whether the model is itself a base."""
    k: int | None = None
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))

    def __post_init__(self) -> None:
        for what, name in (("--suite-name", self.suite), ("--dataset", self.dataset)):
            if not _NAME.fullmatch(name):
                raise UsageError(f"{what} '{name}': expected letters, digits, '.', '_' and '-', not a sign first.")
        if not self.source.strip() or not self._slug:
            raise UsageError("--source and --model must name something: they identify the record.")
        if self.base and self.as_base:
            raise UsageError("--as-base is for the model that gaps are measured from: it has no --base.")

    @property
    def _slug(self) -> str:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.model[-80:]).strip("-.")

    @property
    def folder(self) -> Path:
        """The folder runs/<suite>/imported-<model>."""
        return self.out / self.suite / f"imported-{self._slug}"

    def run(self) -> Record:
        """Returns the record with this dataset beside those that were imported before.

        Raises Failure for files that cannot be used or a folder that holds something else, and UsageError for wrong
        names or a base that does not fit. Nothing is written before everything is known to be right.
        """
        counts = importers.get(self.format)(self.files, self.choices)
        base = None if self.base is None else read_base(self.base, self.dataset)
        gaps = {} if base is None else {verdict: self._gap(base.counts, counts, verdict) for verdict in VERDICTS}
        cell = self._cell(base)
        with hold(self.folder, saying(self.progress, self.folder)) as lease:
            record = self._record(cell, counts, base is not None, gaps)
            lease.check()
            write_record(self.folder / RECORD, record)
        return record

    def _record(self, cell: Cell, counts: Counts, measured: bool, gaps: Mapping[JudgedBy, Gap | None]) -> Record:
        """Writes the counts and makes the record, with what was imported before. `measured`: from a base."""
        before = self._before(cell, counts)
        path = self.folder / EVAL / self.dataset / COUNTS
        write_counts(path, counts)
        return Record(
            suite=SuiteRef(name=self.suite, hash=content_hash({"imported": self.suite})),
            cell=cell if before is None or measured else before.cell,
            settings={"model": self.model, "imports": {**_imports(before), self.dataset: self._asked()}},
            provenance=Provenance(
                commit=None, dirty=None, versions={}, command=command(), started=None, finished=None, machine={}
            ),
            training=None,
            evaluations={**(before.evaluations if before else {}), self.dataset: evaluation(counts, path, self.folder)},
            gap=None if self.as_base else self._all_gaps(before.gap if before else None, gaps.get("answer")),
            sound_gap=None if self.as_base else self._all_gaps(before.sound_gap if before else None, gaps.get("sound")),
            imported=Imported(source=self.source, format=self.format),
        )

    def _k(self, *sides: Counts) -> int:
        return self.k or min(DEFAULT_K, *(side.design.max_k for side in sides))

    def _cell(self, base: BaseCounts | None) -> Cell:
        if self.as_base:
            return Cell(algorithm=BASE, seed=None, variant=None, base_model=self.model, base_hash=None)
        model, model_hash = (base.model, base.hash) if base else (NOT_KNOWN, None)
        return Cell(algorithm=EXTERNAL, seed=None, variant=self._slug, base_model=model, base_hash=model_hash)

    def _gap(self, base: Counts, counts: Counts, verdict: JudgedBy) -> Gap | None:
        """None by the sound verdict where it is not known of both."""
        if verdict == "sound" and not (base.has_sound and counts.has_sound):
            return None
        return sampling_efficiency_gap(base.judged_by(verdict), counts.judged_by(verdict), self._k(base, counts))

    def _all_gaps(self, before: dict[str, Gap] | None, gap: Gap | None) -> dict[str, Gap]:
        """Those of datasets that were imported before, and this one's."""
        return {**(before or {}), **({self.dataset: gap} if gap else {})}

    def _asked(self) -> dict[str, Any]:
        """Returns what was imported, by name and content and never by a folder of this machine."""
        files = [{"name": file.name, "sha256": file_sha256(file)} for file in self.files]
        return {"format": self.format, "files": files, **vars(self.choices), "imported": now().isoformat()}

    def _before(self, cell: Cell, counts: Counts) -> Record | None:
        """Returns the record that the folder already holds. Raises Failure if this dataset cannot be added to it."""
        path = self.folder / RECORD
        if not path.exists():
            return None
        record = read_record(path)
        imported = record.imported
        if imported is None or (imported.source, record.cell.algorithm) != (self.source, cell.algorithm):
            what = f"an import from '{imported.source}'" if imported else "a run"
            raise Failure(f"{self.folder} holds {what}: choose another --model, --suite-name or --out.")
        if record.gap and self.base and _base(record.cell) != _base(cell):
            raise Failure(f"{self.folder} holds gaps to another base ('{record.cell.base_model}').")
        if self.dataset in record.evaluations and not _same(record.evaluations[self.dataset], self.folder, counts):
            raise Failure(f"{self.folder} holds other counts of dataset '{self.dataset}': choose another --model.")
        return record


def read_base(path: Path, dataset: str) -> BaseCounts:
    """Returns the counts to measure from: a counts file, or a base's record (or folder) with the dataset."""
    path = path / RECORD if path.is_dir() else path
    if path.suffix != ".json":
        return BaseCounts(read_counts(path), NOT_KNOWN, None)
    record = read_record(path)
    if record.cell.algorithm != BASE:
        raise UsageError(f"--base {path} is the record of '{record.cell.algorithm}': expected that of a base.")
    if dataset not in record.evaluations:
        raise unknown(f"dataset of {path}", dataset, record.evaluations)
    counts = read_evaluated(record.evaluations[dataset], path.parent)
    return BaseCounts(counts, record.cell.base_model, record.cell.base_hash)


def evaluation(counts: Counts, path: Path, folder: Path) -> EvaluationRecord:
    """Returns the record's part about the counts in the file, with null for everything that counts do not say."""
    total, correct = int(counts.n_N.sum()), int(counts.c_N.sum())
    ks = powers_of_two(counts.design.max_k)
    known = {name: 0 if (c := counts.verdicts(name)) is None else int(c.sum()) for name in NOT_CORRECT}
    known["wrong"] = total - correct - known["truncated"] - known["error"]
    return EvaluationRecord.model_validate(
        {
            "design": counts.design.to_json(),
            "sampling": dict.fromkeys(("temperature", "top_p", "top_k", "max_new_tokens")),
            "n_problems": len(counts.problem_ids),
            "problems_hash": None,
            "verdicts": {"correct": correct, **known},
            **counts.dataset_pass_at_k(ks).to_json(),
            "sound": sound_evaluation(counts, ks),
            "tokens": None,
            "completions": total,
            "seconds": None,
            "counts": {"path": path.relative_to(folder).as_posix(), "sha256": file_sha256(path)},
            "versions": {"task": None, "verifier": None},
            "engine": None,
        }
    )


def _base(cell: Cell) -> tuple[str, str | None]:
    return cell.base_model, cell.base_hash


def _imports(record: Record | None) -> Mapping[str, Any]:
    found = record.settings.get("imports") if record else None
    return found if isinstance(found, dict) else {}


def _same(old: EvaluationRecord, folder: Path, new: Counts) -> bool:
    """Tells whether the counts of the record are these."""
    counts = read_evaluated(old, folder)
    rows = [(c.problem_ids, c.n_N.tolist(), c.c_N.tolist(), c.design) for c in (counts.sorted(), new.sorted())]
    return rows[0] == rows[1]
