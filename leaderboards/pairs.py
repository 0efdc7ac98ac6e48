"""The pages that compare two models of a leaderboard, problem by problem: an algorithm with another, or with the base.

One page holds every dataset on which both are, by every verdict. The intervals are those of `comparison.py`: jointly
for all pairs of algorithms, and one at a time for an algorithm and the base. The picture is drawn here and not by
seaborn: a leaderboard of 18 algorithms has 171 pairs, and a figure takes longer than all else on ten of these pages.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.records.schema import BASE
from benchmarks.statistics.comparison import Comparison, Floats
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.intervals import Estimate
from leaderboards.addresses import pair_file, pair_order
from leaderboards.by_problem import Outcome, outcome, sides
from leaderboards.sections import Section
from leaderboards.stored_samples import Sample, Samples

MOST = 10
"""Problems that a page lists on each side: those on which the two differ most."""
MOST_CHARS = 600
"""Of a completion."""
POINTS = 200
"""The picture has at most this many bars."""
WIDTH, HEIGHT = 400, 80
"""Of the picture, and of each of its halves."""


@dataclass(frozen=True)
class Difference:
    """A number of the one less that of the other, as a fraction."""

    name: str
    value: float
    interval: Estimate | None
    """None where an algorithm has too few seeds."""


@dataclass(frozen=True)
class Judged:
    """What one verdict says of a pair."""

    verdict: JudgedBy
    differences: Sequence[Difference]
    outcome: Outcome


@dataclass(frozen=True)
class Problem:
    """A problem that one side won: pass@1 of both, and a stored completion of each where there is one."""

    place: int
    """In the order of the dataset's problems."""
    problem_id: str
    one: float
    other: float
    completions: tuple[Sample | None, Sample | None]


@dataclass(frozen=True)
class Datum:
    """What a pair's page says of one dataset."""

    section: Section
    verdicts: Sequence[Judged]
    bars: tuple[str, str]
    """The paths of the picture above zero and below it."""
    scale: float
    """The difference that reaches its upper and lower end."""
    quantiles: Sequence[tuple[str, float]]
    """Of the differences in pass@1."""
    won: Sequence[Problem]
    lost: Sequence[Problem]
    sampled: Sequence[Problem]
    """Problems won or lost of which both have a stored completion."""


@dataclass(frozen=True)
class PairPage:
    """Two models, in the order in which they are subtracted."""

    one: str
    other: str
    file: str
    data: Sequence[Datum]


@dataclass(frozen=True, eq=False)
class Known:
    """All that is known of a section's problems."""

    section: Section
    samples: Mapping[str, Samples]


def pair_pages(found: Sequence[Known]) -> Iterator[PairPage]:
    """One page for each two models that share a dataset."""
    pairs: dict[tuple[str, str], list[Known]] = {}
    for one in found:
        labels = sorted(one.section.estimates["answer"].labels, key=pair_order)
        for pair in itertools.combinations(labels, 2):
            pairs.setdefault(pair, []).append(one)
    for (first, second), where in sorted(pairs.items()):
        data = [_datum(one, first, second) for one in where]
        yield PairPage(first, second, pair_file(first, second), data)


def _datum(known: Known, one: str, other: str) -> Datum:
    numbers = known.section.estimates["answer"]
    one_N, other_N = (numbers.means_N2(label)[:, 0] for label in (one, other))
    ahead_N = one_N - other_N
    side_N = sides(numbers.at_1_SN(one), numbers.at_1_SN(other))
    make = _problem_maker(known, one, other, one_N, other_N)
    decided = [make(i) for i in np.argsort(-np.abs(ahead_N), kind="stable") if side_N[i]]
    top = scale(ahead_N)
    shares = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)
    return Datum(
        known.section,
        [_judged(known, verdict, one, other) for verdict in known.section.estimates],
        (bars(np.maximum(ahead_N, 0) / top), bars(np.minimum(ahead_N, 0) / top)),
        top,
        [(f"{100 * share:g} %", float(np.quantile(ahead_N, share))) for share in shares],
        [problem for problem in decided if problem.one > problem.other][:MOST],
        [problem for problem in decided if problem.one < problem.other][:MOST],
        [problem for problem in decided if all(problem.completions)],
    )


