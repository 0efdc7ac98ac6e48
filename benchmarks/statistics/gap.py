"""The sampling efficiency gap, pass@k(base) - pass@1(trained): how much of what is within reach is not first-try yet.

Pure functions of two `Counts` of the same problems. Intervals are over problems, paired, by `intervals.py`; they do not
hold the noise of training again, which `comparison.py` takes from several seeds. Run on any two files of counts:

    rlvr-gap gap --base counts.jsonl --trained counts.jsonl --k 256 --json

Axes: N problems, K values of k.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat

from benchmarks.errors import UsageError
from benchmarks.settings import Count, K, Share, SignedShare, Strict
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.crossing import Crossing, KEquivalent, all_k, crossing, k_equivalent
from benchmarks.statistics.designs import Floats
from benchmarks.statistics.g_pass import g_pass_at_k
from benchmarks.statistics.intervals import Estimate, mean_interval, random_effects, ratio
from benchmarks.statistics.solved import Solved, solved

COVER_AT = (0.25, 0.5, 0.75)
"""The tau of Cover@tau."""
COVER_SAMPLES = 64
"""Cover@tau asks for a share tau of this many samples, or of the first checkpoint where that is smaller."""


class Interval(Strict):
    """A value and its confidence interval."""

    value: SignedShare
    low: SignedShare
    high: SignedShare
    method: str
    """How `low` and `high` were made, with the fallback where there was one."""


class Ratio(Strict):
    """A ratio with Fieller's interval. Null: not bounded on that side, or (`value`) the denominator is 0."""

    value: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None


class Cover(Strict):
    """Cover@tau of base and trained model: the share of problems on which at least a share tau of samples is correct.

    From `samples` samples of each problem, as G-Pass@k (`g_pass.py`), which is exactly unbiased under every design.
    """

    tau: Share
    samples: K
    base: Interval
    trained: Interval
    change: Interval
    """trained - base, paired."""


class ErrorBounds(Strict):
    """What the gap could be, had the verifier not failed: from the most to the least favourable verdicts."""

    base_errors: Count
    """ERROR verdicts of the base, which the gap counts as not correct."""
    trained_errors: Count
    gap_low: SignedShare
    """All errors of the trained model right, all of the base wrong."""
    gap_high: SignedShare
    """All errors of the base right, all of the trained model wrong."""


class Gap(Strict):
    """The sampling efficiency gap of one model on one dataset; `sampling_efficiency_gap` makes it."""

    k: K
    base_pass_at_k: Share
    base_pass_at_1: Share
    trained_pass_at_1: Share
    trained_pass_at_k: Share
    gap: SignedShare
    """base_pass_at_k - trained_pass_at_1; lower is better."""
    low: SignedShare
    """The interval of `gap`, at level `confidence`, over problems (paired)."""
    high: SignedShare
    n_problems: Annotated[int, Field(strict=True, ge=1)]
    confidence: Share
    method: str
    """How `low` and `high` were made, with the fallback where there was one."""
    sampling_error: Annotated[float, Field(strict=True, ge=0)]
    """Monte-Carlo standard error of `gap` given the problems: what more samples would take away."""
    gain_at_1: Interval
    """trained_pass_at_1 - base_pass_at_1."""
    change_at_k: Interval
    """trained_pass_at_k - base_pass_at_k; below zero where training narrowed what is within reach."""
    crossing: Crossing
    k_equivalent: KEquivalent
    gained: Count
    """Problems that the trained model solved and the base did not, in as many samples of each (the smaller design's).

    Where a design has more samples than that, the expected number for a part of them, rounded.
    """
    lost: Count
    """The same with base and trained model exchanged."""
    errors: ErrorBounds | None = None
    """Null where there is no ERROR verdict, or the counts do not tell errors apart."""
    base_at_k: Interval | None = None
    """The interval of base_pass_at_k. This and all that follows is null in older records."""
    base_gap: Interval | None = None
    """The base's own gap: base_pass_at_k - base_pass_at_1."""
    closed: Ratio | None = None
    """The share of the base's own gap that training closed: gain_at_1 / base_gap."""
    headroom: Ratio | None = None
    """The share of the base's headroom that training realised: gain_at_1 / (1 - base_pass_at_1)."""
    cover: tuple[Cover, ...] | None = None
    solved: Solved | None = None
    """What stands behind `gained` and `lost`."""

    def to_json(self) -> dict[str, Any]:
        """The JSON object that the command line prints and a record holds."""
        return self.model_dump(mode="json")


# ------------------------------------------------------------------------------------------------ the gap


