"""Reads back the counts that an evaluation was made from and checks them against its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.errors import Failure
from benchmarks.files import file_sha256
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.statistics.counts import NOT_CORRECT, Counts, read_counts


def read_evaluated(evaluation: EvaluationRecord, folder: Path | str) -> Counts:
    """Returns the counts that a record's evaluation was made from. `folder` holds the record.

    Raises `Failure` if they are not the record's, because the hash or the sums of the verdicts differ.
    """
    path = Path(folder) / evaluation.counts.path
    if (found := file_sha256(path)) != evaluation.counts.sha256:
        raise Failure(f"{path}: its sha256 is {found[:12]}..., but the record says {evaluation.counts.sha256[:12]}...")
    counts = read_counts(path)
    for name, difference in disagreements(evaluation, counts).items():
        raise Failure(f"{path}: {name} is {difference[0]}, but the record says {difference[1]}.")
    return counts


def disagreements(evaluation: EvaluationRecord, counts: Counts) -> dict[str, tuple[Any, Any]]:
    """Returns what the counts and the evaluation disagree on: name -> (of the counts, of the evaluation)."""
    pairs: dict[str, tuple[Any, Any]] = {
        "the number of problems": (len(counts.problem_ids), evaluation.n_problems),
        "the design": (counts.design.to_json(), _design(evaluation)),
        "completions": (int(counts.n_N.sum()), evaluation.completions),
        "correct": (int(counts.c_N.sum()), evaluation.verdicts.correct),
    }
    for name in NOT_CORRECT:
        if (column := counts.verdicts(name)) is not None:
            pairs[name] = (int(column.sum()), getattr(evaluation.verdicts, name))
    if evaluation.sound is not None:
        pairs["sound"] = (int(counts.s_N.sum()) if counts.s_N is not None else None, evaluation.sound.correct)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _design(evaluation: EvaluationRecord) -> dict[str, Any]:
    """In the form that counts write: without `stop_on` where that is the answer, as in files of before the choice."""
    design = evaluation.design.model_dump(mode="json")
    return design if design["stop_on"] == "sound" else {k: v for k, v in design.items() if k != "stop_on"}
