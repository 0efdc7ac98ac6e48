"""The sampling efficiency gap, pass@k(base) - pass@1(trained): how much of what is within reach is not first-try yet.

Pure functions of two `Counts` of the same problems, plus a seed for the bootstrap. Whatever is resampled is resampled
over problems, paired: a draw takes the same problems for base and trained. Run on any two files of counts:

    rlvr-gap gap --base counts.jsonl --trained counts.jsonl --k 256 --json

Axes: N problems, K values of k, R bootstrap draws.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from benchmarks.errors import UsageError
from benchmarks.settings import Count, K, Share, SignedShare, Strict
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import Floats

DRAWS = 9999
CURVE_DRAWS = 2000
_TIE = 1e-12
"""Two pass@k closer than this are equal: it is the rounding of a mean, far below one sample of one problem."""


class Interval(Strict):
    """A value and its confidence interval."""

    value: SignedShare
    low: SignedShare
    high: SignedShare
    method: str
    """How `low` and `high` were made, with the fallback where there was one."""


class Crossing(Strict):
    """Where the base's pass@k curve crosses that of the trained model, for k = 1 to `k_max`."""

    kind: Literal["none", "one", "several"]
    """`none`: no crossing up to `k_max`."""
    k: tuple[FiniteFloat, ...]
    """The crossings, ascending, interpolated on log k; empty where there is none."""
    k_max: K
    """The largest k that both designs reach: nothing is known beyond it."""
    leads_at_1: Literal["base", "trained", "neither"]
    """Whose pass@1 is higher; it says who is ahead where there is no crossing."""


class KEquivalent(Strict):
    """The k at which pass@k of the base equals pass@1 of the trained model."""

    kind: Literal["value", "below_1", "above_k_max"]
    """`below_1`: the trained model is worse than one sample of the base. `above_k_max`: better than `k_max` of them."""
    k: FiniteFloat | None
    """Interpolated on log k; null unless `kind` is `value`."""
    k_max: K


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

    Each side is estimated under its own design; {problem_id: (n, c)} means a fixed one. The intervals resample the
    problems, paired, with a generator seeded by `seed` (see `interval`); they hold the noise of sampling too, but not
    that of training again. The order of the problems does not matter. `UsageError`: other problems on one side, k
    above what either design reaches, k below 1, confidence not between 0 and 1.
    """
    base, trained = _paired(_as_counts(base), _as_counts(trained))
    _check(base, trained, k, confidence)
    base_k_N, base_1_N = base.pass_at_k(k), base.pass_at_k(1)
    trained_k_N, trained_1_N = trained.pass_at_k(k), trained.pass_at_k(1)
    gap = interval(base_k_N - trained_1_N, confidence, seed)
    return Gap(
        k=int(k),
        base_pass_at_k=_mean(base_k_N),
        base_pass_at_1=_mean(base_1_N),
        trained_pass_at_1=_mean(trained_1_N),
        trained_pass_at_k=_mean(trained_k_N),
        gap=gap.value,
        low=gap.low,
        high=gap.high,
        n_problems=len(base.problem_ids),
        confidence=float(confidence),
        method=gap.method,
        sampling_error=math.hypot(_sampling_error(base, k), _sampling_error(trained, 1)),
        gain_at_1=interval(trained_1_N - base_1_N, confidence, seed),
        change_at_k=interval(trained_k_N - base_k_N, confidence, seed),
        **_curves(base, trained),
        gained=_solved_by_one(trained, base),
        lost=_solved_by_one(base, trained),
        errors=_error_bounds(base, trained, k),
    )


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


# ------------------------------------------------------------------------------------------------ intervals


def interval(differences_N: Floats, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean of per-problem differences (each in -1 to 1) with a bootstrap interval over problems.

    BCa (Efron 1987) from `DRAWS` draws of N problems with replacement, by numpy's default generator seeded with `seed`.
    Where BCa is not defined (all differences equal; all draws on one side of the mean) the percentiles of the same
    draws are taken, and `method` says so. One problem cannot be resampled: the interval is the whole range.
    """
    from scipy import stats  # here, not above: it takes a second, and who reads a record needs only the schemas

    value = float(np.mean(differences_N))
    if len(differences_N) == 1:
        return Interval(value=value, low=-1.0, high=1.0, method="whole range (one problem: nothing to resample)")
    if np.ptp(differences_N) < _TIE:
        return Interval(value=value, low=value, high=value, method="percentile (BCa degenerate: all differences equal)")
    rng = np.random.default_rng(seed)
    batch = max(1, 4_000_000 // len(differences_N))  # a few tens of MB at a time
    options: dict[str, Any] = {"confidence_level": confidence, "n_resamples": DRAWS, "batch": batch, "rng": rng}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # what it warns of is handled below
        result = stats.bootstrap((differences_N,), np.mean, method="BCa", **options)
    low, high = result.confidence_interval
    method = "BCa"
    if not (math.isfinite(low) and math.isfinite(high)):
        tail = (1 - confidence) / 2
        low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail])
        method = "percentile (BCa degenerate: all draws on one side)"
    return Interval(value=value, low=float(low), high=float(high), method=f"{method}, {DRAWS} draws of problems")


