"""Grades stored completions again. It needs a model only if the new verdicts call for more samples.

    rlvr-gap evaluate --regrade runs/countdown/base

Each problem keeps the order of its samples, and the design's stopping rule is applied again. A problem that now stops
earlier keeps its later samples in the file, but they no longer count. A problem that now continues needs more samples.

The completions can also be cut anew, at other stops than they were sampled with. A stop that has ended a completion
cannot be dropped, because nobody knows how the completion would have gone on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from benchmarks.engines.pool import EnginePool
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation import completions
from benchmarks.evaluation.cuts import Cuts
from benchmarks.evaluation.grading import judge
from benchmarks.evaluation.plan import Question, problems_hash, read_question, write_question
from benchmarks.evaluation.stage import COMPLETIONS, RESULT, SHARDS, DatasetResult, Run
from benchmarks.evaluation.tally import Tally
from benchmarks.files import content_hash
from benchmarks.progress import Progress
from benchmarks.settings import Sampling, Stops
from benchmarks.statistics.passk import design_from_json
from benchmarks.tasks import Problem
from benchmarks.tasks.prompts import Prompts, Template, render_all
from benchmarks.verifiers import Verifier

_ROWS = 4096
"""Rows graded at once: enough to keep a pool of verifiers busy while memory use stays flat."""


@dataclass(frozen=True)
class Regrade:
    """The outcome of a re-grade."""

    result: DatasetResult | None
    """None if samples are missing and there was no engine to draw them; the folder is then left as it was."""
    lacking: tuple[str, ...]
    """The problems that need more samples under the new verdicts."""
    changed: int
    """Completions whose verdict is another now, or that of their chain."""


def regrade(
    folder: Path | str,
    problems: Sequence[Problem],
    verifier: Verifier,
    *,
    pool: EnginePool | None = None,
    template: str | Template | None = None,
    stops: Stops | None = None,
    progress: Progress | None = None,
) -> Regrade:
    """Grades the folder's completions again, and samples what is missing if `pool` offers the same model.

    `template` is what the run was sampled with, which only sampling needs. `stops` cut the completions anew. Raises
    Failure for an unfinished evaluation, for problems or prompts other than the sampled ones, for a completion that was
    ended by a stop that is not among `stops`, and for damaged files.
    """
    folder = Path(folder)
    old = read_question(folder)
    if problems_hash(problems) != old.problems:
        raise Failure(f"{folder} was sampled for other problems than these: a re-grade needs the same ones.")
    new = replace(old, verifier=verifier.name, verifier_version=verifier.version)
    if stops is not None:
        new = replace(new, sampling={**old.sampling, "stops": stops.model_dump(mode="json")})
    _check_pool(pool, old)
    prompts = None if pool is None else _prompts(folder, old, template, problems, pool)
    if _was_begun(folder, new):
        result = None if pool is None else _sample(folder, new, problems, verifier, pool, prompts, progress)
        return Regrade(result, (), 0)
    if not (folder / COMPLETIONS).exists() or (not (folder / RESULT).exists() and (folder / SHARDS).exists()):
        raise Failure(f"{folder} holds an evaluation that is not finished: finish it first.")
    graded = _Graded(folder, old, new, problems, verifier)
    target = folder / f".{COMPLETIONS}.regraded"
    try:
        with (progress or Progress(quiet=True)).stage(f"grade {old.dataset}", graded.rows, "completions") as stage:
            completions.write_tables(target, graded.tables(stage.advance), graded.meta)
        lacking = tuple(problem_id for ids in graded.tally.lacking().values() for problem_id in ids)
        if lacking and pool is None:
            return Regrade(None, lacking, graded.changed)
        _replace(folder, new, target)
    finally:
        target.unlink(missing_ok=True)
    return Regrade(_sample(folder, new, problems, verifier, pool, prompts, progress), lacking, graded.changed)


class _Graded:
    """The stored completions with new verdicts, one row group at a time."""

    def __init__(
        self, folder: Path, old: Question, question: Question, problems: Sequence[Problem], verifier: Verifier
    ) -> None:
        before, after = (Sampling(**asked.sampling).stops for asked in (old, question))
        self.cuts = None if before == after else Cuts(folder, before, after)
        self.source = folder / COMPLETIONS
        meta = completions.read_meta(self.source)
        self.rows = meta.rows
        self.meta = replace(meta, question=question.hash)
        self.question = question
        self.problems = {problem.problem_id: problem for problem in problems}
        self.verifier = verifier
        self.tally = Tally(list(self.problems), design_from_json(question.design), verifier.checks_chains)
        self.changed = 0

    def tables(self, advance: Callable[[float], None]) -> Iterator[pa.Table]:
        """Yields each row group with its new verdicts and counts it on the way."""
        for group in completions.read_tables(self.source):
            for table in (group.slice(start, _ROWS) for start in range(0, group.num_rows, _ROWS)):
                yield self._grade(table)
                advance(table.num_rows)

    def _grade(self, table: pa.Table) -> pa.Table:
        table = table if self.cuts is None else self.cuts.cut(table)
        problems = [self.problems[problem_id] for problem_id in table["problem_id"].to_pylist()]
        verdicts, chains = judge(self.verifier, problems, table["text"].to_pylist(), table["finished"].to_pylist())
        values = [verdict.value for verdict in verdicts]
        before = zip(table["verdict"].to_pylist(), table["chain"].to_pylist(), strict=True)
        self.changed += sum(new != old for new, old in zip(zip(values, chains, strict=True), before, strict=True))
        for name, column in (("verdict", values), ("chain", chains)):
            table = completions.with_column(table, name, column)
        self.tally.add(table)
        return table


def _check_pool(pool: EnginePool | None, question: Question) -> None:
    if pool is None:
        return
    if pool.model.identity != question.model:
        raise UsageError(f"the completions are of another model ({question.model[:12]}) than '{pool.model.path}'.")
    if pool.spec.name != question.engine:
        raise UsageError(f"the completions were sampled with engine '{question.engine}', not '{pool.spec.name}'.")
    for what, then, now in (
        ("version", question.engine_version, pool.spec.version),
        ("precision", question.precision, pool.spec.precision),
    ):
        if then != now:
            raise UsageError(
                f"the completions were sampled by {question.engine} with {what} {then}, and further ones would be with "
                f"{now}: restore {then}, or evaluate the model in another folder."
            )


def _prompts(
    folder: Path, question: Question, template: str | Template | None, problems: Sequence[Problem], pool: EnginePool
) -> Prompts:
    """Returns the prompts that the samples had. Raises Failure if the template makes other ones by now."""
    prompts = render_all(template or question.prompt_template, problems, pool.spec.tokenizer)
    if content_hash(prompts.texts) != question.prompts:
        raise Failure(
            f"{folder} was sampled with other prompts than template '{question.prompt_template}' makes now: "
            "no samples can be added to it."
        )
    return prompts


def _replace(folder: Path, question: Question, graded: Path) -> None:
    """Replaces the old verdicts with the new ones. In between the folder has no result and so counts as unfinished."""
    (folder / RESULT).unlink(missing_ok=True)
    shutil.rmtree(folder / SHARDS, ignore_errors=True)  # all of them are merged: the file is there
    write_question(folder, question)
    graded.replace(folder / COMPLETIONS)


def _was_begun(folder: Path, question: Question) -> bool:
    """Tells whether a re-grade to this same question was killed while it drew its missing samples."""
    stored = folder / COMPLETIONS
    if (folder / RESULT).exists() or not stored.exists() or not (folder / SHARDS).exists():
        return False
    return read_question(folder).hash == question.hash == completions.read_meta(stored).question


def _sample(
    folder: Path, question: Question, problems: Sequence[Problem], verifier: Verifier, pool: EnginePool | None,
    prompts: Prompts | None, progress: Progress | None,
) -> DatasetResult:  # fmt: skip
    """Samples what is missing, and writes the counts and the result."""
    design, sampling = design_from_json(question.design), Sampling(**question.sampling)
    run = Run(folder, question, problems, verifier, design, sampling, pool, prompts)
    done = run.open()
    assert done is None, "the result was removed before"
    with (progress or Progress(quiet=True)).stage(f"sample {question.dataset}", unit="completions") as stage:
        run.sample(stage)
    return run.finish()
