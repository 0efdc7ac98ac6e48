"""Checks a finished run, and writes what of it belongs into `leaderboards/records/`: `rlvr-gap submit`.

    leaderboards/records/<suite>-<hash8>/<cell>/
        record.json  spec.json  eval/<dataset>/counts.jsonl    as the run has them, byte for byte
        eval/<dataset>/sample.parquet                          a few completions of a few problems
        points/step-<n>/eval/<dataset>/                        the same of evaluated checkpoints
        train/log.jsonl.gz

A run is checked with all its completions: they must give the counts, and a random sample must be judged as before. A
submission is checked in the same way, except that its sample is all that can be judged again.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation.completions import SAMPLE, Meta, read_meta, read_tables, write_tables
from benchmarks.evaluation.grading import judge
from benchmarks.files import content_hash, file_sha256, read_text
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import BASE, Point, Record, read_record
from benchmarks.records.training_log import FILE, read_training_log
from benchmarks.runs.lease import hold
from benchmarks.runs.run_folder import EVAL, RECORD, SPEC, base_of, read_spec
from benchmarks.seeds import derive
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.gap import Gap
from benchmarks.suites.schema import Suite, parse

GRADED = 300
"""Completions of a dataset that are judged again."""
PROBLEMS, SAMPLES = 16, 4
"""A submission holds the first samples of problems that are spread evenly over the dataset."""
COMPLETIONS = "completions.parquet"
_DRAFT = ".draft"
_OF_A_MACHINE = re.compile(r"(?<![\w.:/])(?:/|~/|[A-Za-z]:\\)[\w.-]+[/\\]?")
"""A path from the root of a file system, but not one inside of an address."""


def chance_to_see(share: float, graded: int = GRADED) -> float:
    """The probability that a sample of `graded` completions holds one of those whose verdict was changed.

    `share`: how many of all completions those are. 1 - (1 - share)^graded.
    """
    return 1 - (1 - share) ** graded


def most_wrong(graded: int, confidence: float = 0.95) -> float:
    """The largest share of wrong verdicts that is likely, where `graded` of `graded` drawn at random were right.

    It is the upper end of the exact binomial interval of one side: (1 - p)^graded = 1 - confidence.
    """
    return 1 - (1 - confidence) ** (1 / graded) if graded else 1.0


@dataclass(frozen=True)
class Checked:
    """A run that passed."""

    folder: Path
    record: Record
    agreed: Mapping[str, int]
    """Evaluation, such as `test` or `test after step 40` -> completions that were judged again, and all agree."""

    @property
    def graded(self) -> int:
        """All completions that were judged again."""
        return sum(self.agreed.values())


def submit(folder: Path, to: Path, replace: bool = False) -> tuple[Path, bool]:
    """Checks the run and copies it under `to`. Returns its folder there, and whether anything was written.

    Raises UsageError for what is no run, and Failure for one that does not pass, or where another run of this cell is
    there and `replace` is not asked for.
    """
    checked = check(folder)
    suite = checked.record.suite
    target = to / f"{suite.name}-{suite.hash[:8]}" / folder.name
    if (target / RECORD).exists():
        if file_sha256(target / RECORD) == file_sha256(folder / RECORD):
            return target, False
        if not replace and not _has_more_points(checked.record, read_record(target / RECORD)):
            raise Failure(f"{target} holds another run of this cell: give --replace to put this one in its place.")
    draft = target.with_name(f"{_DRAFT}-{target.name}")
    with hold(to):
        shutil.rmtree(draft, ignore_errors=True)
        try:
            _copy(checked.record, folder, draft)
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise Failure(f"cannot write {target}: {error.strerror or error}.") from error
    return target, True


def _evaluations(record: Record) -> list[tuple[str, str, EvaluationRecord]]:
    """(what it is called, dataset, evaluation), of the trained policy and then of its checkpoints."""
    return [(name, name, evaluation) for name, evaluation in record.evaluations.items()] + [
        (f"{name} after step {step}", name, evaluation)
        for step, point in record.points.items()
        for name, evaluation in point.evaluations.items()
    ]


def _has_more_points(new: Record, old: Record) -> bool:
    """Whether the new record is the old one, with checkpoints that were evaluated since."""
    same: dict[str, Any] = {"points": {}, "settings": {}}
    kept = all(new.points.get(step) == point for step, point in old.points.items())
    return kept and new.model_copy(update=same) == old.model_copy(update=same)


def _copy(record: Record, folder: Path, draft: Path) -> None:
    for _, _, evaluation in _evaluations(record):
        counts = draft / evaluation.counts.path
        counts.parent.mkdir(parents=True)
        shutil.copyfile(folder / evaluation.counts.path, counts)
        _write_sample((folder / evaluation.counts.path).with_name(COMPLETIONS), counts.with_name(SAMPLE))
    for name in (SPEC, RECORD):
        shutil.copyfile(folder / name, draft / name)
    if (folder / FILE).exists():
        packed = draft / f"{FILE}.gz"
        packed.parent.mkdir(parents=True)
        packed.write_bytes(gzip.compress((folder / FILE).read_bytes(), mtime=0))


def _write_sample(source: Path, target: Path) -> None:
    table = pa.concat_tables(read_tables(source))
    ids = pc.unique(table["problem_id"]).sort().to_pylist()
    chosen = ids[:: max(1, len(ids) // PROBLEMS)][:PROBLEMS]
    kept = table.filter(pc.and_(pc.is_in(table["problem_id"], pa.array(chosen)), pc.less(table["sample"], SAMPLES)))
    meta = read_meta(source)
    write_tables(
        target, [kept], Meta(meta.question, f"sample of {table.num_rows}", kept.num_rows, meta.seconds, meta.engine)
    )


# ------------------------------------------------------------------------------------------------ checks


def check(folder: Path) -> Checked:
    """Checks a run, or a submission. Raises UsageError for what is neither, and Failure for the first that is wrong."""
    if not (folder / RECORD).exists():
        raise UsageError(f"{folder} holds no finished run: expected a {RECORD}.")
    record = read_record(folder / RECORD)
    if record.imported is not None:
        raise UsageError(
            f"{folder} was imported from {record.imported.source}: only runs of this project are submitted."
        )
    _check_origin(folder, record)
    suite = parse(record.settings.get("suite"), str(folder / RECORD))
    _check_training(folder, record)
    agreed = {}
    for what, name, evaluation in _evaluations(record):
        if not evaluation.valid:
            raise Failure(f"{folder}: too many verifier errors in '{what}' to count.")
        _check_versions(folder, suite, what, name, evaluation)
        counts = read_evaluated(evaluation, folder)
        agreed[what] = _check_completions(folder, suite, name, evaluation, counts)
    _check_gaps(folder, record)
    return Checked(folder, record, agreed)


def _check_origin(folder: Path, record: Record) -> None:
    """The commit is clean, the spec is the record's, and no file names a folder of a machine."""
    for made in (record.provenance, *(point.provenance for point in record.points.values())):
        if made is not None and (made.commit is None or made.dirty):
            what = "no commit is known"
            what = what if made.commit is None else f"the code had changes beside commit {made.commit[:7]}"
            raise Failure(f"{folder}: {what}: nobody could run it again. Commit, and run it with --fresh.")
    if (folder / SPEC).exists() and (found := content_hash(read_spec(folder))) != record.spec_hash:
        raise Failure(f"{folder / SPEC} has hash {found}, but the record says {record.spec_hash}.")
    for name in (RECORD, SPEC):
        if (folder / name).exists():
            for key, text in _texts(json.loads(read_text(folder / name))):
                if _OF_A_MACHINE.match(text) or (key.endswith("command") and _OF_A_MACHINE.search(text)):
                    raise Failure(f"{folder / name}: {key} names a folder of a machine, {text!r}: use relative paths.")


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of all texts in an object."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "sources":  # source code of one's own
                yield from _texts(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, str):
        yield key, value


