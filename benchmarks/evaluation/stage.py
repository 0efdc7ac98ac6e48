"""The common evaluation stage: it samples and verifies completions in the same way for every model.

    rlvr-gap evaluate MODEL --suite countdown --dataset test

Each dataset has a folder of its own. `plan.json` is written first and says what was asked. Every chunk of completions
is written as a shard under `shards/`. At the end the shards become `completions.parquet` and `counts.jsonl`, and
`result.json` is written last. An evaluation that was killed continues from its shards and ends with the same counts as
one that was not. A folder that holds the answer to another question is refused, never mixed or overwritten.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.engines.pool import Completions, EnginePool
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation import completions
from benchmarks.evaluation.completions import Meta
from benchmarks.evaluation.grading import judge
from benchmarks.evaluation.plan import PlannedChunk, Question, claim, plan_round, problems_hash, read_question
from benchmarks.evaluation.tally import Tally
from benchmarks.files import content_hash, file_sha256, loads_strict, read_text, write_json_atomic
from benchmarks.progress import Progress, Stage
from benchmarks.settings import Sampling
from benchmarks.statistics.counts import Counts, read_counts, write_counts
from benchmarks.statistics.passk import Design
from benchmarks.tasks import Problem
from benchmarks.tasks.prompts import Prompts, Template, find, render_all
from benchmarks.verifiers import Verifier

if TYPE_CHECKING:
    from benchmarks.records.evaluation import EvaluationRecord

RESULT = "result.json"
COUNTS, COMPLETIONS = "counts.jsonl", "completions.parquet"
SHARDS, DAMAGED = "shards", "damaged"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetResult:
    """One finished evaluation, read from its folder."""

    folder: Path
    question: Question
    counts: Counts
    seconds: float
    """Wall-clock time of sampling and verifying, summed over all runs that it took."""
    engine: str
    """The engine's name with its version."""
    chains: dict[str, int] | None
    completions_sha256: str
    sampled: int = 0
    """Completions that this run sampled; the others were already stored."""
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds of this run by phase: sample (waiting for engines), verify, write."""

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
                **counts.dataset_pass_at_k(asked).to_json(),
                "sound": sound_evaluation(counts, asked),
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


def sound_evaluation(counts: Counts, ks: Sequence[int]) -> dict[str, Any] | None:
    """For a record (`SoundRecord`): the same estimates by the sound verdict; None where it is not known."""
    if not counts.has_sound:
        return None
    sound = counts.judged_by("sound")
    return {"correct": int(sound.c_N.sum()), **sound.dataset_pass_at_k(ks).to_json()}


def powers_of_two(largest: int) -> list[int]:
    """Returns 1, 2, 4, ... up to `largest`, and `largest` itself."""
    return sorted({*(2**i for i in range(largest.bit_length()) if 2**i <= largest), largest})


# ------------------------------------------------------------------------------------------------ one dataset


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
    progress: Progress | None = None,
    task_revision: str | None = None,
) -> DatasetResult:
    """Samples and verifies `problems` under `design` with the pool's model, and keeps what `folder` already holds.

    The template's stops are those of the sampling. The result does not depend on the number of workers. Raises
    UsageError for an unknown template or a model that cannot be loaded. Raises Failure for a folder of another
    question, damaged files, a full disk or a crashed worker.
    """
    template = find(prompt_template)
    prompts = render_all(template, problems, pool.spec.tokenizer)
    sampling = sampling.model_copy(update={"stops": template.stops})
    question = Question(
        dataset=dataset, model=pool.model.identity, problems=problems_hash(problems), n_problems=len(problems),
        task_version=task_version, verifier=verifier.name, verifier_version=verifier.version,
        task_revision=task_revision, prompt_template=template.name, prompts=content_hash(prompts.texts),
        chat=prompts.chat, sampling=sampling.model_dump(mode="json"), design=design.to_json(), seed=seed,
        engine=pool.spec.name, engine_version=pool.spec.version, precision=pool.spec.precision,
        rows_per_batch=pool.rows_per_batch,
    )  # fmt: skip
    run = Run(Path(folder), question, problems, verifier, design, sampling, pool, prompts)
    if (done := run.open()) is not None:
        return done
    with (progress or Progress(quiet=True)).stage(f"sample {dataset}", unit="completions") as stage:
        run.sample(stage)
    return run.finish()


class Run:
    """The evaluation of one dataset in its folder, from opening the folder to writing the result."""

    def __init__(
        self,
        folder: Path,
        question: Question,
        problems: Sequence[Problem],
        verifier: Verifier,
        design: Design,
        sampling: Sampling,
        pool: EnginePool | None,
        prompts: Prompts | None = None,
    ) -> None:
        self.folder, self.question, self.verifier = folder, question, verifier
        self.design, self.sampling, self.pool = design, sampling, pool
        self.problems = {problem.problem_id: problem for problem in problems}
        self.prompts = {} if prompts is None else {problem.problem_id: problem for problem in prompts.problems}
        """The problems with their whole prompts, where there is something to sample."""
        if len(self.problems) < len(problems):
            raise UsageError(f"dataset '{question.dataset}': two problems have the same problem_id.")
        self.tally = Tally(list(self.problems), design, verifier.checks_chains)
        self.shards: list[Path] = []
        """The shards of this run, in the order of rounds and chunks."""
        self.seconds = 0.0
        self.engine = question.engine
        self.sampled = 0
        self.spent = dict.fromkeys(("sample", "verify", "write"), 0.0)
        self._clock = time.monotonic()

    # ---------------------------------------------------------------- what is there already

    def open(self) -> DatasetResult | None:
        """Claims the folder for this question or checks that it belongs to it. Returns the result if it is complete."""
        claim(self.folder, self.question, complete=(self.folder / RESULT).exists())
        for file in (*self.folder.glob(".*.tmp"), *self.folder.glob(f".{COMPLETIONS}.*")):
            file.unlink(missing_ok=True)  # half-written, when something was killed
        if (done := read_result(self.folder)) is not None:
            shutil.rmtree(self.folder / SHARDS, ignore_errors=True)  # a kill can come after the last file
            return done
        stored = self.folder / COMPLETIONS
        if stored.exists():  # merged, then killed; or re-graded, with samples still to come
            meta = completions.read_meta(stored)
            if meta.question != self.question.hash:
                raise Failure(f"{stored} was graded for another plan: run the re-grade of {self.folder} again.")
            self.seconds, self.engine = meta.seconds, meta.engine
            for table in completions.read_tables(stored):
                self.tally.add(table)
            # Nothing lacking: killed after the merge, so what shards there are have been merged.
        return None

    # ---------------------------------------------------------------- sampling

    def sample(self, stage: Stage) -> None:
        """Samples in rounds until the design stops every problem. A round is complete before its stop is tested."""
        while lacking := self.tally.lacking():
            assert self.pool is not None, "the caller saw to it that nothing is lacking"
            number, problem_ids = next(iter(lacking.items()))
            planned = plan_round(self.question, [self.prompts[i] for i in problem_ids], number, self.design)
            expected = stage.done + sum(p.chunk.rows for p in planned)
            stage.update(f"sample {self.question.dataset}, round {number + 1}", expected)
            todo = {p.chunk.key: p for p in planned if not self._resume(p, stage)}
            self.shards += [self._shard(p) for p in planned]
            self._clock = time.monotonic()
            for chunk, sampled in self.pool.run([p.chunk for p in todo.values()], self.sampling):
                self.engine = self.pool.description
                self._keep(todo[chunk.key], sampled)
                stage.advance(chunk.rows)

    def _resume(self, planned: PlannedChunk, stage: Stage) -> bool:
        """Counts the chunk's shard and returns True if there is an intact one."""
        path = self._shard(planned)
        if not path.exists():
            return False
        try:
            table, meta = completions.read_shard(path, self.question.hash, planned.chunk.key)
        except Failure as failure:
            aside = completions.move_aside(path, self.folder / DAMAGED)
            _log.warning("%s; moved to %s and sampled again", failure, aside)
            return False
        self.tally.add(table)
        self.seconds, self.engine = self.seconds + meta.seconds, meta.engine
        stage.skip(table.num_rows)
        return True

    def _keep(self, planned: PlannedChunk, sampled: Completions) -> None:
        """Verifies the completions of a chunk, writes its shard, and counts it."""
        waited = self._lap("sample")
        table = self._judged(planned, sampled)
        seconds = waited + self._lap("verify")
        meta = Meta(self.question.hash, planned.chunk.key, table.num_rows, seconds, self.engine)
        completions.write_tables(self._shard(planned), [table], meta)
        self.tally.add(table)
        self.sampled += table.num_rows
        self.seconds += seconds
        self._lap("write")

    def _judged(self, planned: PlannedChunk, sampled: Completions) -> Any:
        """Returns the chunk's rows with their verdicts as a table."""
        n = planned.chunk.n
        ids = [problem_id for problem_id in planned.problem_ids for _ in range(n)]
        flat = [completion for row in sampled for completion in row]
        verdicts, chains = judge(
            self.verifier, [self.problems[i] for i in ids], [c.text for c in flat], [c.finished for c in flat]
        )
        rows = len(flat)
        return completions.make_table(
            {
                "problem_id": ids,
                "round": [planned.round] * rows,
                "sample": [planned.first + i for _ in planned.problem_ids for i in range(n)],
                "text": [c.text for c in flat],
                "raw": [c.raw for c in flat],
                "cut": [c.cut for c in flat],
                "special": [list(c.special) or None for c in flat],
                "verdict": [verdict.value for verdict in verdicts],
                "chain": chains,
                "tokens": [c.tokens for c in flat],
                "finished": [c.finished for c in flat],
                "seed": [planned.chunk.seed] * rows,
            }
        )

    def _shard(self, planned: PlannedChunk) -> Path:
        return self.folder / SHARDS / f"{planned.chunk.key}.parquet"

    def _lap(self, phase: str) -> float:
        """Returns the seconds since the last lap and adds them to the phase."""
        now = time.monotonic()
        lap, self._clock = now - self._clock, now
        self.spent[phase] += lap
        return lap

    # ---------------------------------------------------------------- the end

    def finish(self) -> DatasetResult:
        """Merges the shards into one file, writes the counts and the result, and removes the shards."""
        counts = self.tally.counts()
        if self.shards:
            self._merge()
        write_counts(self.folder / COUNTS, counts)
        write_json_atomic(
            self.folder / RESULT,
            {
                "schema": 1,
                "plan": self.question.hash,
                "counts_sha256": file_sha256(self.folder / COUNTS),
                "completions_sha256": file_sha256(self.folder / COMPLETIONS),
                "seconds": round(self.seconds, 3),
                "engine": self.engine,
                "chains": self.tally.chains(),
            },
        )
        shutil.rmtree(self.folder / SHARDS, ignore_errors=True)
        result = read_result(self.folder)
        assert result is not None
        return dataclasses.replace(result, sampled=self.sampled, spent=self.spent)

    def _merge(self) -> None:
        """Merges earlier completions with the shards of this run, in the order of rounds and chunks."""
        target = self.folder / COMPLETIONS
        files = [target] * target.exists() + self.shards
        rows = sum(completions.read_meta(file).rows for file in files)
        tables = (table for file in files for table in completions.read_tables(file))
        completions.write_tables(target, tables, Meta(self.question.hash, "", rows, self.seconds, self.engine))
        self._lap("write")


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
