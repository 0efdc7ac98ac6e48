"""What can be said of one model on one dataset, each estimate with its interval.

pass@k holds under any design. G-Pass@k, Cover@tau and maj@k look at no more samples than the first checkpoint of the
design, which every problem has: that many samples are a fixed design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.counts import Counts
from benchmarks.statistics.designs import Floats
from benchmarks.statistics.g_pass import g_pass_at_k
from benchmarks.statistics.gap import COVER_AT, cover_samples, near_binary
from benchmarks.statistics.intervals import Estimate, mean_interval
from benchmarks.statistics.maj import Votes, maj_at_k

G_PASS_K, G_PASS_AT = 16, (0.5, 1.0)
"""The k and tau of G-Pass@k that a table shows; k is smaller if the first checkpoint is."""
_STILL = 1e-3
"""Estimates that differ by less are as good as equal."""
MOST_VOTES = 64
"""The largest k of maj@k that a table shows."""


@dataclass(frozen=True)
class Line:
    """One estimate, the mean over all problems, under the name that a table shows."""

    name: str
    estimate: Estimate


def estimates(counts: Counts, k: int, votes: Sequence[Votes] | None = None, confidence: float = 0.95) -> list[Line]:
    """Returns pass@1 to pass@k, G-Pass@k, Cover@tau and, if the votes are known, maj@k.

    `votes`: of each problem over the first checkpoint's samples, in any order of problems. Intervals are t intervals
    over problems, with pseudo-problems where estimates are 0 or 1 (`intervals`). ValueError for a k above the design's
    samples.
    """
    first, greedy = counts.design.rounds[0], counts.design.max_k == 1

    def line(name: str, values_N: Floats, binary: bool) -> Line:
        still = float(np.ptp(values_N)) < _STILL  # t would claim certainty
        added = 1.0 if binary or still else 0.0
        return Line(name, mean_interval(values_N, confidence, added, level=True).within(0, 1))

    lines = [line(f"pass@{at}", counts.pass_at_k(at), greedy or near_binary(at, counts)) for at in _powers(k)]
    if first > 1:
        width, samples = min(G_PASS_K, first), cover_samples(counts)
        lines += [line(f"G-Pass@{width} at {tau:g}", g_pass_at_k(counts, width, tau), False) for tau in G_PASS_AT]
        lines += [line(f"Cover@{tau:g}", g_pass_at_k(counts, samples, tau), False) for tau in COVER_AT]
    if votes is not None and first > 1:
        asked = _powers(min(first, MOST_VOTES))[1:]
        lines += [line(f"maj@{at}", maj_at_k(votes, at), 2 * at >= first) for at in asked]
    return lines


def accuracy(counts: Counts) -> Floats:
    """(N,): the estimate of each problem's accuracy p: c / n under a fixed design, and without bias under any other."""
    return np.asarray(counts.pass_at_k(1))


def _powers(largest: int) -> list[int]:
    """Returns 1, 4, 16, ... below `largest`, and `largest`."""
    return sorted({*(4**i for i in range(largest.bit_length()) if 4**i < largest), largest})
