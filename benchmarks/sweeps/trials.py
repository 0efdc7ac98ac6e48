"""One trial: trains a cell in parts, evaluates it after each, and goes on from the checkpoint or is pruned.

A trial that was interrupted, or whose worker was killed, goes on in its folder: parts that were evaluated are read
back, and training continues from its checkpoint. A trial with rungs trains to the same weights as one without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.engines.identity import identify
from benchmarks.errors import Failure
from benchmarks.evaluation.stage import DatasetResult
from benchmarks.files import loads_strict, read_text, write_json_atomic
from benchmarks.records.schema import Record, TrainingRecord
from benchmarks.runs import status
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.divergence import not_finite
from benchmarks.runs.lease import hold, saying
from benchmarks.runs.run_folder import POINTS
from benchmarks.runs.suite_evaluation import evaluate_suite, gaps
from benchmarks.seeds import derive
from benchmarks.statistics.gap import Gap
from benchmarks.sweeps.plan import VALIDATION, StudyPlan

Said = dict[str, Any]
"""Attributes of an Optuna trial."""


@dataclass(frozen=True)
class Ended:
    """How a trial ended."""

    gap: Gap | None
    """On the validation split; None if it was pruned, or diverged."""
    said: Said


def run_trial(
    plan: StudyPlan, cell: CellRun, goes_on: Callable[[int, Gap], bool], say: Callable[[Said], None]
) -> Ended:
    """Runs the trial to its end, or until it is pruned.

    `goes_on(percent, gap)` hears of each rung, and decides. `say` gets attributes as they become known.
    """
    base = cell.base.run()
    at_k = {"base_pass_at_k": base.evaluations[VALIDATION].pass_at_k[plan.settings.samples]}
    say({**at_k, "k": plan.settings.samples, "n_problems": base.evaluations[VALIDATION].n_problems})
    rungs = plan.settings.rungs if plan.objective != "pareto" else ()
    for share in rungs:
        percent = round(100 * share)
        part = _part(cell, share, percent, base)
        if part is None:
            break  # it diverged: the cell's own record says how
        say(part["said"])
        if not goes_on(percent, _gap(part)):
            return Ended(None, {"reason": f"pruned at {percent} % of the budget"})
    record = cell.run()
    return _ended(record, cell, plan)


def _ended(record: Record, cell: CellRun, plan: StudyPlan) -> Ended:
    training = record.training
    assert training is not None and plan.folder in cell.folder.parents
    said: Said = {**_spent(training), "seconds": sum(training.seconds.values())}
    if record.diverged:
        return Ended(None, {**said, "reason": f"diverged: {training.diverged_because}"})
    evaluation, gap = record.evaluations[VALIDATION], (record.gap or {})[VALIDATION]
    counts = cell.folder.relative_to(plan.folder) / evaluation.counts.path
    said |= {
        "pass_at_1": gap.trained_pass_at_1, "pass_at_k": gap.trained_pass_at_k,
        "standard_error": evaluation.standard_error[1].sampling, "counts": str(counts),
    }  # fmt: skip
    return Ended(gap, said)


def _spent(training: TrainingRecord) -> Said:
    parts = (training, training.discarded, training.greedy)
    return {
        "steps": training.steps, "completions": sum(part.completions for part in parts),
        "tokens": sum(part.tokens for part in parts),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ parts


def _part(cell: CellRun, share: float, percent: int, base: Record) -> Said | None:
    """Trains to the share of the budget and evaluates the checkpoint there; None if the training diverged before."""
    folder = cell.folder / POINTS / f"percent-{percent}"
    path = folder / "part.json"
    with hold(cell.folder, saying(cell.place.progress, cell.folder)) as lease:
        question = cell.question(identify(cell.suite.base_path, cell.suite.base_revision))
        cell.claim(question)
        if path.exists():
            return _read(path)
        with status.reporting(cell.folder, cell.place.progress):
            try:
                finished = cell.training.run(until=share)
            except Failure:
                if not_finite(cell.training.train_folder) is None:
                    raise
                return None
            model, cost = cell.training.so_far(finished)
            seed = derive("evaluate", cell.algorithm, cell.seed, "percent", percent)
            results = evaluate_suite(cell.suite, identify(str(model)), cell.place, folder, seed)
            part = _measured(cell, base, results, cost)
            lease.check()
            write_json_atomic(path, part)
    return part


def _measured(cell: CellRun, base: Record, results: dict[str, DatasetResult], cost: Any) -> Said:
    gap = gaps(base, cell.base.folder, results, cell.suite.evaluation.k)[VALIDATION]
    said = {"steps": cost.steps, "completions": cost.used("completions"), "tokens": cost.used("tokens")}
    return {"schema": 1, "said": said, "gap": gap.model_dump(mode="json")}


def _read(path: Any) -> Said:
    try:
        return dict(loads_strict(read_text(path)))
    except ValueError as error:
        raise Failure(f"{path} is damaged ({error}): remove it, and its checkpoint is evaluated again.") from error


def _gap(part: Said) -> Gap:
    return Gap.model_validate(part["gap"])