def _check_training(folder: Path, record: Record) -> None:
    """The log has a line for each step, and the last one has generated what the record says."""
    training, log = record.training, read_training_log(folder)
    if training is None:
        return
    if not log:
        raise Failure(f"{folder / FILE} is missing.")
    if training.diverged:
        return
    if len(log) != training.steps:
        raise Failure(f"{folder / FILE} has {len(log)} steps, but the record says {training.steps}.")
    spent = training.tokens + training.discarded.tokens + training.greedy.tokens
    by_step = {training.steps: spent} | {step: point.tokens for step, point in record.points.items()}
    for step, said in by_step.items():
        if not 1 <= step <= len(log):
            raise Failure(f"{folder / RECORD} has a point after step {step}, but training ended after {len(log)}.")
        if said is not None and (found := int(log[step - 1].get("cost/tokens", said))) != said:
            raise Failure(f"{folder / FILE} has {found} tokens by step {step}, but the record says {said}.")


def _check_versions(folder: Path, suite: Suite, what: str, name: str, evaluation: EvaluationRecord) -> None:
    """The task and the verifier are those of this code: numbers of two versions never share a table."""
    task, verifier = suite.evaluation.datasets[name].make_task(), suite.verifier_of(name)
    verifier.close()
    pairs = {
        f"task '{task.name}'": (evaluation.versions.task, task.version),
        f"verifier '{verifier.name}'": (evaluation.versions.verifier, verifier.version),
    }
    differ = [
        f"version {then} of the {kind}, which is at {now} here" for kind, (then, now) in pairs.items() if then != now
    ]
    if differ:
        raise Failure(
            f"{folder}: '{what}' was made with {' and with '.join(differ)}. Two versions never share a table: run it "
            "again, or re-grade it if only the verifier differs."
        )


