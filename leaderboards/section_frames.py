"""Tidy tables of what a section's plots show, which users get as well (`rlvr_gap`, `rlvr-gap export`).

    forest        the gap of each algorithm, with intervals that hold for all algorithms of a table at once
    pareto        the gap of each algorithm beside the tokens that its training generated
    coverage      which share of the problems both, one or none of base and trained policy solve
    histogram     how many problems have which pass@1, before training and after it
    ranks         how often each algorithm has each place

As in `frames.py`, shares are fractions, and a row says what it is about in the columns `frames.GROUP`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.records.schema import BASE
from benchmarks.statistics.comparison import Floats
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.ranks import rank_shares
from leaderboards import frames, summary
from leaderboards.by_problem import ByProblem
from leaderboards.sections import Section

COVERAGE = ("both", "trained_only", "base_only", "neither")
BINS = 10
"""Of a histogram, of equal width. A bin holds its lower edge, and the last one both."""


def forest(sections: Sequence[Section]) -> pd.DataFrame:
    """The gap and its simultaneous interval by every verdict, smallest first; the base's own gap has the row `base`."""
    rows = []
    for section in sections:
        for verdict, comparison in section.comparisons.items():
            base = comparison.joint_base
            found = [(BASE, base.own_gap)] if base else []
            found += [(one.name, one.from_base.gap) for one in comparison.joint if one.from_base]
            rows += [
                {**frames.group(section, verdict, label), "k": section.k}
                | {"gap": one.value, "gap_low": one.low, "gap_high": one.high}
                for label, one in sorted(found, key=lambda row: row[1].value)
            ]
    return frames.framed(rows, [*frames.GROUP, "gap", "gap_low", "gap_high", "k"])


def pareto(sections: Sequence[Section]) -> pd.DataFrame:
    """The gap over the tokens of training, as means over seeds, by tokens. `on_front`: no other is better in both."""
    rows = []
    for section in sections:
        for verdict, comparison in section.comparisons.items():
            tokens = {label: mean_tokens(section, label) for label in section.groups}
            costs = [(tokens[one.name], one.from_base.gap, one.name) for one in comparison.joint if one.from_base]
            known = sorted((cost, gap.value, label, gap) for cost, gap, label in costs if cost is not None)
            front = on_front([(cost, value) for cost, value, _, _ in known])
            rows += [
                {**frames.group(section, verdict, label), "training_tokens": cost}
                | {"gap": gap.value, "gap_low": gap.low, "gap_high": gap.high, "on_front": best}
                for (cost, _, label, gap), best in zip(known, front, strict=True)
            ]
    return frames.framed(rows, [*frames.GROUP, "training_tokens", "gap", "gap_low", "gap_high", "on_front"])


def mean_tokens(section: Section, label: str) -> int | None:
    """All tokens that training sampled, as a rounded mean over seeds; None where it is not known of one of them."""
    found = [summary.training_tokens(row.entry.record) for row in section.groups[label]]
    counted = [tokens for tokens in found if tokens is not None]
    return round(float(np.mean(counted))) if counted and len(counted) == len(found) else None


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point (cost, gap) is on the Pareto front: no other is as low in both, and lower in one."""
    return [
        not any(cost <= own_cost and gap <= own_gap and (cost, gap) != (own_cost, own_gap) for cost, gap in points)
        for own_cost, own_gap in points
    ]


def coverage(sections: Sequence[Section]) -> pd.DataFrame:
    """Expected shares of problems that both, one or none of base and trained policy solve within k samples.

    Base and policy are sampled independently, so the share of a problem that both solve is the product of the two
    estimates of pass@k, which is unbiased as they are. Means over problems and seeds.
    """
    rows: list[dict[str, Any]] = []
    for section, verdict, numbers in _known(sections):
        if BASE not in numbers.scores:
            continue
        base_N = numbers.means_N2(BASE)[:, 1]
        for label in numbers.labels[1:]:
            shares = covered(base_N, numbers.means_N2(label)[:, 1])
            rows.append({**frames.group(section, verdict, label), "k": section.k, **shares})
    return frames.framed(rows, [*frames.GROUP, *COVERAGE, "k"])


def covered(base_N: Floats, trained_N: Floats) -> dict[str, float]:
    """The four shares, which sum to 1, from pass@k on every problem."""
    both = float(np.mean(base_N * trained_N))
    base, trained = float(np.mean(base_N)), float(np.mean(trained_N))
    return {
        "both": both,
        "trained_only": trained - both,
        "base_only": base - both,
        "neither": 1 - base - trained + both,
    }


def histogram(sections: Sequence[Section]) -> pd.DataFrame:
    """How many problems have a pass@1 from `low` to `high`: a row for each model and bin, as a mean over seeds.

    Seeds are counted one by one: a mean over seeds varies less from problem to problem than a single model does.
    """
    rows: list[dict[str, Any]] = []
    for section, verdict, numbers in _known(sections):
        for label in numbers.labels:
            counts_B = binned(numbers.at_1_SN(label))
            common = frames.group(section, verdict, label)
            rows += [
                {**common, "low": i / BINS, "high": (i + 1) / BINS, "problems": count}
                for i, count in enumerate(counts_B.tolist())
            ]
    return frames.framed(rows, [*frames.GROUP, "low", "high", "problems"])


def binned(at_1_SN: Floats) -> Floats:
    """The number of problems in each bin, as a mean over seeds."""
    # an estimate that is 0.3 but for rounding belongs to the bin from 0.3 on
    bins_SN = np.minimum(np.floor(at_1_SN * BINS + 1e-9), BINS - 1).astype(int)
    return np.mean([np.bincount(bins_N, minlength=BINS) for bins_N in bins_SN], axis=0)


def ranks(sections: Sequence[Section]) -> pd.DataFrame:
    """The share of draws in which each algorithm has each place (`ranks.rank_shares`), of those that are placed."""
    rows: list[dict[str, Any]] = []
    for section, verdict, numbers in _known(sections):
        comparison = section.comparisons.get(verdict)
        if comparison is None or len(comparison.placed) < 2:
            continue
        shares_MM = rank_shares([numbers.at_1_SN(label) for label in comparison.placed])
        for label, shares_M in zip(comparison.placed, shares_MM.tolist(), strict=True):
            common = frames.group(section, verdict, label)
            rows += [{**common, "place": place, "share": share} for place, share in enumerate(shares_M, start=1)]
    return frames.framed(rows, [*frames.GROUP, "place", "share"])


def _known(sections: Sequence[Section]) -> Iterator[tuple[Section, JudgedBy, ByProblem]]:
    for section in sections:
        for verdict, numbers in section.estimates.items():
            yield section, verdict, numbers
