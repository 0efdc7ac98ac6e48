"""More samples for the problems that the base solved and the trained model did not: which of them are really gone.

    rlvr-gap unsolved runs/countdown/grpo-s0 --up-to 4096

That a problem was not solved in 256 samples says little where one sample in 300 would solve it. So the trained model is
asked again, for just these problems, until one answer is correct or the bound is reached: each time as often as in all
before. The samples lie beside the run and are never counted with it: the problems were chosen for their bad luck, and
a pass@k with more samples for just these would be too high.

RUN/unsolved/<verdict>/<dataset>/to-512/ to-1024/ ...    what was drawn, each an evaluation of its own
RUN/unsolved/<verdict>/<dataset>/unsolved.json           what came of it
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.engines.pool import EnginePool
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation import completions
from benchmarks.evaluation.dataset_run import COMPLETIONS
from benchmarks.evaluation.plan import Question, problems_hash, read_question
from benchmarks.evaluation.stage import DatasetResult, evaluate_dataset
from benchmarks.files import write_json_atomic
from benchmarks.records.evaluated import read_evaluated
from benchmarks.runs.lease import hold, saying
from benchmarks.runs.regrade_run import RunFolder
from benchmarks.runs.run_folder import EVAL, Place
from benchmarks.runs.suite_evaluation import check_versions
from benchmarks.seeds import derive
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import FixedDesign, JudgedBy
from benchmarks.tasks import Problem

UNSOLVED = "unsolved"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Unsolved:
    """What became of the problems of one dataset."""

    dataset: str
    verdict: JudgedBy
    n: int
    """Samples of each of them in the evaluation, none of them correct."""
    up_to: int
    """Samples of each that is still unsolved, those n among them."""
    solved: dict[str, int]
    """Problem -> the sample, counted from the evaluation's first, that solved it."""
    unsolved: tuple[str, ...]
    """The problems that are still unsolved after `up_to` samples."""
    confidence: float
    upper_limit: float | None
    """Of the chance of a correct sample, for each problem that is still unsolved; null where there is no new sample.

    From the new samples alone: the problem was chosen because the first n were wrong, so these are no evidence.
    """

    def solved_within(self, samples: int) -> int:
        """How many of the problems."""
        return sum(at <= samples for at in self.solved.values())


def draw_for_unsolved(
    run: RunFolder, dataset: str, up_to: int, place: Place, verdict: JudgedBy = "answer", model: str | None = None
) -> Unsolved:
    """Draws what is lacking, and writes and returns what came of it; what was drawn before is kept.

    The run is read again under its folder's lease, because another process may have graded it anew since.
    A run without a base beside it, an unknown dataset, a bound below the run's own samples, counts that do not tell
    sound chains: UsageError. Another model than the run's, another version of the verifier: Failure.
    """
    with hold(run.folder, saying(place.progress, run.folder)) as lease:
        found = _drawn(RunFolder.read(run.folder), dataset, up_to, place, verdict, model)
        lease.check()
        path = run.folder / UNSOLVED / verdict / dataset / "unsolved.json"
        write_json_atomic(path, {"schema": 1, **asdict(found)})
    return found


def _drawn(run: RunFolder, dataset: str, up_to: int, place: Place, verdict: JudgedBy, model: str | None) -> Unsolved:
    base, trained = _sides(run, dataset, verdict)
    n, open_ids = trained.design.max_k, lost(base, trained)
    if up_to < n:
        raise UsageError(f"--up-to {up_to} is below the {n} samples that each problem of {run.folder} had.")
    folder = run.folder / UNSOLVED / verdict / dataset
    solved: dict[str, int] = {}
    if open_ids and up_to > n:
        with _pool(run, dataset, len(open_ids), place, model) as pool:
            for before, target in checkpoints(n, up_to):
                left = [problem_id for problem_id in open_ids if problem_id not in solved]
                if left:
                    result = _draw(run, dataset, verdict, left, (before, target), pool, folder, place)
                    solved |= {i: before + 1 + at for i, at in _first_successes(result, verdict).items()}
    unsolved = tuple(problem_id for problem_id in open_ids if problem_id not in solved)
    limit = upper_limit(up_to - n, CONFIDENCE) if unsolved and up_to > n else None
    return Unsolved(dataset, verdict, n, up_to, solved, unsolved, CONFIDENCE, limit)


