"""Intervals: an array goes in, a value with its interval comes out. This is the only file that makes them.

**One model for everything that is compared.** An algorithm a is trained with seeds s = 1 .. S_a and evaluated on the
problems i = 1 .. N. Its estimate on a problem (of pass@1, say) is

    y_asi = mu_a + P_ai + T_as + e_asi

P is the effect of the problem, and algorithms share problems, so P_ai and P_bi are correlated. T is the effect of the
training seed, which shifts all problems; its variance is taken to be the same for all algorithms of a table. e is what
is left: the seed's own effect on single problems, and the noise of sampling. Problems and seeds are random draws: an
interval says what another set of problems from the same source, and other seeds, would give. The base is one fixed
model and has no T.

A contrast d_i = sum over a of w_a mean_s(y_asi), such as the difference of two algorithms or the gap to a base, has

    variance of its mean = var_i(d_i) / N  +  sum over a of w_a^2 sigma_T^2 / S_a

The first term already holds P and e. The second uses sigma_T^2 = MS_seeds - MS_rest / N, never below zero, from the
two mean squares of the analysis of variance, pooled over all algorithms with two seeds or more. The interval is a t
interval with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946). Intervals for many contrasts at once use
the maximum of the correlated t statistics (`Effects.simultaneous`). `docs/statistics.md` shows the measured coverage,
and `python -m benchmarks.perf.coverage` measures it again.

**Where nearly every estimate is 0 or 1** (k near the number of samples) a sample in which nothing moved has variance 0,
and t would claim certainty. There, pseudo-problems are added: half a problem for each of the four outcomes of a
paired difference (Agresti and Min, Statistics in Medicine 24, 2005), two successes and two failures for a single share
(Agresti and Coull 1998). The mean over S seeds gets 1/S of that. A contrast that does not vary at all is treated in the
same way.

Pure numpy and scipy; what is random has a seed. Axes: M models, S seeds, N problems, C contrasts, R draws.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

JOINT_DRAWS = 20_000
"""Draws for the maximum of t statistics: the level of a simultaneous interval is then right to 0.15 points (1 s.e.)."""
BOOTSTRAP_DRAWS = 2000
_TIE = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A value with its interval. A side on which nothing is known is -inf or inf."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def within(self, low: float, high: float) -> Estimate:
        """Returns the same estimate with its interval cut to the possible range."""
        return Estimate(self.value, min(max(self.low, low), high), min(max(self.high, low), high))

    def negated(self) -> Estimate:
        """Returns the estimate of minus the quantity."""
        return Estimate(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class Moments:
    """What a contrast's t interval is made of."""

    value: float
    """The estimate itself."""
    centre: float
    """The middle of the interval: `value`, unless pseudo-problems were added."""
    error: float
    """The standard error."""
    df: float
    """Satterthwaite's degrees of freedom."""

    def interval(self, critical: float) -> Estimate:
        """centre +- critical * error."""
        reach = critical * self.error
        return Estimate(self.value, self.centre - reach, self.centre + reach)


