"""The common evaluation stage: it samples and verifies completions in the same way for every model.

    rlvr-gap evaluate MODEL --suite countdown --dataset test

All datasets of a suite are sampled in one stream. Each has a folder of its own, and `dataset_run.py` says what is in
it. An evaluation that was killed continues from what is stored. With an engine that samples chunks it ends with the
same counts as one that was not killed. A folder that holds the answer to another question is refused, never mixed or
overwritten.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.engines.pool import EnginePool
from benchmarks.errors import Failure
from benchmarks.evaluation.dataset_run import COMPLETIONS, COUNTS, RESULT, DatasetRun
from benchmarks.evaluation.plan import Question, problems_hash, read_question
from benchmarks.evaluation.stream import sample_all
from benchmarks.files import content_hash, file_sha256, loads_strict, read_text
from benchmarks.progress import Progress
from benchmarks.settings import Sampling
from benchmarks.statistics.counts import Counts, read_counts
from benchmarks.statistics.passk import Design
from benchmarks.tasks import Problem
from benchmarks.tasks.prompts import Template, find, render_all
from benchmarks.verifiers import Verifier

if TYPE_CHECKING:
    from benchmarks.records.evaluation import EvaluationRecord


@dataclass(frozen=True)
class DatasetResult:
    """One finished evaluation, read from its folder."""

    folder: Path
    question: Question
    counts: Counts
    seconds: float
    """Wall-clock time of sampling and verifying, summed over all runs that it took.

    Datasets that were sampled at the same time share it.
    """
    engine: str
    """The engine's name with its version."""
    chains: dict[str, int] | None
    completions_sha256: str
    sampled: int = 0
    """Completions that this run sampled; the others were already stored."""
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds of this run by phase: sample (waiting for engines), verify (beside the others), write."""

    @property
    def tokens(self) -> int:
        """Tokens of the completions that count."""
        return sum(self.counts.extra["tokens"])

    def evaluation(self, record_folder: Path, ks: Sequence[int] | None = None) -> EvaluationRecord:
        """Returns this evaluation for a record in `record_folder`, which lies above this folder.

        `ks` defaults to 1, 2, 4, ... up to the number of samples in the design.
        """
        from benchmarks.records.evaluation import EvaluationRecord

        counts, question = self.counts, self.question
        asked = sorted(set(ks or powers_of_two(counts.design.max_k)))
        greedy = Sampling(**question.sampling).greedy
        verdicts = {name: int(sum(counts.extra[name])) for name in ("wrong", "truncated", "error")}
        files = {"counts": self.folder / COUNTS, "completions_file": self.folder / COMPLETIONS}
        hashes = {"counts": file_sha256(files["counts"]), "completions_file": self.completions_sha256}
        return EvaluationRecord.model_validate(
            {
                "design": question.design,
                "sampling": {**question.sampling, "seed": question.seed},
                "n_problems": len(counts.problem_ids),
                "problems_hash": question.problems,
                "verdicts": {"correct": int(counts.c_N.sum()), **verdicts},
                **_estimated(counts, asked, greedy),
                "sound": sound_evaluation(counts, asked, greedy),
                "tokens": self.tokens,
                "completions": int(counts.n_N.sum()),
                "seconds": self.seconds,
                "chains": self.chains,
                "versions": {"task": question.task_version, "verifier": question.verifier_version},
                "data_revision": question.task_revision,
                "precision": question.precision,
                "engine": self.engine,
                **{
                    name: {"path": file.relative_to(record_folder).as_posix(), "sha256": hashes[name]}
                    for name, file in files.items()
                },
            }
        )


def _estimated(counts: Counts, ks: Sequence[int], greedy: bool) -> dict[str, Any]:
    """Returns pass@k and its standard errors. Greedy decoding has no error over new samples, as they are the same."""
    found = counts.dataset_pass_at_k(ks).to_json()
    for error in found["standard_error"].values() if greedy else ():
        error["sampling"] = 0.0
    return found


def sound_evaluation(counts: Counts, ks: Sequence[int], greedy: bool = False) -> dict[str, Any] | None:
    """For a record (`SoundRecord`): the same estimates by the sound verdict; None where it is not known."""
    if not counts.has_sound:
        return None
    sound = counts.judged_by("sound")
    return {"correct": int(sound.c_N.sum()), **_estimated(sound, ks, greedy)}


def powers_of_two(largest: int) -> list[int]:
    """Returns 1, 2, 4, ... up to `largest`, and `largest` itself."""
    return sorted({*(2**i for i in range(largest.bit_length()) if 2**i <= largest), largest})


# ------------------------------------------------------------------------------------------------ datasets


@dataclass(frozen=True)
class Asked:
    """One dataset that a model is evaluated on."""

    dataset: str
    problems: Sequence[Problem]
    verifier: Verifier
    task_version: int | str | None
    folder: Path
    task_revision: str | None = None
    """The resolved commit of the task's data."""