@dataclass(frozen=True)
class Curve:
    """pass@k of one model over k with a pointwise band; fractions."""

    ks: tuple[int, ...]
    mean_K: Floats
    low_K: Floats
    high_K: Floats

    def to_json(self) -> dict[str, Any]:
        """`{"k": [...], "mean": [...], "low": [...], "high": [...]}`."""
        columns = {"mean": self.mean_K, "low": self.low_K, "high": self.high_K}
        return {"k": list(self.ks)} | {name: [float(value) for value in column] for name, column in columns.items()}


def curve(counts: Counts, ks: Sequence[int], confidence: float = 0.95, seed: int = 0) -> Curve:
    """Mean pass@k for each of `ks` with a percentile bootstrap band over problems, for plots.

    `CURVE_DRAWS` draws of N problems with replacement, the same for all k, by a generator seeded with `seed`. The band
    is pointwise: it does not cover the whole curve at once, and two bands that overlap say nothing of a difference.
    k outside what the design reaches: ValueError.
    """
    counts = counts.sorted()
    estimates_NK = counts.curve(ks)
    n_problems = len(estimates_NK)
    weights_RN = np.random.default_rng(seed).multinomial(n_problems, np.full(n_problems, 1 / n_problems), CURVE_DRAWS)
    tail = (1 - confidence) / 2
    low_K, high_K = np.quantile(weights_RN @ estimates_NK / n_problems, [tail, 1 - tail], axis=0)
    return Curve(tuple(int(k) for k in ks), estimates_NK.mean(axis=0), low_K, high_K)


# ------------------------------------------------------------------------------------------------ where curves meet


def _curves(base: Counts, trained: Counts) -> dict[str, Any]:
    """`crossing` and `k_equivalent`, from the mean curves over all k that both designs reach."""
    ks = _all_k(min(base.design.max_k, trained.design.max_k))
    base_K, trained_K = (side.curve(ks).mean(axis=0) for side in (base, trained))
    return {"crossing": crossing(ks, base_K, trained_K), "k_equivalent": k_equivalent(ks, base_K, trained_K[0])}


def _all_k(k_max: int) -> list[int]:
    """1 to `k_max`: all of them to 512, then 64 to the octave."""
    ks = set(range(1, min(k_max, 512) + 1))
    if k_max > 512:
        ks |= {round(k) for k in np.geomspace(512, k_max, 1 + math.ceil(64 * math.log2(k_max / 512))).tolist()}
    return sorted(ks)


def crossing(ks: Sequence[int], base_K: Floats, trained_K: Floats) -> Crossing:
    """Where base - trained changes its sign, linear in log k between neighbours; to touch is not to cross."""
    difference_K = np.where(np.abs(base_K - trained_K) < _TIE, 0.0, base_K - trained_K)
    apart = np.flatnonzero(difference_K)
    places = []
    for i, j in itertools.pairwise(apart.tolist()):
        a, b = difference_K[i], difference_K[j]
        if a * b < 0:  # with ties between i and j, the first of them is where the curves meet
            places.append(_between(ks[i], ks[j], a / (a - b)) if j == i + 1 else float(ks[i + 1]))
    kind: Literal["none", "one", "several"] = "none" if not places else "one" if len(places) == 1 else "several"
    leads: Literal["base", "trained", "neither"] = (
        "neither" if difference_K[0] == 0 else "base" if difference_K[0] > 0 else "trained"
    )
    return Crossing(kind=kind, k=tuple(places), k_max=ks[-1], leads_at_1=leads)


def k_equivalent(ks: Sequence[int], base_K: Floats, target: float) -> KEquivalent:
    """The smallest k at which the base's curve reaches `target`, linear in log k between neighbours."""
    if target < base_K[0] - _TIE:
        return KEquivalent(kind="below_1", k=None, k_max=ks[-1])
    if target > base_K[-1] + _TIE:
        return KEquivalent(kind="above_k_max", k=None, k_max=ks[-1])
    i = int(np.argmax(base_K >= target - _TIE))
    if i == 0:
        return KEquivalent(kind="value", k=1.0, k_max=ks[-1])
    share = (target - base_K[i - 1]) / (base_K[i] - base_K[i - 1])
    return KEquivalent(kind="value", k=_between(ks[i - 1], ks[i], min(float(share), 1.0)), k_max=ks[-1])


def _between(k_left: int, k_right: int, share: float) -> float:
    """The k at `share` of the way from left to right on log k."""
    return float(k_left * (k_right / k_left) ** share)


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