def sampling_efficiency_gap(
    base: Counts | Mapping[str, tuple[int, int]],
    trained: Counts | Mapping[str, tuple[int, int]],
    k: int = 256,
    confidence: float = 0.95,
    seed: int = 0,
) -> Gap:
    """pass@k(base) - pass@1(trained) with its interval and what belongs to it; fractions; lower is better.

    Each side is estimated under its own design; {problem_id: (n, c)} means a fixed one. The intervals are over
    problems, paired: t intervals, with pseudo-problems where estimates are 0 or 1 (`intervals.py`), and a bootstrap
    seeded by `seed` for the crossing and the k-equivalent. They hold the noise of sampling too, but not that of
    training again. The order of the problems does not matter. `UsageError`: other problems on one side, k above what
    either design reaches, k below 1, confidence not between 0 and 1.
    """
    base, trained = _paired(_as_counts(base), _as_counts(trained))
    _check(base, trained, k, confidence)
    base_NQ, trained_NQ = base.curve([1, k]), trained.curve([1, k])
    gap = gap_interval(base, base_NQ[:, 1] - trained_NQ[:, 0], k, confidence)
    return Gap(
        k=int(k),
        base_pass_at_k=_mean(base_NQ[:, 1]),
        base_pass_at_1=_mean(base_NQ[:, 0]),
        trained_pass_at_1=_mean(trained_NQ[:, 0]),
        trained_pass_at_k=_mean(trained_NQ[:, 1]),
        gap=gap.value,
        low=gap.low,
        high=gap.high,
        n_problems=len(base.problem_ids),
        confidence=float(confidence),
        method=gap.method,
        sampling_error=math.hypot(_sampling_error(base, k), _sampling_error(trained, 1)),
        **_changes(base_NQ, trained_NQ, near_binary(k, base, trained), confidence),
        **_curves(base, trained, confidence, seed),
        gained=_solved_by_one(trained, base),
        lost=_solved_by_one(base, trained),
        errors=_error_bounds(base, trained, k),
        base_at_k=_interval(base_NQ[:, 1], confidence, near_binary(k, base), level=True),
        base_gap=gap_interval(base, base_NQ[:, 1] - base_NQ[:, 0], k, confidence),
        cover=_cover(base, trained, confidence),
        solved=solved(base, trained),
    )


def near_binary(k: int, *sides: Counts) -> bool:
    """Whether nearly all estimates of pass@k are 0 or 1: from half of a design's samples on; all are at its end."""
    return any(2 * k >= side.design.max_k and side.design.max_k > 1 for side in sides)


def gap_interval(base: Counts, difference_N: Floats, k: int, confidence: float = 0.95) -> Interval:
    """The interval of pass@k(base) - pass@1(any): half a pseudo-problem where the first of the two is nearly binary."""
    return _interval(difference_N, confidence, 0.5 if near_binary(k, base) else 0.0)


def _interval(values_N: Floats, confidence: float, added: float, level: bool = False) -> Interval:
    """As the record has it; `added` as in `intervals.mean_interval`."""
    found = mean_interval(values_N, confidence, added, level)
    within = found.within(0.0 if level else -1.0, 1.0)
    if len(values_N) == 1:
        method = "whole range (one problem says nothing of others)"
    elif float(np.ptp(values_N)) < 1e-12:
        method = "t, pseudo-problems (all values are equal)"
    else:
        method = "t, pseudo-problems" if added else "t"
    return Interval(value=min(max(found.value, -1.0), 1.0), low=within.low, high=within.high, method=method)


def _changes(base_NQ: Floats, trained_NQ: Floats, binary: bool, confidence: float) -> dict[str, Any]:
    """What training changed at 1 and at k, and the two ratios of the gain to what there was to gain."""
    gain_N, ones_N = trained_NQ[:, 0] - base_NQ[:, 0], np.ones(len(base_NQ))
    effects = random_effects([], [gain_N, base_NQ[:, 1] - base_NQ[:, 0], ones_N - base_NQ[:, 0]])
    return {
        "gain_at_1": _interval(gain_N, confidence, 0.0),
        "change_at_k": _interval(trained_NQ[:, 1] - base_NQ[:, 1], confidence, 2.0 if binary else 0.0),
        "closed": as_ratio(ratio(effects, [1, 0, 0], [0, 1, 0], confidence)),
        "headroom": as_ratio(ratio(effects, [1, 0, 0], [0, 0, 1], confidence)),
    }


def as_ratio(found: Estimate | None) -> Ratio:
    """As the record has it: null for what is not finite."""
    if found is None:
        return Ratio(value=None, low=None, high=None)
    value, low, high = (x if math.isfinite(x) else None for x in (found.value, found.low, found.high))
    return Ratio(value=value, low=low, high=high)


