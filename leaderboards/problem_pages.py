"""The pages of problems: a list for each dataset, and a page for each of its problems.

A page has the question and the gold answer where the task makes its problems itself. Those of published data sets stay
out: some of them ask that nobody puts their questions on a page that models are later trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import tasks
from benchmarks.errors import Failure, UsageError
from benchmarks.records.schema import BASE
from benchmarks.statistics.comparison import Floats
from benchmarks.tasks import Problem
from leaderboards.addresses import problem_file, section_name
from leaderboards.by_problem import ByProblem
from leaderboards.completion_tables import problems_of, source_of
from leaderboards.pairs import Known
from leaderboards.sections import Section
from leaderboards.stored_samples import Sample

MOST_CHARS = 2000
"""Of a completion."""


@dataclass(frozen=True)
class Solved:
    """What one model did on a problem."""

    label: str
    at_1: float
    """As a mean over seeds, as is `at_k`."""
    at_k: float
    counts: str
    """Correct samples of all, by seed."""
    sound: str
    """Those of them with a sound chain; empty where that was not counted."""


@dataclass(frozen=True)
class ProblemPage:
    """One problem."""

    place: int
    problem_id: str
    file: str
    asked: Problem | None
    rows: Sequence[Solved]
    harder: int | None
    """Problems on which the base's pass@1 is lower; None where there is no base."""
    as_hard: int | None
    """Other problems on which it is the same."""
    samples: Sequence[tuple[str, int | None, Sequence[Sample]]]
    """Label, seed and completions."""


@dataclass(frozen=True)
class Listed:
    """A line of the list."""

    problem_id: str
    file: str | None
    base: tuple[float, float] | None
    """pass@1 and pass@k."""
    trained: tuple[float, float, float] | None
    """The lowest, mean and highest pass@1 of the algorithms; None where there is none."""
    has_samples: bool


def listed(known: Known) -> list[Listed]:
    """The problems of the section, in the order of their pages."""
    numbers, name = known.section.estimates["answer"], section_name(known.section)
    sampled = {problem_id for one in known.samples.values() for problem_id in one.by_problem}
    base = numbers.means_N2(BASE).tolist() if BASE in numbers.scores else None
    trained = [numbers.means_N2(label)[:, 0] for label in numbers.labels if label != BASE]
    spread = [part.tolist() for part in _spread(np.stack(trained))] if trained else None
    return [
        Listed(
            problem_id=problem_id,
            file=problem_file(name, i),
            base=(base[i][0], base[i][1]) if base else None,
            trained=(spread[0][i], spread[1][i], spread[2][i]) if spread else None,
            has_samples=problem_id in sampled,
        )
        for i, problem_id in enumerate(numbers.problem_ids)
    ]


def _spread(at_1_MN: Floats) -> tuple[Floats, Floats, Floats]:
    return at_1_MN.min(axis=0), at_1_MN.mean(axis=0), at_1_MN.max(axis=0)


def problem_pages(known: Known) -> Iterator[ProblemPage]:
    """One page for each of the first `addresses.MOST_PAGES` problems of the section."""
    numbers, name = known.section.estimates["answer"], section_name(known.section)
    asked = _asked(known.section)
    columns = _columns(known, numbers)
    base_N = numbers.means_N2(BASE)[:, 0] if BASE in numbers.scores else None
    harder, equal = _harder(base_N) if base_N is not None else (None, None)
    for i, problem_id in enumerate(numbers.problem_ids):
        if (file := problem_file(name, i)) is None:
            return
        samples = [
            (label, one.row.entry.record.cell.seed, one.by_problem[problem_id])
            for label, one in known.samples.items()
            if problem_id in one.by_problem
        ]
        yield ProblemPage(
            i,
            problem_id,
            file,
            asked.get(problem_id),
            [Solved(one.label, *one.means[i], one.counts[i], one.sound[i]) for one in columns],
            harder[i] if harder else None,
            equal[i] if equal else None,
            samples,
        )


def _harder(base_N: Floats) -> tuple[list[int], list[int]]:
    """For each problem, on how many others the base is worse, and on how many it is as good."""
    ordered_N = np.sort(base_N)
    below_N, up_to_N = (np.searchsorted(ordered_N, base_N, side) for side in ("left", "right"))
    return below_N.tolist(), (up_to_N - below_N - 1).tolist()


@dataclass(frozen=True)
class _Column:
    """What one model did, by problem."""

    label: str
    means: Sequence[tuple[float, float]]
    counts: Sequence[str]
    sound: Sequence[str]


def _columns(known: Known, numbers: ByProblem) -> list[_Column]:
    groups = {BASE: [known.section.base] if known.section.base else [], **known.section.groups}
    found = []
    for label in numbers.labels:
        seeds = [row.counts for row in groups[label] if row.counts]
        counts = [[f"{c}/{n}" for n, c in zip(one.n_N.tolist(), one.c_N.tolist(), strict=True)] for one in seeds]
        told = [one.s_N for one in seeds]
        sound = [[str(s) for s in s_N.tolist()] for s_N in told if s_N is not None]
        if len(sound) < len(seeds):
            sound = [[""] * len(numbers.problem_ids)]
        means = [(at_1, at_k) for at_1, at_k in numbers.means_N2(label).tolist()]
        found.append(_Column(label, means, _by_seed(counts), _by_seed(sound)))
    return found


def _by_seed(texts: Sequence[Sequence[str]]) -> list[str]:
    return [", ".join(seeds) for seeds in zip(*texts, strict=True)]


def _asked(section: Section) -> Mapping[str, Problem]:
    """The problems by id, if the task makes them itself. Empty for published data, files, and other versions."""
    row = section.base or section.rows[0]
    source = source_of(row.entry, row.dataset)
    if source.get("task") not in tasks.TASKS:
        return {}  # a record must not decide what code a page is built with
    try:
        task = tasks.get(source["task"], **source.get("settings", {}))
    except (TypeError, ValueError, UsageError, Failure):
        return {}
    if task.PATHS or task.data_revision is not None:
        return {}
    return problems_of(source, row.evaluation.versions.task, row.entry.where, lambda line: None)
