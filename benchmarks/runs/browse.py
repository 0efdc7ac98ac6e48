"""Finds problems and their stored completions in a finished run: `rlvr-gap show RUN --problem ID`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation.stored import ProblemSamples, read_samples
from benchmarks.records.evaluated import read_evaluated
from benchmarks.runs.regrade_run import RunFolder
from benchmarks.statistics.counts import NOT_CORRECT
from benchmarks.statistics.estimates import accuracy
from benchmarks.tasks import Problem


@dataclass(frozen=True)
class Browser:
    """The completions of one run."""

    run: RunFolder
    datasets: Sequence[str] = ()
    """Those to look at. The default is all."""

    def __post_init__(self) -> None:
        for name in self.datasets:
            if name not in self.run.record.evaluations:
                raise unknown(f"dataset of {self.run.folder}", name, self.run.record.evaluations)

    @property
    def names(self) -> list[str]:
        """The datasets to look at."""
        return list(self.datasets or self.run.record.evaluations)

    def problems(self, verdict: str | None = None) -> list[ProblemSamples]:
        """Returns the problems without their samples, in the order of the dataset.

        With a verdict, only those that have a sample which got it. Raises Failure for damaged counts.
        """
        found = [one for name in self.names for one in self._of(name)]
        return [one for one in found if verdict is None or one.verdicts.get(verdict, 0)]

    def problem(self, problem_id: str, verdict: str | None = None) -> ProblemSamples:
        """Returns one problem with its samples, or with those that got the verdict.

        Raises UsageError for an unknown id or one that two datasets have, and Failure for damaged files.
        """
        all_of_them = self.problems()
        found = [one for one in all_of_them if one.problem_id == problem_id]
        if not found:
            close = difflib.get_close_matches(problem_id, [one.problem_id for one in all_of_them], n=5, cutoff=0.0)
            raise UsageError(
                f"unknown problem '{problem_id}'. The nearest of {len(all_of_them)}: {', '.join(close)}. "
                f"rlvr-gap show {self.run.folder} lists them."
            )
        if len(found) > 1:
            raise UsageError(f"{len(found)} datasets have a problem '{problem_id}': choose a --dataset.")
        return replace(found[0], rows=list(self._rows(found[0], verdict)))

    def _of(self, dataset: str) -> Iterator[ProblemSamples]:
        counts = read_evaluated(self.run.record.evaluations[dataset], self.run.folder)
        columns = {name: column for name in NOT_CORRECT if (column := counts.verdicts(name)) is not None}
        columns["correct"] = counts.c_N
        p_N, problems = accuracy(counts), self._problems(dataset)
        for i, problem_id in enumerate(counts.problem_ids):
            verdicts = {name: int(column[i]) for name, column in columns.items()}
            problem = problems.get(problem_id)
            prompt, gold = (None, None) if problem is None else (problem.prompt, problem.answer)
            yield ProblemSamples(dataset, problem_id, int(counts.n_N[i]), verdicts, float(p_N[i]), prompt, gold)

    def _problems(self, dataset: str) -> dict[str, Problem]:
        """The problems by id; none if the task cannot be loaded here, since the completions can be shown without."""
        try:
            return {problem.problem_id: problem for problem in self.run.suite.evaluation.datasets[dataset].load()}
        except (Failure, UsageError):
            return {}

    def _rows(self, one: ProblemSamples, verdict: str | None) -> Iterator[dict[str, object]]:
        """Samples that do not count any more, after a re-grade that stopped earlier, are left out."""
        file = self.run.record.evaluations[one.dataset].completions_file
        assert file is not None, "a run that is not imported has its completions"
        for number, row in enumerate(read_samples(self.run.folder / file.path, one.problem_id)):
            if number < one.n and (verdict is None or row["verdict"] == verdict):
                yield row