@dataclass(frozen=True, eq=False)
class Effects:
    """One quantity of M models on the same N problems, under the model of this file; `random_effects` makes it."""

    mean_MN: Floats
    """The mean over seeds on every problem."""
    inverse_seeds_M: Floats
    """1 / S of each model; 0 for a fixed model, which has no training seed."""
    pads_M: Floats
    """Weight of each model's pseudo-problems: 1 / S where its estimates are 0 or 1, and 0 where they are not."""
    seed_square: float
    """MS_seeds: the variance of a model's mean over seeds, pooled."""
    rest_square: float
    """MS_rest / N, which MS_seeds holds besides sigma_T^2."""
    seed_df: int
    """Sum of S - 1. 0: no model has two seeds, nothing is known of training noise, and no interval holds it."""

    @property
    def seed_variance(self) -> float:
        """sigma_T^2, the variance between training seeds of a mean over all problems; 0 where it is not known."""
        return max(self.seed_square - self.rest_square, 0.0)

    @property
    def _runs_M(self) -> Floats:
        """1 / the number of runs of each model: a fixed model is one run."""
        return np.where(self.inverse_seeds_M > 0, self.inverse_seeds_M, 1.0)

    def moments(self, weights_M: ArrayLike) -> Moments:
        """Of the contrast sum of w_a mu_a."""
        weights = np.asarray(weights_M, dtype=np.float64)
        contrast_N = weights @ self.mean_MN
        added = float(weights**2 @ self.pads_M)
        if not added and float(np.ptp(contrast_N)) < _TIE:
            added = float(weights**2 @ self._runs_M)
        centre, square = _mean_and_square(contrast_N, abs(float(weights.sum())) > _TIE, added)
        share = float(weights**2 @ self.inverse_seeds_M)
        variance = square + share * self.seed_variance
        parts = square**2 / max(len(contrast_N) - 1, 1)
        if self.seed_df:
            parts += (share * self.seed_square) ** 2 / self.seed_df
        df = variance**2 / parts if parts > 0 else math.inf
        return Moments(float(contrast_N.mean()), centre, math.sqrt(variance), max(df, 1.0))

    def interval(self, weights_M: ArrayLike, confidence: float = 0.95) -> Estimate:
        """The t interval of one contrast. With a single problem nothing is known: the interval has no ends."""
        if self.mean_MN.shape[1] == 1:
            return Estimate(float(np.asarray(weights_M) @ self.mean_MN[:, 0]), -math.inf, math.inf)
        moments = self.moments(weights_M)
        return moments.interval(t_quantile(0.5 + confidence / 2, moments.df))

    def simultaneous(self, weights_CM: Sequence[ArrayLike], confidence: float = 0.95, seed: int = 0) -> list[Estimate]:
        """Intervals of differences (weights that sum to 0) that hold *all at once* with the stated confidence.

        All have the same critical value: the quantile of max over c of |t_c|, where the t_c are correlated as the
        contrasts are (through shared problems and shared models) and share one denominator with the smallest of the
        degrees of freedom (a multivariate t distribution; Hothorn, Bretz and Westfall, Biometrical Journal 50, 2008).
        `JOINT_DRAWS` draws by a generator seeded with `seed`.
        """
        rows_CM = np.array([np.asarray(row, dtype=np.float64) for row in weights_CM])
        if self.mean_MN.shape[1] == 1:
            return [self.interval(row, confidence) for row in rows_CM]
        moments = [self.moments(row) for row in rows_CM]
        critical = self._critical(rows_CM, min(m.df for m in moments), confidence, seed)
        return [m.interval(critical) for m in moments]

    def _critical(self, rows_CM: Floats, df: float, confidence: float, seed: int) -> float:
        still = not self.pads_M.any() and bool(np.any(np.ptp(rows_CM @ self.mean_MN, axis=1) < _TIE))
        pads_M = self._runs_M if still else self.pads_M
        n = self.mean_MN.shape[1] + float(np.max(rows_CM**2 @ pads_M))
        centred_MN = self.mean_MN - self.mean_MN.mean(axis=1, keepdims=True)
        spread_MM = (centred_MN @ centred_MN.T + np.diag(pads_M / 2)) / n**2
        covariance_MM = spread_MM + np.diag(self.inverse_seeds_M * self.seed_variance)
        values, vectors = np.linalg.eigh(covariance_MM)
        root_MM = vectors * np.sqrt(np.maximum(values, 0.0))
        rng = np.random.default_rng(seed)
        draws_RM = rng.standard_normal((JOINT_DRAWS, len(root_MM)))
        error_C = np.maximum(np.sqrt(np.einsum("cm,mn,cn->c", rows_CM, covariance_MM, rows_CM)), 1e-300)
        root_CM = rows_CM @ root_MM
        parts = np.array_split(draws_RM, 40)  # by parts, because (R, C) has 100 MB for 36 algorithms
        largest_R = np.concatenate([np.max(np.abs(part @ root_CM.T) / error_C, axis=1) for part in parts])
        if math.isfinite(df):
            largest_R /= np.sqrt(rng.chisquare(df, JOINT_DRAWS) / df)
        return float(np.quantile(largest_R, confidence))


def _mean_and_square(contrast_N: Floats, is_level: bool, added: float) -> tuple[float, float]:
    """The centre of the interval, and the squared standard error over problems.

    `added`: the pseudo-problems' weight, 0 for none; 1 is one share, 2 is the difference of two single runs.
    """
    n = len(contrast_N)
    if not added:
        return float(contrast_N.mean()), float(contrast_N.var(ddof=1)) / n if n > 1 else 0.0
    # a share: two problems at 1 and two at 0; a difference: half a problem at 1, half at -1, one at 0
    more, total, squares = (4 * added, 2 * added, 2 * added) if is_level else (added, 0.0, added / 2)
    centre = (float(contrast_N.sum()) + total) / (n + more)
    spread = (float(contrast_N @ contrast_N) + squares) / (n + more) - centre**2
    return centre, spread / (n + more)


