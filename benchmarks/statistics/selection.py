"""How much of the lead of a tuned setting is real, and how much of it was the luck of the best of many noisy trials.

A trial is one training, so its value is mu + e: the setting's own mean over seeds, and noise with the standard
deviation sd. The trial with the best value was probably a lucky one, so its value is too high on average (the winner's
curse), even if every setting is as good as the default. Runs with fresh seeds played no part in the choice, so their
mean has no such bias. This file compares the two.

Higher is better everywhere here; negate what is to be minimised. The noise is taken to be normal, with the same sd for
all settings, and independent between runs. All runs are evaluated on the same problems, so an interval says what other
seeds would give on these problems; it does not say what other problems would give.

Axes: M settings, R settings, S seeds of one setting (which may differ between settings).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.statistics.intervals import Estimate, t_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one run around the mean of its setting, pooled over settings."""

    sd: float
    """Square root of the pooled variance; NaN where no setting has two runs."""
    df: int
    """Its degrees of freedom: the sum of S - 1."""


@dataclass(frozen=True)
class Selection:
    """What `selection` finds. Every value is a difference of means over seeds, in the unit of the input."""

    winner: int
    """The setting whose own trial had the best value."""
    seen: float
    """The winner's lead over the default as its own trial showed it."""
    fresh: Estimate
    """The winner's lead over the default on fresh seeds, which had no part in choosing it."""
    luck: Estimate
    """`seen` minus the lead on fresh seeds: how much of the lead was selection."""
    leads_M: tuple[Estimate, ...]
    """The lead of each setting on fresh seeds. The intervals hold all at once (Dunnett), so the best may be picked."""
    best: int
    """The setting with the best mean over fresh seeds."""
    noise: Noise
    """Over the fresh seeds of all settings and of the default."""

    @property
    def beaten(self) -> bool:
        """Whether the best setting leads the default by more than the simultaneous interval leaves open."""
        return self.leads_M[self.best].low > 0


def noise_sd(values_RS: Sequence[ArrayLike]) -> Noise:
    """The noise of one run: sqrt(sum over r and s of (y_rs - mean_r)^2 / sum over r of (S_r - 1)).

    One row of values a setting, and one value a seed. No row, an empty row or a value that is not finite: ValueError.
    """
    rows = [_row(values) for values in values_RS]
    if not rows:
        raise ValueError("expected at least one setting")
    df = sum(len(row) - 1 for row in rows)
    squares = sum(float(np.sum((row - row.mean()) ** 2)) for row in rows)
    return Noise(math.sqrt(squares / df) if df else math.nan, df)


def seeds_for(sd: float, resolve: float, most: int, confidence: float = 0.95) -> int:
    """The fewest seeds a setting needs so that two settings are compared to within `resolve`, and at most `most`.

    It is the smallest S >= 2 with t(2 (S - 1)) sd sqrt(2 / S) <= resolve: the half-width of the t interval of the
    difference of two means over S seeds each, if `sd` is the noise of a single run. `sd` and `resolve` have the same
    unit. `most` is returned where more would be needed. A negative sd, `resolve` <= 0 or `most` < 2: ValueError.
    """
    if not (sd >= 0 and math.isfinite(sd) and resolve > 0 and most >= 2 and 0 < confidence < 1):
        raise ValueError(f"expected sd >= 0, resolve > 0, most >= 2, got {sd}, {resolve}, {most} at {confidence}")
    return next((s for s in range(2, most) if half_width(sd, s, confidence) <= resolve), most)


def half_width(sd: float, seeds: int, confidence: float = 0.95) -> float:
    """Half the length of the t interval of the difference of two means over `seeds` >= 2 runs each of noise `sd`."""
    if seeds < 2:
        raise ValueError(f"expected at least 2 seeds, got {seeds}")
    return t_quantile(0.5 + confidence / 2, 2 * (seeds - 1)) * sd * math.sqrt(2 / seeds)


def selection(
    first_M: ArrayLike, fresh_MS: Sequence[ArrayLike], default_S: ArrayLike, confidence: float = 0.95
) -> Selection:
    """How much of the winner's lead over the default remains on fresh seeds; the rest of it was selection.

    `first_M`: the value of each setting's own trial, by which it was chosen. `fresh_MS`: the values of the same
    settings with seeds that had no part in the choice. `default_S`: those of the default. All are finite.

    `fresh` is an ordinary t interval with the pooled noise, because the winner was chosen without its fresh seeds.
    `luck` is first - mu of the winner: `first` is what was seen, so only the fresh mean has an error. Both hold
    whatever the choice was. `leads_M` are Dunnett's intervals (JASA 50, 1955; scipy.stats.dunnett with a fixed
    generator), because whoever picks the best of several fresh means selects again. Where the noise cannot be
    estimated (no setting has two fresh seeds, or all of them agree exactly) intervals have no ends. ValueError for
    other shapes.
    """
    first = _row(first_M)
    fresh, default = [_row(values) for values in fresh_MS], _row(default_S)
    if len(first) != len(fresh):
        raise ValueError(f"expected fresh seeds for each of {len(first)} settings, got {len(fresh)}")
    noise = noise_sd([*fresh, default])
    winner = int(np.argmax(first))
    means_M = np.array([row.mean() for row in fresh])
    lead, gone = float(means_M[winner] - default.mean()), float(first[winner] - means_M[winner])
    return Selection(
        winner=winner,
        seen=float(first[winner] - default.mean()),
        fresh=_interval(lead, noise, 1 / len(fresh[winner]) + 1 / len(default), confidence),
        luck=_interval(gone, noise, 1 / len(fresh[winner]), confidence),
        leads_M=_leads(fresh, default, noise, confidence),
        best=int(np.argmax(means_M)),
        noise=noise,
    )


def expected_luck(trials: int) -> float:
    """By how many sd the best of `trials` equally good settings looks better than it is: E max of standard normals.

    E max = integral over x of x n phi(x) Phi(x)^(n-1), by the trapezoidal rule on [-9, 9], right to nine digits.
    """
    if trials < 1:
        raise ValueError(f"expected at least one trial, got {trials}")
    from scipy import special, stats

    x = np.linspace(-9.0, 9.0, 20_001)
    return float(np.trapezoid(x * trials * stats.norm.pdf(x) * special.ndtr(x) ** (trials - 1), x))


def _row(values: ArrayLike) -> Floats:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
        raise ValueError(f"expected a list of finite values with at least one of them, got {row.tolist()}")
    return row


def _interval(value: float, noise: Noise, share: float, confidence: float) -> Estimate:
    """A t interval with the variance share * sd^2; without ends where the noise is not known."""
    if not noise.df or not noise.sd > 0:
        return Estimate(value, -math.inf, math.inf)
    reach = t_quantile(0.5 + confidence / 2, noise.df) * noise.sd * math.sqrt(share)
    return Estimate(value, value - reach, value + reach)


def _leads(fresh: Sequence[Floats], default: Floats, noise: Noise, confidence: float) -> tuple[Estimate, ...]:
    values = [float(row.mean() - default.mean()) for row in fresh]
    if not noise.df or not noise.sd > 0:
        return tuple(Estimate(value, -math.inf, math.inf) for value in values)
    from scipy import stats  # here, not above: it takes a second

    test = stats.dunnett(*fresh, control=default, rng=np.random.default_rng(0))
    found = test.confidence_interval(confidence)
    return tuple(
        Estimate(value, float(low), float(high)) for value, low, high in zip(values, found.low, found.high, strict=True)
    )
