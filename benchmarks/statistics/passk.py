"""pass@k from counts: n samples of a problem, c of them correct, drawn under a design that was fixed beforehand.

The closed form for a fixed number of samples, a dataset's mean with its two standard errors, and the designs of
`designs.py` under one name with them. `docs/statistics.md` derives all of it.

Pure functions of integers, numpy alone. Axes: N problems, K values of k, S stopping states of a design, Q grid of
success probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.statistics.designs import (
    Design,
    FixedDesign,
    Floats,
    Ints,
    SequentialDesign,
    all_wrong,
    refuse,
    whole,
)
from benchmarks.statistics.sampling import mixing_weights, sampling_error
from benchmarks.statistics.stop_on_sound import StopOnSound

__all__ = [
    "DatasetPassAtK",
    "Design",
    "FixedDesign",
    "Floats",
    "Ints",
    "SequentialDesign",
    "StopOnSound",
    "dataset_pass_at_k",
    "design_from_json",
    "mixing_weights",
    "pass_at_k",
    "sampling_error",
]


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Any:
    """1 - C(n-c, k) / C(n, k): the chance that k of n samples, drawn without replacement, hold one of the c correct.

    Unbiased for 1 - (1-p)^k where n was fixed beforehand (Chen et al. 2021, 2107.03374, eq. 1). `n`, `c`, `k`
    broadcast; returns their shape in float64, a float where all are scalars. ValueError: not whole, k < 1, c < 0,
    k > n, c > n. (For k > n the textbook form would give 1.0 where nothing is known.)
    """
    n_, c_, k_ = np.broadcast_arrays(*whole(n=n, c=c, k=k))
    refuse(k_ < 1, "k must be at least 1", n=n_, c=c_, k=k_)
    refuse(c_ < 0, "c must not be negative", n=n_, c=c_, k=k_)
    refuse(c_ > n_, "c must not exceed n", n=n_, c=c_, k=k_)
    refuse(k_ > n_, "k must not exceed n", n=n_, c=c_, k=k_)
    result = np.empty(n_.shape)
    if result.size:
        base = int(n_.max()) + 1
        pairs, row = np.unique(n_.ravel() * base + c_.ravel(), return_inverse=True)
        failing = all_wrong(pairs // base, pairs % base, int(k_.max()))
        result = (1.0 - failing[row, k_.ravel() - 1]).reshape(n_.shape)
    return result if result.ndim else float(result)


def design_from_json(data: Mapping[str, Any]) -> Design:
    """The design of `Design.to_json`, or of `{"n": 256}`. Anything else: ValueError that says what was expected."""
    if set(data) == {"n"}:
        return FixedDesign(data["n"])
    rounds, stop_after, stop_on = (data.get(name) for name in ("rounds", "stop_after", "stop_on"))
    if set(data) - {"stop_on"} != {"rounds", "stop_after"} or not isinstance(rounds, list | tuple):
        raise ValueError(f'design must be {{"rounds": [...], "stop_after": ...}} or {{"n": ...}}, got {dict(data)}')
    if data.get("stop_on", "answer") not in ("answer", "sound"):
        raise ValueError(f"stop_on must be answer or sound, got {stop_on!r}")
    if stop_on == "sound" and stop_after is None:
        raise ValueError("stop_on says what stops a problem: it needs stop_after")
    if stop_after is not None:
        return (StopOnSound if stop_on == "sound" else SequentialDesign)(tuple(rounds), stop_after)
    if len(rounds) != 1:
        raise ValueError(f"stop_after may be null only where rounds has one entry, got rounds {list(rounds)}")
    return FixedDesign(rounds[0])


# ------------------------------------------------------------------------------------------------ datasets


@dataclass(frozen=True)
class DatasetPassAtK:
    """A dataset's mean pass@k over all its problems, with its two standard errors (see `dataset_pass_at_k`)."""

    ks: tuple[int, ...]
    n_problems: int
    mean_K: Floats
    total_K: Floats
    """Standard error over problems and samples; NaN for one problem."""
    sampling_K: Floats
    """Standard error over samples, given the problems."""

    def to_json(self) -> dict[str, Any]:
        """`{"pass_at_k": {k: mean}, "standard_error": {k: {"total": ..., "sampling": ...}}}`; NaN becomes null."""
        total = [None if math.isnan(value) else float(value) for value in self.total_K]
        errors = [{"total": t, "sampling": float(s)} for t, s in zip(total, self.sampling_K, strict=True)]
        return {
            "pass_at_k": dict(zip(self.ks, map(float, self.mean_K), strict=True)),
            "standard_error": dict(zip(self.ks, errors, strict=True)),
        }


def dataset_pass_at_k(
    n_N: ArrayLike, c_N: ArrayLike, design: Design, ks: Sequence[int], s_N: ArrayLike | None = None
) -> DatasetPassAtK:
    """Mean pass@k over the problems, for each of `ks`, as fractions. `s_N` as in `Design.pass_at_k`.

    No problem, or what `Design.pass_at_k` refuses: ValueError.
    `total`: sd of the N estimates (N - 1 in the denominator) / sqrt(N); it holds the noise of sampling too.
    `sampling`: `sampling_error`.
    """
    estimates_NK = design.curve(n_N, c_N, ks, s_N)
    n_problems = len(estimates_NK)
    if not n_problems:
        raise ValueError("pass@k of a dataset needs at least one problem")
    spread_K = np.std(estimates_NK, axis=0, ddof=1) if n_problems > 1 else np.full(len(ks), np.nan)
    return DatasetPassAtK(
        ks=tuple(int(k) for k in ks),
        n_problems=n_problems,
        mean_K=estimates_NK.mean(axis=0),
        total_K=spread_K / math.sqrt(n_problems),
        sampling_K=sampling_error(n_N, c_N, design, ks, s_N),
    )