def random_effects(
    models: Sequence[ArrayLike],
    fixed: Sequence[ArrayLike] = (),
    binary: bool = False,
    fixed_pads: Sequence[float] | None = None,
) -> Effects:
    """The model of this file fitted to one (S, N) array of estimates a model, and (N,) a fixed model (a base).

    The fixed ones come last in the order of models. S may differ and N may not. `binary`: the estimates are 0 or 1,
    so pseudo-problems are added. `fixed_pads`: the weight of those of each fixed model, if not 1 or 0 like `binary`.
    No model at all, an empty array or other shapes: ValueError.
    """
    trained = [np.asarray(model, dtype=np.float64) for model in models]
    bases = [np.asarray(model, dtype=np.float64) for model in fixed]
    if any(array.ndim != 2 or 0 in array.shape for array in trained) or any(array.ndim != 1 for array in bases):
        raise ValueError("expected one (seeds, problems) array a model and one (problems,) array a fixed model")
    if len({array.shape[-1] for array in [*trained, *bases]}) != 1:
        raise ValueError("expected at least one model, and the same number of problems for all")
    squares = [_squares(array) for array in trained if len(array) > 1]
    df = sum(len(array) - 1 for array in trained)
    n = trained[0].shape[1] if trained else 1
    return Effects(
        mean_MN=np.array([*(array.mean(axis=0) for array in trained), *bases]),
        inverse_seeds_M=np.array([1 / len(array) for array in trained] + [0.0] * len(bases)),
        pads_M=np.array([binary / len(array) for array in trained] + list(fixed_pads or [float(binary)] * len(bases))),
        seed_square=sum(seeds for seeds, _ in squares) / df if df else 0.0,
        rest_square=sum(rest for _, rest in squares) / (df * max(n - 1, 1)) / n if df else 0.0,
        seed_df=df,
    )


def _squares(array_SN: Floats) -> tuple[float, float]:
    """Sums of squares of one model: of its seeds' means, and of what is left beside problems and seeds."""
    means_S = array_SN.mean(axis=1, keepdims=True)
    rest_SN = array_SN - means_S - array_SN.mean(axis=0) + array_SN.mean()
    return float(np.sum((means_S - array_SN.mean()) ** 2)), float(np.sum(rest_SN**2))


def t_quantile(share: float, df: float) -> float:
    """The quantile of Student's t distribution; of the normal one where df is infinite."""
    from scipy import special  # here, not above: who reads a record needs only the schemas

    return float(special.ndtri(share) if math.isinf(df) else special.stdtrit(df, share))


def mean_interval(values_N: ArrayLike, confidence: float = 0.95, added: float = 0.0, level: bool = False) -> Estimate:
    """The mean over problems with its t interval. `level`: the values are shares, 0 to 1, and not differences.

    `added`: the weight of the pseudo-problems (see the top of this file) where values are 0 or 1: 1 for a share, 2 for
    a difference of two, 0 for none. Where all values are equal they are added in any case. With a single problem
    nothing is known: the interval has no ends.
    """
    values = np.asarray(values_N, dtype=np.float64)
    value, n = float(values.mean()), len(values)
    if n == 1:
        return Estimate(value, -math.inf, math.inf)
    if not added and float(np.ptp(values)) < _TIE:
        added = 1.0 if level else 2.0
    centre, square = _mean_and_square(values, level, added)
    return Moments(value, centre, math.sqrt(square), n - 1).interval(t_quantile(0.5 + confidence / 2, n - 1))


def ratio(effects: Effects, over_M: ArrayLike, under_M: ArrayLike, confidence: float = 0.95) -> Estimate | None:
    """over / under, two contrasts, with Fieller's interval: the values r whose contrast over - r under may be 0.

    Where `under` is not clearly different from 0, such values have no bounds and the interval is -inf to inf. None
    where it is 0. With a single problem the interval has no ends.
    """
    over, under = np.asarray(over_M, dtype=np.float64), np.asarray(under_M, dtype=np.float64)
    a, b = effects.moments(over), effects.moments(under)
    if abs(b.value) < _TIE:
        return None
    value = a.value / b.value
    if effects.mean_MN.shape[1] == 1:
        return Estimate(value, -math.inf, math.inf)
    critical = t_quantile(0.5 + confidence / 2, effects.moments(over - value * under).df)
    covariance = (effects.moments(over + under).error ** 2 - effects.moments(over - under).error ** 2) / 4
    # (a - r b)^2 = critical^2 (var a - 2 r cov + r^2 var b), a quadratic in r
    square = b.value**2 - critical**2 * b.error**2
    middle = a.value * b.value - critical**2 * covariance
    last = a.value**2 - critical**2 * a.error**2
    if square <= 0:
        return Estimate(value, -math.inf, math.inf)
    reach = math.sqrt(max(middle**2 - square * last, 0.0))
    return Estimate(value, (middle - reach) / square, (middle + reach) / square)


def bootstrap(values_NQ: ArrayLike, draws: int = BOOTSTRAP_DRAWS, seed: int = 0) -> Floats:
    """(R, Q): the column means of each of `draws` samples of N problems, drawn with replacement.

    For what is no mean of problems, such as the k at which two curves cross: the rows hold both curves, so problems
    stay paired. The generator is numpy's default, seeded with `seed`.
    """
    values = np.asarray(values_NQ, dtype=np.float64)
    return np.asarray(_resamples(len(values), draws, seed) @ values / len(values))


@functools.lru_cache(maxsize=4)
def _resamples(n: int, draws: int, seed: int) -> Floats:
    """(R, N): how often each problem comes in each sample. Tables compare many models on the same problems."""
    weights_RN = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), draws).astype(np.float64)
    weights_RN.setflags(write=False)
    return weights_RN