def _problem_maker(known: Known, one: str, other: str, one_N: Floats, other_N: Floats) -> Callable[[int], Problem]:
    ids = known.section.estimates["answer"].problem_ids

    def first(label: str, problem_id: str) -> Sample | None:
        rows = known.samples[label].by_problem.get(problem_id) if label in known.samples else None
        return rows[0] if rows else None

    def make(i: int) -> Problem:
        completions = (first(one, ids[i]), first(other, ids[i]))
        return Problem(int(i), ids[i], float(one_N[i]), float(other_N[i]), completions)

    return make


def _judged(known: Known, verdict: JudgedBy, one: str, other: str) -> Judged:
    numbers = known.section.estimates[verdict]
    comparison = known.section.comparisons.get(verdict)
    means_2 = numbers.means_N2(one).mean(axis=0) - numbers.means_N2(other).mean(axis=0)
    found = differences(comparison, one, other, float(means_2[0]), float(means_2[1]), known.section.k)
    return Judged(verdict, found, outcome(numbers.at_1_SN(one), numbers.at_1_SN(other)))


def differences(
    comparison: Comparison | None, one: str, other: str, at_1: float, at_k: float, k: int
) -> list[Difference]:
    """The pair's differences with the comparison's intervals. `at_1`, `at_k`: one less other, of pass@1 and pass@k."""
    if other == BASE:
        standing = next((row for row in comparison.standings if row.name == one), None) if comparison else None
        since = standing.from_base if standing else None
        return [
            *([Difference("gap", since.gap.value, since.gap)] if since else []),
            Difference("gain in pass@1", at_1, since.gain_at_1 if since else None),
            Difference(f"change in pass@{k}", at_k, since.change_at_k if since else None),
        ]
    gap = _of_matrix(comparison, "gap_MM", one, other)
    mirrored = Estimate(-gap.value, -gap.high, -gap.low) if gap else None
    return [
        Difference("gap", -at_1, gap),
        Difference("pass@1", at_1, mirrored),
        Difference(f"pass@{k}", at_k, _of_matrix(comparison, "pass_at_k_MM", one, other)),
    ]


def _of_matrix(comparison: Comparison | None, name: str, one: str, other: str) -> Estimate | None:
    if comparison is None or not {one, other} <= set(comparison.placed):
        return None
    matrix: tuple[tuple[Estimate | None, ...], ...] = getattr(comparison, name)
    return matrix[comparison.placed.index(one)][comparison.placed.index(other)]


def scale(values_N: Floats) -> float:
    """The smallest of 0.1, 0.2, 0.5 and 1 that no value exceeds, whatever its sign."""
    return next(top for top in (0.1, 0.2, 0.5, 1.0) if top >= 1 or np.abs(values_N).max() <= top)


def bars(values_N: Floats) -> str:
    """The outline of bars, largest value first, as the `d` of an SVG path: 1 is `HEIGHT` above the middle.

    More than `POINTS` problems are shown by as many quantiles.
    """
    ordered_N = np.sort(values_N)[::-1]
    if len(ordered_N) > POINTS:
        ordered_N = np.quantile(values_N, (np.arange(POINTS)[::-1] + 0.5) / POINTS)
    x_N = np.rint(np.arange(len(ordered_N) + 1) * WIDTH / len(ordered_N)).astype(int).tolist()
    y_N = np.rint(HEIGHT * (1 - ordered_N)).astype(int).tolist()
    steps = [f"H{x}V{y}" for x, y, before in zip(x_N, y_N, [None, *y_N], strict=False) if y != before]
    return f"M0 {HEIGHT}{''.join(steps)}H{WIDTH}V{HEIGHT}Z"
