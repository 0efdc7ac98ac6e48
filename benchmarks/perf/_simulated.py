"""Simulated tables of equally good algorithms, for the benchmark and the tests of coverage.

A problem has a success probability for every training run: a beta distribution over problems whose mean and whose mass
near 0 resemble the embedded suite. The runs of a table share problems, and those of one algorithm share a little more.
A training seed shifts all problems of its run. All algorithms have the same distribution, so every difference between
two of them is 0 in truth. Axes: A algorithms, S seeds, N problems.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

SAMPLES = 256
PROBLEM, ALGORITHM, RUN = 0.90, 0.06, 0.04
"""Shares of the variance of a problem's latent difficulty: common to all, to one algorithm, to one training run."""
_GRID = np.linspace(-8, 8, 4001)


@dataclass(frozen=True)
class Population:
    """p over problems is Beta(a, b)."""

    name: str
    a: float
    b: float

    def shares(self, latent: Floats) -> Floats:
        """Success probabilities of standard normal latent values."""
        return np.interp(latent, _GRID, _curve(self))

    def pass_at_k(self, k: int, shift_sd: float = 0.0) -> float:
        """The true pass@k, where the latent values of runs are shifted with this standard deviation."""
        weights = np.exp(-(_GRID**2) / (2 * (1 + shift_sd**2)))
        return float(np.average(1 - (1 - self.shares(_GRID)) ** k, weights=weights))

    def shift_of(self, seed_sd: float) -> float:
        """The sd of the latent shift that gives pass@1 this sd over training seeds."""
        return seed_sd / _slope(self)


@functools.lru_cache
def _curve(population: Population) -> Floats:
    """The success probability at every point of the grid of latent values."""
    return np.asarray(special.betaincinv(population.a, population.b, special.ndtr(_GRID)))


@functools.lru_cache
def _slope(population: Population) -> float:
    """How fast pass@1 rises with a shift of all latent values."""
    latent, step = special.ndtri((np.arange(20_000) + 0.5) / 20_000), 0.01
    return float(np.mean(population.shares(latent + step) - population.shares(latent - step)) / (2 * step))


BASE = Population("base: pass@1 22 %, pass@256 95 %", 0.60, 2.10)
TRAINED = Population("trained: pass@1 40 %, pass@256 82 %", 0.22, 0.33)
OUT_OF_DOMAIN = Population("trained, out of domain: pass@1 8 %, pass@256 63 %", 0.20, 2.30)


def table(
    population: Population, seed_sds: list[float], seeds: int, problems: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """One table: counts of correct among `SAMPLES` of every run (A, S, N), and of the base (N,).

    `seed_sds`: the sd over seeds of pass@1, a fraction, of each algorithm.
    """
    shape = (len(seed_sds), seeds, problems)
    common_N = rng.standard_normal(problems)
    of_algorithm = rng.standard_normal((shape[0], 1, problems))
    latent = np.sqrt(PROBLEM) * common_N + np.sqrt(ALGORITHM) * of_algorithm + np.sqrt(RUN) * rng.standard_normal(shape)
    shift_A = np.array([population.shift_of(sd) for sd in sorted(set(seed_sds))])
    sds = shift_A[np.searchsorted(sorted(set(seed_sds)), seed_sds)]
    shift = sds[:, None, None] * rng.standard_normal((*shape[:2], 1))
    of_base = np.sqrt(PROBLEM) * common_N + np.sqrt(1 - PROBLEM) * rng.standard_normal(problems)
    counts = rng.binomial(SAMPLES, np.clip(population.shares(latent + shift), 0, 1))
    return counts.astype(float), rng.binomial(SAMPLES, np.clip(BASE.shares(of_base), 0, 1)).astype(float)
