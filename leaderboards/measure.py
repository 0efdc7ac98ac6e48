"""Computes every number of a page from counts: the gap of each run, and the comparison of algorithms over seeds.

A record's own gap is never shown. It is only checked: where it is not the one that the counts give, the record is
broken and has no place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.errors import Failure, UsageError
from benchmarks.statistics.comparison import Comparison, Floats, Scores, compare
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.g_pass import g_pass_at_k
from benchmarks.statistics.gap import COVER_AT, Gap, cover_samples, near_binary, sampling_efficiency_gap
from leaderboards.load import AGREES


def check(base: Counts, trained: Counts, said: Gap, verdict: JudgedBy) -> None:
    """Raises Failure if a record says another gap than both sides' counts give."""
    try:
        if odd := disagreement(base.judged_by(verdict), trained.judged_by(verdict), said):
            raise Failure(odd)
    except UsageError as error:
        raise Failure(str(error)) from error


def gap_of(base: Counts, trained: Counts, said: Gap, verdict: JudgedBy) -> Gap:
    """Computes the gap from both sides' counts, which `check` has passed. It takes a second."""
    return sampling_efficiency_gap(base.judged_by(verdict), trained.judged_by(verdict), said.k, said.confidence)


def disagreement(base: Counts, trained: Counts, said: Gap) -> str | None:
    """Says which number of a record's gap its counts do not give, or None if they give all of them."""
    if base.problem_ids != trained.problem_ids:
        return "base and trained model were not evaluated on the same problems."
    base_Q, trained_Q = (side.curve([1, said.k]).mean(axis=0) for side in (base, trained))
    pairs = {
        "gap": (base_Q[1] - trained_Q[0], said.gap),
        "base pass@1": (base_Q[0], said.base_pass_at_1),
        f"base pass@{said.k}": (base_Q[1], said.base_pass_at_k),
        "trained pass@1": (trained_Q[0], said.trained_pass_at_1),
        f"trained pass@{said.k}": (trained_Q[1], said.trained_pass_at_k),
    }
    for name, (found, recorded) in pairs.items():
        if abs(found - recorded) > AGREES:
            return f"the counts give a {name} of {found:.6f}, but the record says {recorded:.6f}."
    return None


def comparison(
    base: Counts | None,
    groups: Mapping[str, Sequence[Counts]],
    k: int | None,
    confidence: float,
    verdict: JudgedBy = "answer",
) -> Comparison | None:
    """Compares the algorithms over their seeds. None if there is none, or the verdict is not known of all counts.

    `groups`: name -> the counts of its seeds, on the problems of `base` in the same order.
    """
    sides = [*([base] if base else []), *(counts for seeds in groups.values() for counts in seeds)]
    if not any(groups.values()) or (verdict == "sound" and not all(counts.has_sound for counts in sides)):
        return None
    judged = {name: [counts.judged_by(verdict) for counts in seeds] for name, seeds in groups.items() if seeds}
    reference = base.judged_by(verdict) if base else None
    everyone = [*([reference] if reference else []), *(counts for seeds in judged.values() for counts in seeds)]
    at, samples = k or 1, cover_samples(*everyone)
    scores = Scores(
        algorithms={
            name: np.stack([scores_of(counts, at, samples) for counts in seeds]) for name, seeds in judged.items()
        },
        base_NQ=scores_of(reference, at, samples) if reference else None,
        binary_at_k=near_binary(at, *everyone),
        binary_base=reference is not None and near_binary(at, reference),
    )
    return compare(scores, confidence)


def scores_of(counts: Counts, k: int, samples: int) -> Floats:
    """(N, Q): pass@1, pass@k and Cover@tau of every problem."""
    return np.column_stack([counts.curve([1, k]), *(g_pass_at_k(counts, samples, tau) for tau in COVER_AT)])