def _curves(base: Counts, trained: Counts, confidence: float, seed: int) -> dict[str, Any]:
    """`crossing` and `k_equivalent`, from the mean curves over all k that both designs reach."""
    ks = all_k(min(base.design.max_k, trained.design.max_k))
    base_NK, trained_NK = base.curve(ks), trained.curve(ks)
    return {
        "crossing": crossing(ks, base_NK, trained_NK, confidence, seed),
        "k_equivalent": k_equivalent(ks, base_NK, trained_NK[:, 0], confidence, seed),
    }


def cover_samples(*sides: Counts) -> int:
    """How many samples Cover@tau looks at: `COVER_SAMPLES`, or the smallest first checkpoint of the designs."""
    return min(COVER_SAMPLES, *(side.design.rounds[0] for side in sides))


def _cover(base: Counts, trained: Counts, confidence: float) -> tuple[Cover, ...]:
    samples = cover_samples(base, trained)
    found = []
    for tau in COVER_AT:
        base_N, trained_N = g_pass_at_k(base, samples, tau), g_pass_at_k(trained, samples, tau)
        found.append(
            Cover(
                tau=tau,
                samples=samples,
                base=_interval(base_N, confidence, 0.0, level=True),
                trained=_interval(trained_N, confidence, 0.0, level=True),
                change=_interval(trained_N - base_N, confidence, 0.0),
            )
        )
    return tuple(found)


def _as_counts(counts: Counts | Mapping[str, tuple[int, int]]) -> Counts:
    if isinstance(counts, Counts):
        return counts.sorted()
    try:
        return Counts.from_pairs(counts).sorted()
    except ValueError as error:
        raise UsageError(f"{error}.") from error


def _paired(base: Counts, trained: Counts) -> tuple[Counts, Counts]:
    """Both, in the order of the problem ids. Not the same problems: `UsageError`."""
    for name, here, other, there in (("base", base, "trained", trained), ("trained", trained, "base", base)):
        missing = sorted(set(here.problem_ids) - set(there.problem_ids))
        if missing:
            first = ", ".join(f"'{problem_id}'" for problem_id in missing[:3])
            more = ", ..." if len(missing) > 3 else ""
            raise UsageError(
                f"base and trained must share all problems: {len(missing)} of {name} not in {other}: {first}{more}."
            )
    return base, trained


def _check(base: Counts, trained: Counts, k: int, confidence: float) -> None:
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise UsageError(f"k must be a whole number of at least 1, got {k!r}.")
    for name, counts in (("base", base), ("trained", trained)):
        if k > counts.design.max_k:
            raise UsageError(f"k={k} is above n={counts.design.max_k}, the samples of a problem of {name}.")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must be between 0 and 1, got {confidence!r}.")


def _mean(values_N: Floats) -> float:
    return min(max(float(np.mean(values_N)), 0.0), 1.0)  # a mean of ones can round to above one


def _solved_by_one(one: Counts, other: Counts) -> int:
    """Problems that `one` solved and `other` did not; at the largest k of a design, pass@k is 1 for solved, else 0."""
    k = min(one.design.max_k, other.design.max_k)
    return round(float(np.sum(one.pass_at_k(k) * (1 - other.pass_at_k(k)))))


def _sampling_error(counts: Counts, k: int) -> float:
    return float(counts.sampling_error([k])[0])


# ------------------------------------------------------------------------------------------------ errors


def _error_bounds(base: Counts, trained: Counts, k: int) -> ErrorBounds | None:
    """The gap with the ERROR verdicts of one side all right and those of the other all wrong, both ways."""
    columns = [counts.verdicts("error") for counts in (base, trained)]
    errors = [np.zeros_like(base.n_N) if column is None else column for column in columns]
    if not any(column.any() for column in errors):
        return None
    base_right, trained_right = _mean(_if_right(base, errors[0], k)), _mean(_if_right(trained, errors[1], 1))
    return ErrorBounds(
        base_errors=int(errors[0].sum()),
        trained_errors=int(errors[1].sum()),
        gap_low=_mean(base.pass_at_k(k)) - trained_right,
        gap_high=base_right - _mean(trained.pass_at_k(1)),
    )


def _if_right(counts: Counts, errors_N: Any, k: int) -> Floats:
    """(N,): the most that pass@k could be, had all ERROR verdicts been right."""
    sound = [None] * len(counts.n_N) if counts.s_N is None else counts.s_N.tolist()
    rows = zip(counts.n_N.tolist(), counts.c_N.tolist(), errors_N.tolist(), sound, strict=True)
    return np.array([counts.design.if_right(n, c, errors, k, s) for n, c, errors, s in rows])
