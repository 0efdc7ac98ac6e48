"""The sequential design that stops a problem on correct answers *under a sound chain*, and both pass@k under it.

Where a design stops on correct answers, a problem may stop without a sound sample, and then nobody knows whether the
first k samples held a sound one. So this design stops on the stricter verdict: a problem that stopped has a sound
sample, which is also a correct one, and "the first k samples are all wrong" stays observed for both verdicts.

A sample is sound (and correct), correct but unsound, or wrong. A problem stops in a state (n, c, s): s sound samples
among c correct ones of n. Only the pattern of sound and other samples decides when a problem stops. So, given (n, s),
every choice of the c - s correct ones among the n - s other samples is equally likely, and

    paths to (n, c, s)                            = A(n, s)    C(n-s,   c-s)
    paths to (n, c, s) that begin with k wrong    = A(n, s; k) C(n-s-k, c-s)

where A counts the paths of the two-outcome design (`SequentialDesign.paths`). The share of the first in the second is
the best unbiased estimate of "all of the first k are wrong": the product of the two-outcome estimate for the sound
verdict and of Chen's closed form over the n - s other samples. `docs/statistics.md` shows that (n, c, s) is complete.

Axes: N problems, K values of k, S stopping states (n, s), Q grid of p(sound), T grid of p(correct | not sound).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.statistics.designs import (
    ROUNDS,
    STOP_AFTER,
    Design,
    FixedDesign,
    Floats,
    Ints,
    JudgedBy,
    SequentialDesign,
    all_wrong,
    refuse,
    states,
    whole,
)


@dataclass(frozen=True)
class StopOnSound(Design):
    """Samples up to each of `rounds` in turn; stops at the first with at least `stop_after` sound ones.

    ValueError: rounds empty, not ascending or below 1; stop_after below 1.
    """

    rounds: tuple[int, ...] = ROUNDS
    stop_after: int = STOP_AFTER
    sound: SequentialDesign = field(init=False, repr=False, compare=False)
    """The same design with two outcomes, sound and not: what the sound verdict is estimated under."""
    stop_on: JudgedBy = field(default="sound", init=False, repr=False)

    def __post_init__(self) -> None:
        sound = SequentialDesign(self.rounds, self.stop_after)
        object.__setattr__(self, "rounds", sound.rounds)
        object.__setattr__(self, "sound", sound)

    def next_round(self, n: int, c: int) -> int | None:
        """The next checkpoint, or None at the last one or with `stop_after` sound samples; `c` counts sound ones."""
        return self.sound.next_round(n, c)

    def reachable(self, n: int, c: int, s: int | None = None) -> bool:
        """Whether a problem can stop with c of n correct and `s` of these sound. Without `s`: ValueError."""
        if s is None:
            raise ValueError(f"{self} needs to know how many of the correct samples are sound")
        return 0 <= s <= c <= n and self.sound.reachable(n, s)

    def pass_at_k(self, n: ArrayLike, c: ArrayLike, k: ArrayLike, s: ArrayLike | None = None) -> Any:
        """See `Design.pass_at_k`: 1 - (1 - the sound estimate at (n, s)) C(n-s-k, c-s) / C(n-s, c-s)."""
        if s is None:
            raise ValueError(f"{self} needs to know how many of the correct samples are sound")
        n_, c_, k_, s_ = whole(n=n, c=c, k=k, s=s)
        n_, c_, s_ = np.broadcast_arrays(n_, c_, s_)
        refuse((s_ > c_) | (c_ > n_), "expected s <= c <= n", n=n_, c=c_, s=s_)
        no_sound = 1.0 - np.asarray(self.sound.pass_at_k(n_, s_, k_))  # refuses what else there is to refuse
        result = 1.0 - no_sound * _none_correct(n_ - s_, c_ - s_, k_)
        return result if result.ndim else float(result)

    def _first_correct(self, n: int, c: int, k: int, s: int | None) -> Floats:
        """Of the first k, `sound` ones as the sound paths have them, and others by chance among the n - s."""
        assert s is not None, "the state was checked"
        chance_J = np.zeros(k + 1)
        others, total = n - s, math.comb(n - s, c - s)
        for sound, share in enumerate(self.sound.first_correct(n, s, k).tolist()):
            left = k - sound
            for unsound in range(min(left, c - s) + 1 if share else 0):
                if c - s - unsound <= others - left:
                    ways = math.comb(left, unsound) * math.comb(others - left, c - s - unsound)
                    chance_J[sound + unsound] += share * (ways / total)
        return chance_J

    def if_right(self, n: int, c: int, errors: int, k: int, s: int | None = None) -> float:
        """See `Design.if_right`; an error may have been sound, or correct and unsound."""
        if not errors:
            return float(self.pass_at_k(n, c, k, s))
        assert s is not None, "counts under this design have the column"
        most = 0.0
        for at in (r for r in self.rounds if r <= n):
            known = s if at == n else min(s, self.stop_after - 1)
            sound = [more for more in range(min(known + errors, at) + 1) if self.sound.reachable(at, more)]
            if sound:  # for a given number of sound ones, the more correct ones the better
                most = max(most, float(np.max(self.pass_at_k(at, np.maximum(min(c + errors, at), sound), k, sound))))
        return most

    def paths(self, n: int, c: int, s: int, wrong_first: int = 0) -> int:
        """How many paths end in the stopping state (n, c, s) and begin with `wrong_first` wrong ones; exact."""
        free = n - s - wrong_first
        return self.sound.paths(n, s, wrong_first) * math.comb(free, c - s) if 0 <= c - s <= free else 0

    def sampling_variance(self, p: ArrayLike, unsound: ArrayLike, k: int) -> Floats:
        """(Q, T): the variance over samples of the estimate of pass@k by the answer, for known chances.

        `p` (Q,) is that of a sound sample, `unsound` (T,) that of a correct answer where a sample is not sound.
        """
        p_Q1, unsound_1T = np.reshape(p, (-1, 1)), np.reshape(unsound, (1, -1))
        n_S, s_S = states(self.sound)
        square_NT = np.array([_mean_square(int(n), unsound_1T[0], k) for n in range(self.max_k + 1)])
        terms_ST = (1.0 - self.sound.table(k))[:, None] ** 2 * square_NT[n_S - s_S]
        mean_QT = ((1 - p_Q1) * (1 - unsound_1T)) ** k
        return np.maximum(self.sound.distribution(p_Q1) @ terms_ST - mean_QT**2, 0.0)

    def expected_samples(self, p: ArrayLike) -> Any:
        """See `Design.expected_samples`; `p` is the chance of a sound sample."""
        return self.sound.expected_samples(p)

    def to_json(self) -> dict[str, Any]:
        """`{"rounds": [...], "stop_after": ..., "stop_on": "sound"}`."""
        return {**super().to_json(), "stop_on": self.stop_on}


def _none_correct(n: Ints, c: Ints, k: Ints) -> Floats:
    """C(n-k, c) / C(n, c), 0 for k > n: the chance that k of n samples hold none of the c correct.

    `n` and `c` have one shape, which `k` broadcasts with; returns the common one.
    """
    result = np.zeros(np.broadcast_shapes(n.shape, k.shape))
    if result.size:
        pairs, row = np.unique(np.stack([n.ravel(), c.ravel()]), axis=1, return_inverse=True)
        result = all_wrong(pairs[0], pairs[1], int(k.max()))[row.reshape(n.shape), k - 1]
    return result


def _mean_square(n: int, p_T: Floats, k: int) -> Floats:
    """(T,): E[(C(n-c, k) / C(n, k))^2] over a binomial c of n samples; 0 for k > n."""
    if k > n:
        return np.zeros(len(p_T))
    return np.asarray(FixedDesign(n).distribution(p_T) @ (1.0 - FixedDesign(n).table(k)) ** 2)
