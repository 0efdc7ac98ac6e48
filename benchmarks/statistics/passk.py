"""pass@k from counts: n samples of a problem, c of them correct, drawn under a design that was fixed beforehand.

`FixedDesign` draws n samples of every problem: the closed form of Chen et al. 2021 (2107.03374). `SequentialDesign`
stops a problem early once it has enough correct ones, which saves about half of the samples, and has its own unbiased
estimator; for its states the closed form would be biased upward. `docs/statistics.md` derives both.

A path is a sequence of n outcomes (right or wrong). Pure functions of integers, numpy alone. Axes: N problems, K values
of k, S stopping states of a design, Q grid of success probabilities.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = (64, 128, 256)
STOP_AFTER = 4
_GRID_POINTS = 100
_EM_STEPS = 200


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Any:
    """1 - C(n-c, k) / C(n, k): the chance that k of n samples, drawn without replacement, hold one of the c correct.

    Unbiased for 1 - (1-p)^k where n was fixed beforehand (Chen et al. 2021, 2107.03374, eq. 1). `n`, `c`, `k`
    broadcast; returns their shape in float64, a float where all are scalars. ValueError: not whole, k < 1, c < 0,
    k > n, c > n. (For k > n the textbook form would give 1.0 where nothing is known.)
    """
    n_, c_, k_ = np.broadcast_arrays(*_whole(n=n, c=c, k=k))
    _refuse(k_ < 1, "k must be at least 1", n_, c_, k_)
    _refuse(c_ < 0, "c must not be negative", n_, c_, k_)
    _refuse(c_ > n_, "c must not exceed n", n_, c_, k_)
    _refuse(k_ > n_, "k must not exceed n", n_, c_, k_)
    result = np.empty(n_.shape)
    if result.size:
        base = int(n_.max()) + 1
        pairs, row = np.unique(n_.ravel() * base + c_.ravel(), return_inverse=True)
        failing = _all_wrong(pairs // base, pairs % base, int(k_.max()))
        result = (1.0 - failing[row, k_.ravel() - 1]).reshape(n_.shape)
    return result if result.ndim else float(result)


def _all_wrong(n_U: Ints, c_U: Ints, k_max: int) -> Floats:
    """(U, k_max): C(n-c, k) / C(n, k) for k = 1 to k_max, as the product over j < k of (n-c-j) / (n-j)."""
    j_K = np.arange(k_max)
    wrong_UK = np.maximum(n_U[:, None] - c_U[:, None] - j_K, 0)  # 0 from the draw on that must be a correct one
    return np.cumprod(wrong_UK / np.maximum(n_U[:, None] - j_K, 1), axis=1)


def _whole(**values: ArrayLike) -> list[Ints]:
    """The values as int64 arrays. Booleans, fractions, and what is no number: ValueError."""
    result = []
    for name, value in values.items():
        array = np.asarray(value)
        whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool(np.all(array == np.floor(array))))
        if array.size and not (whole and np.all(np.abs(array) < 2**31)):
            raise ValueError(f"{name} must be whole numbers, got {value!r}")
        result.append(array.astype(np.int64))
    return result


def _refuse(bad: NDArray[np.bool_], why: str, n: Ints, c: Ints, k: Ints | None = None) -> None:
    """ValueError with the values at the first place where `bad` holds."""
    if np.any(bad):
        i = int(np.argmax(np.ravel(bad)))
        names = {"n": n, "c": c} | ({} if k is None else {"k": k})
        raise ValueError(f"{why}: " + ", ".join(f"{name}={np.ravel(v)[i]}" for name, v in names.items()))


class Design(abc.ABC):
    """How many samples of each problem are drawn. Immutable, hashable; part of the counts that were drawn under it."""

    rounds: tuple[int, ...]
    """Checkpoints: total samples of a problem, ascending."""
    stop_after: int | None
    """Correct samples at a checkpoint that stop a problem; None: never, there is one checkpoint."""

    @property
    def max_k(self) -> int:
        """The largest k that can be estimated: the samples of a problem that is never stopped early."""
        return self.rounds[-1]

    @abc.abstractmethod
    def paths(self, n: int, c: int, wrong_first: int = 0) -> int:
        """How many paths end in the stopping state (n, c) and begin with `wrong_first` wrong ones; exact; 0: none."""

    @abc.abstractmethod
    def next_round(self, n: int, c: int) -> int | None:
        """The total to sample up to for a problem with c of n correct at a checkpoint (or n = 0); None: it has stopped.

        ValueError for an (n, c) that cannot occur between rounds.
        """

    @abc.abstractmethod
    def _ways(self) -> dict[tuple[int, int], int]:
        """`paths` to every stopping state, by n and then c."""

    @abc.abstractmethod
    def _table(self, k: int) -> Floats:
        """(S,): the estimate of pass@k in each of `_states(self)`."""

    def reachable(self, n: int, c: int) -> bool:
        """Whether a problem can stop with c correct of n."""
        return (int(n), int(c)) in _index(self)

    def pass_at_k(self, n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Any:
        """The minimum-variance unbiased estimate of 1 - (1-p)^k for a problem that stopped with c correct of n.

        Broadcasts; returns the common shape in float64, a float for scalars. ValueError: not whole, k < 1,
        k > `max_k`, an (n, c) in which this design does not stop.
        """
        n_, c_, k_ = np.broadcast_arrays(*_whole(n=n, c=c, k=k))
        _refuse(k_ < 1, "k must be at least 1", n_, c_, k_)
        _refuse(k_ > self.max_k, f"k must not exceed {self.max_k}, the samples that {self} reaches", n_, c_, k_)
        states = self._find(n_, c_)
        ks, row = np.unique(k_, return_inverse=True)
        tables = np.array([self._table(int(k)) for k in ks])
        result = tables[row.reshape(k_.shape), states] if k_.size else np.empty(k_.shape)
        return result if result.ndim else float(result)

    def curve(self, n_N: ArrayLike, c_N: ArrayLike, ks: Sequence[int]) -> Floats:
        """(N, K): `pass_at_k` of every problem at every k; the same errors."""
        return np.asarray(self.pass_at_k(np.reshape(n_N, (-1, 1)), np.reshape(c_N, (-1, 1)), np.reshape(ks, (1, -1))))

    def _find(self, n: Ints, c: Ints) -> Ints:
        """The positions of (n, c) in `_states(self)`, in their shape. Unreachable: ValueError."""
        index = _index(self)
        found = [index.get(pair, -1) for pair in zip(n.ravel().tolist(), c.ravel().tolist(), strict=True)]
        states = np.array(found, dtype=np.int64).reshape(n.shape)
        _refuse(states < 0, f"{self} never stops there", n, c)
        return states

    def distribution(self, p: ArrayLike) -> Floats:
        """(Q, S): the chance of each stopping state for problems that a sample solves with probability `p` (Q,)."""
        p_Q1 = np.asarray(p, dtype=float).reshape(-1, 1)
        if not np.all((p_Q1 >= 0) & (p_Q1 <= 1)):
            raise ValueError(f"p must be in 0 to 1, got {p!r}")
        n_S, c_S = _states(self)
        with np.errstate(divide="ignore", invalid="ignore"):
            right = np.where(c_S == 0, 0.0, c_S * np.log(p_Q1))
            wrong = np.where(n_S == c_S, 0.0, (n_S - c_S) * np.log1p(-p_Q1))
        return np.asarray(np.exp(_log_paths(self) + right + wrong))

    def expected_samples(self, p: ArrayLike) -> Any:
        """The mean number of samples of a problem with success probability `p`; shape of `p`, a float for a scalar."""
        mean = (self.distribution(p) @ _states(self)[0]).reshape(np.shape(p))
        return mean if mean.ndim else float(mean)

    def sampling_variance(self, p: ArrayLike, k: int) -> Floats:
        """(Q,): the variance of the estimate of pass@k over samples, E[g^2] - (1-(1-p)^k)^2, for known `p` (Q,)."""
        p_Q = np.asarray(p, dtype=float).reshape(-1)
        mean_Q = -np.expm1(k * np.log1p(-np.minimum(p_Q, 1 - 1e-16)))
        deviation_QS = self._table(k)[None, :] - mean_Q[:, None]
        return np.asarray(np.sum(self.distribution(p_Q) * deviation_QS**2, axis=1))

    def to_json(self) -> dict[str, Any]:
        """`{"rounds": [...], "stop_after": ...}`, as in the header of counts.jsonl."""
        return {"rounds": list(self.rounds), "stop_after": self.stop_after}


@dataclass(frozen=True)
class FixedDesign(Design):
    """`n` samples of every problem. n < 1: ValueError."""

    n: int

    def __post_init__(self) -> None:
        _positive("n", self.n)
        object.__setattr__(self, "rounds", (self.n,))
        object.__setattr__(self, "stop_after", None)

    def paths(self, n: int, c: int, wrong_first: int = 0) -> int:
        """C(n - wrong_first, c)."""
        return math.comb(n - wrong_first, c) if n == self.n and 0 <= c <= n and wrong_first <= n else 0

    def next_round(self, n: int, c: int) -> int | None:
        """`n` before the first sample, then None."""
        if n not in (0, self.n) or not 0 <= c <= n:
            raise ValueError(f"{self} has no checkpoint at n={n}, c={c}")
        return None if n else self.n

    def _ways(self) -> dict[tuple[int, int], int]:
        ways = {(self.n, 0): 1}
        for c in range(self.n):  # C(n, c+1) from C(n, c)
            ways[self.n, c + 1] = ways[self.n, c] * (self.n - c) // (c + 1)
        return ways

    def _table(self, k: int) -> Floats:
        # C(n-c, k) / C(n, k) from c to c+1: times (n-c-k) / (n-c). All c in one pass, however large k is.
        left = np.arange(self.n, 0, -1)
        return 1.0 - np.concatenate([[1.0], np.cumprod(np.maximum(left - k, 0) / left)])


@dataclass(frozen=True)
class SequentialDesign(Design):
    """Samples up to each of `rounds` in turn; stops at the first with at least `stop_after` correct.

    ValueError: rounds empty, not ascending or below 1; stop_after below 1.
    """

    rounds: tuple[int, ...] = ROUNDS
    stop_after: int = STOP_AFTER

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", tuple(self.rounds))
        for n in self.rounds:
            _positive("rounds", n)
        _positive("stop_after", self.stop_after)
        if not self.rounds or list(self.rounds) != sorted(set(self.rounds)):
            raise ValueError(f"rounds must ascend, got {list(self.rounds)}")

    def paths(self, n: int, c: int, wrong_first: int = 0) -> int:
        """From the dynamic program over the checkpoints."""
        last = n == self.rounds[-1]
        if n not in self.rounds or not 0 <= wrong_first <= n or not (0 if last else self.stop_after) <= c <= n:
            return 0
        return _paths(self, wrong_first)[self.rounds.index(n)][c]

    def next_round(self, n: int, c: int) -> int | None:
        """The next checkpoint, or None at the last one or with `stop_after` correct."""
        if (n, c) == (0, 0):
            return self.rounds[0]
        if n not in self.rounds or not 0 <= c <= n or not _paths(self, 0)[self.rounds.index(n)][c]:
            raise ValueError(f"{self} has no checkpoint at n={n}, c={c}")
        if n == self.rounds[-1] or c >= self.stop_after:
            return None
        return self.rounds[self.rounds.index(n) + 1]

    def _ways(self) -> dict[tuple[int, int], int]:
        states = ((n, c) for n in self.rounds for c in range(n + 1))
        return {state: count for state in states if (count := self.paths(*state))}

    def _table(self, k: int) -> Floats:
        return _sequential_table(self, k)


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be whole and at least 1, got {value!r}")


def design_from_json(data: Mapping[str, Any]) -> Design:
    """The design of `Design.to_json`, or of `{"n": 256}`. Anything else: ValueError that says what was expected."""
    if set(data) == {"n"}:
        return FixedDesign(data["n"])
    if set(data) != {"rounds", "stop_after"} or not isinstance(data["rounds"], list | tuple):
        raise ValueError(f'design must be {{"rounds": [...], "stop_after": ...}} or {{"n": ...}}, got {dict(data)}')
    if data["stop_after"] is not None:
        return SequentialDesign(tuple(data["rounds"]), data["stop_after"])
    if len(data["rounds"]) != 1:
        raise ValueError(f"stop_after may be null only where rounds has one entry, got rounds {list(data['rounds'])}")
    return FixedDesign(data["rounds"][0])


# ------------------------------------------------------------------------------------------------ tables of a design


@functools.lru_cache(maxsize=2048)
def _paths(design: SequentialDesign, wrong_first: int) -> tuple[tuple[int, ...], ...]:
    """[j][c]: paths of length rounds[j] with c correct that stopped at no earlier checkpoint; the first are wrong.

    Zero where `wrong_first` exceeds the checkpoint. One step: a path goes on to the next checkpoint from each
    c' < stop_after, and the samples between that are not bound to be wrong are free: C(free, c - c') ways.
    """
    table, alive, before = [], [1], 0
    for n in design.rounds:
        free = n - max(before, wrong_first)
        if free < 0:  # all samples up to here are bound to be wrong: not a whole path, and it cannot have stopped
            table.append((0,) * (n + 1))
            before = n
            continue
        row = [math.comb(free, c) for c in range(free + 1)]
        ways = [0] * (n + 1)
        for c, count in enumerate(alive):
            for more, choices in enumerate(row) if count else ():
                ways[c + more] += count * choices
        table.append(tuple(ways))
        alive, before = ways[: design.stop_after], n
    return tuple(table)


@functools.lru_cache(maxsize=64)
def _index(design: Design) -> dict[tuple[int, int], int]:
    """Stopping state -> its position in `_states`."""
    return {state: i for i, state in enumerate(design._ways())}


@functools.lru_cache(maxsize=64)
def _states(design: Design) -> tuple[Ints, Ints]:
    """n_S, c_S: every state in which the design stops, by n and then c."""
    n_S, c_S = np.array(list(_index(design)), dtype=np.int64).T
    return n_S, c_S


@functools.lru_cache(maxsize=64)
def _log_paths(design: Design) -> Floats:
    """(S,): log of the number of paths to each stopping state; the number itself can be beyond float64."""
    return np.array([math.log(count) for count in design._ways().values()])


@functools.lru_cache(maxsize=2048)
def _sequential_table(design: SequentialDesign, k: int) -> Floats:
    """(S,): (all paths - paths that begin with k wrong ones) / all paths, as the quotient of two exact integers."""
    return np.array([(total - design.paths(n, c, k)) / total for (n, c), total in design._ways().items()])


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


def dataset_pass_at_k(n_N: ArrayLike, c_N: ArrayLike, design: Design, ks: Sequence[int]) -> DatasetPassAtK:
    """Mean pass@k over the problems, for each of `ks`, as fractions.

    No problem, or what `Design.pass_at_k` refuses: ValueError.
    `total`: sd of the N estimates (N - 1 in the denominator) / sqrt(N); it holds the noise of sampling too.
    `sampling`: `sampling_error`.
    """
    estimates_NK = design.curve(n_N, c_N, ks)
    n_problems = len(estimates_NK)
    if not n_problems:
        raise ValueError("pass@k of a dataset needs at least one problem")
    spread_K = np.std(estimates_NK, axis=0, ddof=1) if n_problems > 1 else np.full(len(ks), np.nan)
    return DatasetPassAtK(
        ks=tuple(int(k) for k in ks),
        n_problems=n_problems,
        mean_K=estimates_NK.mean(axis=0),
        total_K=spread_K / math.sqrt(n_problems),
        sampling_K=sampling_error(n_N, c_N, design, ks),
    )


def sampling_error(n_N: ArrayLike, c_N: ArrayLike, design: Design, ks: Sequence[int]) -> Floats:
    """(K,): Monte-Carlo standard error of the mean pass@k given the problems: over new samples of the same ones.

    Given p, the variance of a problem's estimate is known exactly (`Design.sampling_variance`). It is averaged over
    `mixing_weights`, the distribution of p that explains the counts of the whole dataset best. A problem's own counts
    do not suffice: for 2k > n no unbiased estimate of a variance exists, and an estimate of p from c = 0 alone calls
    a problem that is out of reach (variance 0) as uncertain as one at the edge.
    """
    if not np.size(n_N):
        raise ValueError("a standard error needs at least one problem")
    p_Q = _grid(design.max_k)
    weights_Q = mixing_weights(n_N, c_N, design)
    variance_KQ = np.array([design.sampling_variance(p_Q, int(k)) for k in ks]).reshape(len(ks), len(p_Q))
    return np.sqrt(np.maximum(variance_KQ @ weights_Q, 0) / np.size(n_N))


def mixing_weights(n_N: ArrayLike, c_N: ArrayLike, design: Design) -> Floats:
    """(Q,): the distribution of p over the dataset's problems, on `_grid`, by EM towards the maximum likelihood.

    The nonparametric mixture of Kiefer and Wolfowitz (1956) in the grid form of Laird (1978). EM starts from equal
    weights and stops after a fixed number of steps, which keeps it smooth where there are few problems.
    """
    state_N = design._find(*_whole(n=n_N, c=c_N))
    seen_S, times_S = np.unique(state_N, return_counts=True)
    likelihood_QS = design.distribution(_grid(design.max_k))[:, seen_S]
    likelihood_QS /= likelihood_QS.max(axis=0)
    weights_Q = np.full(len(likelihood_QS), 1 / len(likelihood_QS))
    for _ in range(_EM_STEPS):
        weights_Q *= likelihood_QS @ (times_S / (weights_Q @ likelihood_QS)) / len(state_N)
    return weights_Q


def _grid(n: int) -> Floats:
    """(Q,): success probabilities from 0 to 1, even in log odds and as fine at the edges as n samples can tell."""
    edge = math.log(8 * n)
    inner = 1 / (1 + np.exp(-np.linspace(-edge, edge, _GRID_POINTS - 2)))
    return np.concatenate([[0.0], inner, [1.0]])
