"""How often each of several algorithms would have each place, if problems and training seeds were drawn again.

A place by itself hides how easily it changes. `comparison.Place` gives the range that holds jointly for all algorithms;
this file gives the distribution within it. Pure functions.

Axes: M algorithms, S seeds of one of them, N problems, R draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.statistics.intervals import Floats, random_effects

DRAWS = 2000
"""A share of draws then has a standard error of at most 1.1 points."""


def rank_shares(algorithms: Sequence[Floats], draws: int = DRAWS, seed: int = 0) -> Floats:
    """(M, M): the share of draws in which algorithm m (row) has place j (column), the highest mean first.

    `algorithms`: (S, N) estimates of each, on the same problems. A draw takes the problems with replacement, the same
    for all, which keeps what sampling and single problems add. Three seeds drawn with replacement would show too little
    of the noise of training, so each mean gets it from the model of `intervals.py`: normal with the variance
    sigma_T^2 / S, which is pooled over all algorithms, and t where that is known from few seeds. Ties are broken at
    random. No algorithm, or other shapes than these: ValueError.
    """
    effects = random_effects(algorithms)
    rng = np.random.default_rng(seed)
    size, n = effects.mean_MN.shape
    weights_RN = rng.multinomial(n, np.full(n, 1 / n), draws) / n
    noise_RM = rng.standard_normal((draws, size)) * np.sqrt(effects.inverse_seeds_M * effects.seed_variance)
    if effects.seed_df:
        noise_RM /= np.sqrt(rng.chisquare(effects.seed_df, (draws, 1)) / effects.seed_df)
    order_RM = np.lexsort((rng.random((draws, size)), -(weights_RN @ effects.mean_MN.T + noise_RM)), axis=1)
    return np.stack([np.mean(order_RM == m, axis=0) for m in range(size)])
