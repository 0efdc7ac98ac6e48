"""Evaluates one model on the datasets of a suite and computes its gap to the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import verifiers
from benchmarks.engines import AUTO, resolve
from benchmarks.engines.identity import ModelRef
from benchmarks.engines.pool import open_pool
from benchmarks.engines.settings import EngineSettings
from benchmarks.errors import Failure
from benchmarks.evaluation.stage import DatasetResult, evaluate_dataset
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import Record
from benchmarks.runs.run_folder import EVAL, Place
from benchmarks.statistics.gap import Gap, sampling_efficiency_gap
from benchmarks.suites.schema import Suite


def evaluate_suite(
    suite: Suite, model: ModelRef, place: Place, folder: Path, seed: int, datasets: Sequence[str] = ()
) -> dict[str, DatasetResult]:
    """Evaluates the named datasets, or all, into `folder`/eval/<dataset>, in the same way for every model."""
    asked = suite.evaluation
    results = {}
    with open_pool(engine_of(suite, place), model.path, model.revision) as pool:
        for dataset in datasets or asked.datasets:
            source = asked.datasets[dataset]
            task = source.make_task()
            results[dataset] = evaluate_dataset(
                pool, source.load(), verifiers.get(task.verifier), dataset=dataset, task_version=task.VERSION,
                design=asked.design.make(), sampling=asked.sampling, prompt_template=suite.prompt_template,
                seed=seed, folder=folder / EVAL / dataset, progress=place.progress,
            )  # fmt: skip
    return results


def engine_of(suite: Suite, place: Place) -> EngineSettings:
    """Returns the engine of the command, or else the suite's, whose settings apply to no other engine."""
    asked = suite.engine
    name = resolve(place.engine if place.engine != AUTO else asked.name)
    settings = asked.settings if asked.name in (AUTO, name) else {}
    workers = place.workers or asked.workers
    return asked.model_copy(update={"name": name, "settings": settings, "workers": workers})


def gaps(base: Record, folder: Path, results: Mapping[str, DatasetResult], k: int) -> dict[str, Gap]:
    """Returns the gap on each dataset, from the base's counts that its record in `folder` names.

    Raises Failure if the base has other problems, or another version of the task or the verifier.
    """
    found = {}
    for name, result in results.items():
        base_evaluation, question = base.evaluations[name], result.question
        check_versions(base, folder, name, question.task_version, question.verifier_version)
        if base_evaluation.problems_hash != question.problems:
            raise Failure(f"the base was evaluated on other problems of '{name}': choose another OUT.")
        found[name] = sampling_efficiency_gap(read_evaluated(base_evaluation, folder), result.counts, k)
    return found


def check_versions(
    base: Record, folder: Path, dataset: str, task: int | str | None, verifier: int | str | None
) -> None:
    """Raises Failure if the base in `folder` has another version of the task or verifier. Versions are never mixed."""
    there = base.evaluations[dataset].versions
    if there.task != task:
        raise Failure(
            f"the base was measured with version {there.task} of the task of '{dataset}', which is at {task} now: "
            "choose another OUT."
        )
    if there.verifier != verifier:
        raise Failure(
            f"the base was graded by version {there.verifier} of the verifier of '{dataset}', which is at {verifier} "
            f"now: first run rlvr-gap evaluate {folder} --regrade."
        )