def _check_completions(folder: Path, suite: Suite, name: str, evaluation: EvaluationRecord, counts: Counts) -> int:
    """The completions give the counts, and those that are judged again agree. Returns how many those are."""
    at = folder / evaluation.counts.path
    whole, sample = at.with_name(COMPLETIONS), at.with_name(SAMPLE)
    if whole.exists():
        table = pa.concat_tables(read_tables(whole))
        _check_counts(whole, table, counts)
        rng = np.random.default_rng(derive("submit", evaluation.counts.sha256) % 2**64)
        rows = np.sort(rng.choice(table.num_rows, min(GRADED, table.num_rows), replace=False))
        table = table.take(pa.array(rows))
    elif sample.exists():
        table = pa.concat_tables(read_tables(sample))
    else:
        raise Failure(f"{whole} is missing: without completions no verdict can be checked.")
    _judge_again(folder, suite, name, table.to_pylist())
    return int(table.num_rows)


def _check_counts(path: Path, table: pa.Table, counts: Counts) -> None:
    verdicts = np.asarray(table["verdict"].to_pylist())
    ids = np.asarray(table["problem_id"].to_pylist())
    order = {problem: place for place, problem in enumerate(counts.problem_ids)}
    places = np.array([order.get(one, -1) for one in ids])
    if (places < 0).any():
        raise Failure(f"{path} has problems that the counts lack.")
    n = np.bincount(places, minlength=len(order))
    correct = np.bincount(places, weights=verdicts == "correct", minlength=len(order))
    if not (np.array_equal(n, counts.n_N) and np.array_equal(correct, counts.c_N)):
        raise Failure(f"{path} gives other counts than {EVAL}: a verdict was changed in one of the two.")


def _judge_again(folder: Path, suite: Suite, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    problems = {problem.problem_id: problem for problem in suite.evaluation.datasets[name].load()}
    asked = [problems[row["problem_id"]] for row in rows]
    verifier = suite.verifier_of(name)
    try:
        found, chains = judge(verifier, asked, [row["text"] for row in rows], [row["finished"] for row in rows])
    finally:
        verifier.close()
    for row, verdict, chain in zip(rows, found, chains, strict=True):
        now, then = (str(verdict), chain), (row["verdict"], row["chain"])
        if now != then:
            raise Failure(
                f"{folder}: sample {row['sample']} of '{row['problem_id']}' in '{name}' is {_said(now)} now, and was "
                f"{_said(then)}: changed by hand, or judged by another version."
            )


def _said(judged: tuple[str, bool | None]) -> str:
    """Such as `correct with a sound chain`."""
    verdict, chain = judged
    return verdict if chain is None else f"{verdict} with {'a' if chain else 'no'} sound chain"


def _check_gaps(folder: Path, record: Record) -> None:
    """The record's gaps are those that the counts of both sides give."""
    if record.cell.algorithm == BASE or record.diverged:
        return
    base_folder = base_of(folder, record.cell.variant)
    if not (base_folder / RECORD).exists():
        raise Failure(f"{base_folder} has no record, from which {folder.name} is measured: submit the base first.")
    base = read_record(base_folder / RECORD)
    bases = {name: read_evaluated(evaluation, base_folder) for name, evaluation in base.evaluations.items()}
    parts: list[Record | Point] = [record, *record.points.values()]
    for part in parts:
        for name, evaluation in part.evaluations.items():
            counts = read_evaluated(evaluation, folder)
            for verdict, gaps in (("answer", part.gap), ("sound", part.sound_gap)):
                if (said := (gaps or {}).get(name)) is not None:
                    _check_gap(folder, name, bases[name].judged_by(verdict), counts.judged_by(verdict), said)  # type: ignore[arg-type]


def _check_gap(folder: Path, name: str, base: Counts, trained: Counts, said: Gap) -> None:
    found = float(base.curve([said.k]).mean() - trained.curve([1]).mean())
    if abs(found - said.gap) > 1e-9:
        raise Failure(f"{folder}: the counts give a gap of {found:.6f} on '{name}', not {said.gap:.6f}.")