def lost(base: Counts, trained: Counts) -> list[str]:
    """The problems, in the trained model's order, with a correct sample of the base and none of the trained model."""
    of_base = dict(zip(base.problem_ids, base.c_N.tolist(), strict=True))
    return [i for i, c in zip(trained.problem_ids, trained.c_N.tolist(), strict=True) if not c and of_base[i]]


def checkpoints(n: int, up_to: int) -> Iterator[tuple[int, int]]:
    """(before, target) of each further round: as many samples again as there were, up to the bound."""
    before = n
    while before < up_to:
        yield before, min(2 * before, up_to)
        before = min(2 * before, up_to)


def upper_limit(n: int, confidence: float) -> float:
    """The largest chance of a correct sample that n wrong ones leave possible: (1-p)^n = 1 - confidence.

    The one-sided limit of Clopper and Pearson (1934) for none of n.
    """
    return float(1 - (1 - confidence) ** (1 / n))


def _sides(run: RunFolder, dataset: str, verdict: JudgedBy) -> tuple[Counts, Counts]:
    """The counts of the base and of the run, by the verdict."""
    if dataset not in run.record.evaluations:
        raise unknown(f"dataset of {run.folder}", dataset, run.record.evaluations)
    base = run.base()
    if base is None:
        raise UsageError(f"{run.folder}: expected the run of a trained model, with its suite's base beside it.")
    own, source = run.record.evaluations[dataset], run.suite.evaluation.datasets[dataset]
    check_versions(base, run.base_folder, dataset, source.make_task().VERSION, source.make_verifier().VERSION)
    if own.versions != base.evaluations[dataset].versions:
        raise Failure(f"{run.folder} and its base are of two versions of a task or a verifier: re-grade them first.")
    if own.problems_hash != problems_hash(source.load()):
        raise Failure(f"{run.folder} was evaluated on other problems of '{dataset}' than there are now.")
    counts = read_evaluated(base.evaluations[dataset], run.base_folder), read_evaluated(own, run.folder)
    return counts[0].judged_by(verdict), counts[1].judged_by(verdict)


def _pool(run: RunFolder, dataset: str, problems: int, place: Place, model: str | None) -> EnginePool:
    """Engines of the very model that was evaluated."""
    question = read_question(run.folder / EVAL / dataset)
    path, revision = run.model(model, f"more samples of {problems} problems of '{dataset}' are asked for")
    pool = run.pool(question, path, revision, place)
    if pool.model.identity != question.model:
        raise Failure(f"{path} is another model than the one that was evaluated in {run.folder}.")
    return pool


def _draw(
    run: RunFolder, dataset: str, verdict: JudgedBy, problem_ids: Sequence[str], samples: tuple[int, int],
    pool: EnginePool, folder: Path, place: Place,
) -> DatasetResult:  # fmt: skip
    """One further round for these problems, with seeds of its own."""
    question: Question = read_question(run.folder / EVAL / dataset)
    source, (before, target) = run.suite.evaluation.datasets[dataset], samples
    wanted = set(problem_ids)
    problems: list[Problem] = [problem for problem in source.load() if problem.problem_id in wanted]
    return evaluate_dataset(
        pool, problems, run.suite.verifier_of(dataset), dataset=dataset, task_version=question.task_version,
        design=FixedDesign(target - before), sampling=run.suite.evaluation.sampling,
        prompt_template=run.suite.template, task_revision=question.task_revision,
        seed=derive(UNSOLVED, verdict, question.seed, target),
        folder=folder / f"to-{target}", progress=place.progress,
    )  # fmt: skip


def _first_successes(result: DatasetResult, verdict: JudgedBy) -> dict[str, int]:
    """Problem -> the number, from 0, of its first correct sample by the verdict, where it has one."""
    found: dict[str, int] = {}
    names = ("problem_id", "sample", "verdict", "chain")
    for table in completions.read_tables(result.folder / COMPLETIONS):
        for problem_id, sample, judged, chain in zip(*(table[name].to_pylist() for name in names), strict=True):
            if judged == "correct" and (chain or verdict == "answer"):
                found[problem_id] = min(sample, found.get(problem_id, sample))
    return found