def evaluate_datasets(
    pool: EnginePool,
    asked: Sequence[Asked],
    *,
    design: Design,
    sampling: Sampling,
    prompt_template: str | Template,
    seed: int,
    progress: Progress | None = None,
) -> list[DatasetResult]:
    """Samples and verifies all datasets in one stream under `design`, and keeps what their folders already hold.

    The template's stops are those of the sampling.
    With an engine that samples chunks, no result depends on the number of workers. Raises UsageError for an unknown
    template or a model that cannot be loaded. Raises Failure for a folder of another question, damaged files, a full
    disk, a verifier that cannot work or a crashed worker.
    """
    template = find(prompt_template)
    sampling = sampling.model_copy(update={"stops": template.stops})
    runs = []
    for one in asked:
        prompts = render_all(template, one.problems, pool.spec.tokenizer)
        question = Question(
            dataset=one.dataset, model=pool.model.identity, problems=problems_hash(one.problems),
            n_problems=len(one.problems), task_version=one.task_version, verifier=one.verifier.name,
            verifier_version=one.verifier.version, task_revision=one.task_revision, prompt_template=template.name,
            prompts=content_hash(prompts.texts), chat=prompts.chat, sampling=sampling.model_dump(mode="json"),
            design=design.to_json(), seed=seed, engine=pool.spec.name, engine_version=pool.spec.version,
            precision=pool.spec.precision, rows_per_batch=pool.rows_per_batch,
        )  # fmt: skip
        runs.append(DatasetRun(Path(one.folder), question, one.problems, one.verifier, design, prompts))
    done = {run.folder: read_result(run.folder) for run in runs if run.open()}
    left = [run for run in runs if run.folder not in done]
    sample_all(pool, left, sampling, progress or Progress(quiet=True))
    results = (done.get(run.folder) or finished(run) for run in runs)
    return [result for result in results if result is not None]


def evaluate_dataset(
    pool: EnginePool,
    problems: Sequence[Problem],
    verifier: Verifier,
    *,
    dataset: str,
    task_version: int | str | None,
    design: Design,
    sampling: Sampling,
    prompt_template: str | Template,
    seed: int,
    folder: Path | str,
    task_revision: str | None = None,
    progress: Progress | None = None,
) -> DatasetResult:
    """Evaluates a single dataset; see `evaluate_datasets`."""
    asked = Asked(dataset, problems, verifier, task_version, Path(folder), task_revision)
    return evaluate_datasets(
        pool, [asked], design=design, sampling=sampling, prompt_template=prompt_template, seed=seed, progress=progress
    )[0]


def finished(run: DatasetRun) -> DatasetResult:
    """Returns the result of a run that is complete and written, with what this process did for it."""
    result = read_result(run.folder)
    assert result is not None
    return dataclasses.replace(result, sampled=run.sampled, spent=run.spent)


# ------------------------------------------------------------------------------------------------ the folder


def read_result(folder: Path | str) -> DatasetResult | None:
    """Returns the finished evaluation in the folder, or None if it is unfinished. Raises Failure for damaged files."""
    folder = Path(folder)
    path = folder / RESULT
    if not path.exists():
        return None
    question = read_question(folder)
    try:
        data = loads_strict(read_text(path))
        if data["schema"] != 1 or data["plan"] != question.hash:
            raise ValueError("it is not of the plan beside it")
        hashes = {COUNTS: data["counts_sha256"], COMPLETIONS: data["completions_sha256"]}
        rest = {name: data[name] for name in ("seconds", "engine", "chains", "completions_sha256")}
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is damaged: {error}.") from error
    for name, expected in hashes.items():
        if file_sha256(folder / name) != expected:
            raise Failure(f"{folder / name} is damaged: it is not the file that {RESULT} was written for.")
    return DatasetResult(folder=folder, question=question, counts=read_counts(folder / COUNTS), **rest)
