"""Evaluates one model on the datasets of a suite and computes its gap to the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.engines import AUTO, resolve
from benchmarks.engines.identity import ModelRef
from benchmarks.engines.pool import open_pool
from benchmarks.engines.settings import EngineSettings
from benchmarks.errors import Failure
from benchmarks.evaluation.stage import DatasetResult, evaluate_dataset
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import Record
from benchmarks.runs.run_folder import EVAL, Place
from benchmarks.settings import Sampling
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.gap import Gap, sampling_efficiency_gap
from benchmarks.suites.schema import Suite


def evaluate_suite(
    suite: Suite,
    model: ModelRef,
    place: Place,
    folder: Path,
    seed: int,
    datasets: Sequence[str] = (),
    *,
    base: bool = False,
) -> dict[str, DatasetResult]:
    """Every dataset of the suite (or the named ones) in `folder`/eval/<dataset>: the same stage for every model.

    `base`: it is the suite's base, which may have a design of its own.
    """
    asked = suite.evaluation
    results = {}
    with open_pool(engine_of(suite, place), model.path, model.revision) as pool:
        for dataset in datasets or asked.datasets:
            source = asked.datasets[dataset]
            task = source.make_task()
            results[dataset] = evaluate_dataset(
                pool, source.load(), source.make_verifier(), dataset=dataset, task_version=task.version,
                task_revision=task.data_revision,
                design=asked.design_of(base), sampling=asked.sampling, prompt_template=suite.template,
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


def gaps(
    base: Record, folder: Path, results: Mapping[str, DatasetResult], k: int, verdict: JudgedBy = "answer"
) -> dict[str, Gap]:
    """The gap on each dataset, from the base's counts as its record, in `folder`, has them.

    By the sound verdict, only the datasets on which it is known of both. Another version of task or verifier, or other
    problems, than the base's: Failure.
    """
    found = {}
    for name, result in results.items():
        base_evaluation, question = base.evaluations[name], result.question
        check_versions(base, folder, name, question.task_version, question.verifier_version)
        if base_evaluation.problems_hash != question.problems:
            raise Failure(f"the base was evaluated on other problems of '{name}': choose another OUT.")
        stops = Sampling.model_validate(question.sampling).stops.model_dump(mode="json")
        if (base_evaluation.sampling.model_extra or {}).get("stops", stops) != stops:
            raise Failure(f"the base's completions of '{name}' are cut at other stops: re-grade both with the same.")
        base_counts, counts = read_evaluated(base_evaluation, folder), result.counts
        if verdict == "answer" or (base_counts.has_sound and counts.has_sound):
            found[name] = sampling_efficiency_gap(base_counts.judged_by(verdict), counts.judged_by(verdict), k)
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
