"""Sampling designs: how many samples of a problem are drawn, when it stops, and what that makes of pass@k.

`FixedDesign` draws n samples of every problem: the closed form of Chen et al. 2021 (2107.03374). `SequentialDesign`
stops a problem early once it has enough correct samples, which saves about half of them, and has its own unbiased
estimator; for its states the closed form would be biased upward. `docs/statistics.md` derives both.

A path is a sequence of n outcomes (correct or not). Pure functions of integers, numpy alone. Axes: N problems,
K values of k, S stopping states of a design, Q grid of success probabilities.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JudgedBy = Literal["answer", "sound"]
"""What counts as correct: the answer alone, or the answer under a chain of thought that is sound."""
VERDICTS: tuple[JudgedBy, ...] = ("answer", "sound")

ROUNDS = (64, 128, 256)
STOP_AFTER = 4


def whole(**values: ArrayLike) -> list[Ints]:
    """The values as int64 arrays. Booleans, fractions, and what is no number: ValueError."""
    result = []
    for name, value in values.items():
        array = np.asarray(value)
        whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool(np.all(array == np.floor(array))))
        if array.size and not (whole and np.all(np.abs(array) < 2**31)):
            raise ValueError(f"{name} must be whole numbers, got {value!r}")
        result.append(array.astype(np.int64))
    return result


def refuse(bad: NDArray[np.bool_], why: str, **values: Ints) -> None:
    """ValueError with the values at the first place where `bad` holds; all of one shape."""
    if np.any(bad):
        i = int(np.argmax(np.ravel(bad)))
        raise ValueError(f"{why}: " + ", ".join(f"{name}={np.ravel(value)[i]}" for name, value in values.items()))


def all_wrong(n_U: Ints, c_U: Ints, k_max: int) -> Floats:
    """(U, k_max): C(n-c, k) / C(n, k) for k = 1 to k_max, as the product over j < k of (n-c-j) / (n-j); 0 for k > n."""
    j_K = np.arange(k_max)
    wrong_UK = np.maximum(n_U[:, None] - c_U[:, None] - j_K, 0)  # 0 from the draw on that must be a correct one
    return np.cumprod(wrong_UK / np.maximum(n_U[:, None] - j_K, 1), axis=1)


class Design(abc.ABC):
    """How many samples of each problem are drawn. Immutable, hashable; part of the counts that were drawn under it."""

    rounds: tuple[int, ...]
    """Checkpoints: total samples of a problem, ascending."""
    stop_after: int | None
    """Successes at a checkpoint that stop a problem; None: never, there is one checkpoint."""
    stop_on: JudgedBy = "answer"
    """What a success is: a correct answer, or a correct answer under a sound chain."""

    @property
    def max_k(self) -> int:
        """The largest k that can be estimated: the samples of a problem that is never stopped early."""
        return self.rounds[-1]

    @abc.abstractmethod
    def next_round(self, n: int, c: int) -> int | None:
        """The total to sample up to for a problem with `c` successes in n samples at a checkpoint (or n = 0).

        None: it has stopped. ValueError for an (n, c) that cannot occur between rounds.
        """

    @abc.abstractmethod
    def reachable(self, n: int, c: int, s: int | None = None) -> bool:
        """Whether a problem can stop with c of n answers correct, `s` of them under a sound chain (None: not known)."""

    @abc.abstractmethod
    def pass_at_k(self, n: ArrayLike, c: ArrayLike, k: ArrayLike, s: ArrayLike | None = None) -> Any:
        """The minimum-variance unbiased estimate of 1 - (1-p)^k, where p is the chance of a correct answer.

        For a problem that stopped with c of n correct, `s` of them under a sound chain; only `StopOnSound` asks for
        `s`. Broadcasts; returns the common shape in float64, a float for scalars. ValueError: not whole, k < 1,
        k > `max_k`, a state in which this design does not stop.
        """

    @abc.abstractmethod
    def expected_samples(self, p: ArrayLike) -> Any:
        """The mean number of samples of a problem where a sample is a success (`stop_on`) with probability `p`.

        Shape of `p`, a float for a scalar.
        """

    def first_correct(self, n: int, c: int, k: int, s: int | None = None) -> Floats:
        """(k + 1,): how likely 0 to k of a problem's first k samples were correct, given the state in which it stopped.

        Unbiased for the binomial chances of k samples, since the first k are observed whatever the design stops on:
        for k up to the first checkpoint. Beyond it, or for a state in which the design does not stop: ValueError.
        """
        return _checked_first_correct(self, n, c, k, s)

    @abc.abstractmethod
    def _first_correct(self, n: int, c: int, k: int, s: int | None) -> Floats:
        """`first_correct` of a reachable state."""

    @abc.abstractmethod
    def if_right(self, n: int, c: int, errors: int, k: int, s: int | None = None) -> float:
        """The most that the estimate of pass@k could be, had the problem's ERROR verdicts been successes.

        The largest estimate over all states in which the problem could then have stopped. It could have stopped at an
        earlier checkpoint, where it had fewer than `stop_after` successes, and at most all of the errors: the counts
        do not say at which sample an error came.
        """

    def curve(self, n_N: ArrayLike, c_N: ArrayLike, ks: Sequence[int], s_N: ArrayLike | None = None) -> Floats:
        """(N, K): `pass_at_k` of every problem at every k; the same errors."""
        s = None if s_N is None else np.reshape(s_N, (-1, 1))
        n, c = np.reshape(n_N, (-1, 1)), np.reshape(c_N, (-1, 1))
        return np.asarray(self.pass_at_k(n, c, np.reshape(ks, (1, -1)), s))

    def to_json(self) -> dict[str, Any]:
        """`{"rounds": [...], "stop_after": ...}`, as in the header of counts.jsonl."""
        return {"rounds": list(self.rounds), "stop_after": self.stop_after}


class TwoOutcomeDesign(Design):
    """A design whose samples are correct or not, and which asks for nothing else."""

    @abc.abstractmethod
    def paths(self, n: int, c: int, wrong_first: int = 0, correct_first: int = 0) -> int:
        """How many paths end in the stopping state (n, c) and begin with the given wrong ones and correct ones; exact.

        In any one order. 0: none. Correct ones first beyond the first checkpoint: ValueError.
        """

    @abc.abstractmethod
    def _ways(self) -> dict[tuple[int, int], int]:
        """`paths` to every stopping state, by n and then c."""

    @abc.abstractmethod
    def table(self, k: int) -> Floats:
        """(S,): the estimate of pass@k in each of `states(self)`."""

    def reachable(self, n: int, c: int, s: int | None = None) -> bool:
        """Whether a problem can stop with c correct of n."""
        return (int(n), int(c)) in _index(self)

    def pass_at_k(self, n: ArrayLike, c: ArrayLike, k: ArrayLike, s: ArrayLike | None = None) -> Any:
        """See `Design.pass_at_k`; `s` makes no difference here."""
        n_, c_, own_k = whole(n=n, c=c, k=k)
        state = np.broadcast_arrays(n_, c_)
        n_, c_, k_ = np.broadcast_arrays(n_, c_, own_k)
        refuse(k_ < 1, "k must be at least 1", n=n_, c=c_, k=k_)
        refuse(k_ > self.max_k, f"k must not exceed {self.max_k}, the samples that {self} reaches", n=n_, c=c_, k=k_)
        found = self.find(*state)  # before broadcasting: a curve has the same states at all of its k
        ks, row = np.unique(own_k, return_inverse=True)
        tables = _tables(self, tuple(ks.tolist()))
        result = tables[row.reshape(own_k.shape), found] if k_.size else np.empty(k_.shape)
        return result if result.ndim else float(result)

    def _first_correct(self, n: int, c: int, k: int, s: int | None) -> Floats:
        total = self.paths(n, c)
        return np.array([math.comb(k, j) * self.paths(n, c, k - j, j) / total for j in range(k + 1)])

    def if_right(self, n: int, c: int, errors: int, k: int, s: int | None = None) -> float:
        """See `Design.if_right`."""
        if not errors:
            return float(self.pass_at_k(n, c, k))
        most = 0.0
        for at in (r for r in self.rounds if r <= n):
            known = c if at == n or self.stop_after is None else min(c, self.stop_after - 1)
            states = (right for right in range(min(known + errors, at), -1, -1) if self.reachable(at, right))
            right = next(states, None)
            most = max(most, 0.0 if right is None else float(self.pass_at_k(at, right, k)))
        return most

    def find(self, n: Ints, c: Ints) -> Ints:
        """The positions of (n, c) in `states(self)`, in their shape. Unreachable: ValueError."""
        index = _index(self)
        pairs = zip(n.ravel().tolist(), c.ravel().tolist(), strict=True)
        found = np.array([index.get(pair, -1) for pair in pairs], dtype=np.int64).reshape(n.shape)
        refuse(found < 0, f"{self} never stops there", n=n, c=c)
        return found

    def distribution(self, p: ArrayLike) -> Floats:
        """(Q, S): the chance of each stopping state for problems that a sample solves with probability `p` (Q,)."""
        p_Q1 = np.asarray(p, dtype=float).reshape(-1, 1)
        if not np.all((p_Q1 >= 0) & (p_Q1 <= 1)):
            raise ValueError(f"p must be in 0 to 1, got {p!r}")
        n_S, c_S = states(self)
        with np.errstate(divide="ignore", invalid="ignore"):
            right = np.where(c_S == 0, 0.0, c_S * np.log(p_Q1))
            wrong = np.where(n_S == c_S, 0.0, (n_S - c_S) * np.log1p(-p_Q1))
        return np.asarray(np.exp(_log_paths(self) + right + wrong))

    def expected_samples(self, p: ArrayLike) -> Any:
        """See `Design.expected_samples`."""
        mean = (self.distribution(p) @ states(self)[0]).reshape(np.shape(p))
        return mean if mean.ndim else float(mean)

    def sampling_variance(self, p: ArrayLike, k: int) -> Floats:
        """(Q,): the variance of the estimate of pass@k over samples, E[g^2] - (1-(1-p)^k)^2, for known `p` (Q,)."""
        p_Q = np.asarray(p, dtype=float).reshape(-1)
        mean_Q = -np.expm1(k * np.log1p(-np.minimum(p_Q, 1 - 1e-16)))
        deviation_QS = self.table(k)[None, :] - mean_Q[:, None]
        return np.asarray(np.sum(self.distribution(p_Q) * deviation_QS**2, axis=1))


@dataclass(frozen=True)
class FixedDesign(TwoOutcomeDesign):
    """`n` samples of every problem. n < 1: ValueError."""

    n: int

    def __post_init__(self) -> None:
        positive("n", self.n)
        object.__setattr__(self, "rounds", (self.n,))
        object.__setattr__(self, "stop_after", None)

    def paths(self, n: int, c: int, wrong_first: int = 0, correct_first: int = 0) -> int:
        """C(n - wrong_first - correct_first, c - correct_first)."""
        free, more = n - wrong_first - correct_first, c - correct_first
        return math.comb(free, more) if n == self.n and 0 <= more <= free else 0

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

    def table(self, k: int) -> Floats:
        """See `TwoOutcomeDesign.table`."""
        # C(n-c, k) / C(n, k) from c to c+1: times (n-c-k) / (n-c). All c in one pass, however large k is.
        left = np.arange(self.n, 0, -1)
        return 1.0 - np.concatenate([[1.0], np.cumprod(np.maximum(left - k, 0) / left)])


@dataclass(frozen=True)
class SequentialDesign(TwoOutcomeDesign):
    """Samples up to each of `rounds` in turn; stops at the first with at least `stop_after` correct.

    ValueError: rounds empty, not ascending or below 1; stop_after below 1.
    """

    rounds: tuple[int, ...] = ROUNDS
    stop_after: int = STOP_AFTER

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", tuple(self.rounds))
        for n in self.rounds:
            positive("rounds", n)
        positive("stop_after", self.stop_after)
        if not self.rounds or list(self.rounds) != sorted(set(self.rounds)):
            raise ValueError(f"rounds must ascend, got {list(self.rounds)}")

    def paths(self, n: int, c: int, wrong_first: int = 0, correct_first: int = 0) -> int:
        """From the dynamic program over the checkpoints."""
        if correct_first and wrong_first + correct_first > self.rounds[0]:
            raise ValueError(f"{wrong_first} wrong and {correct_first} correct ones are more than the first checkpoint")
        last = n == self.rounds[-1]
        if n not in self.rounds or not 0 <= wrong_first <= n or not (0 if last else self.stop_after) <= c <= n:
            return 0
        return _paths(self, wrong_first, correct_first)[self.rounds.index(n)][c]

    def next_round(self, n: int, c: int) -> int | None:
        """The next checkpoint, or None at the last one or with `stop_after` correct."""
        if (n, c) == (0, 0):
            return self.rounds[0]
        if n not in self.rounds or not 0 <= c <= n or not _paths(self, 0, 0)[self.rounds.index(n)][c]:
            raise ValueError(f"{self} has no checkpoint at n={n}, c={c}")
        if n == self.rounds[-1] or c >= self.stop_after:
            return None
        return self.rounds[self.rounds.index(n) + 1]

    def _ways(self) -> dict[tuple[int, int], int]:
        states = ((n, c) for n in self.rounds for c in range(n + 1))
        return {state: count for state in states if (count := self.paths(*state))}

    def table(self, k: int) -> Floats:
        """See `TwoOutcomeDesign.table`."""
        return _sequential_table(self, k)


def positive(name: str, value: object) -> None:
    """ValueError unless the value is a whole number of at least 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be whole and at least 1, got {value!r}")


# ------------------------------------------------------------------------------------------------ tables of a design


@functools.lru_cache(maxsize=32)
def _tables(design: TwoOutcomeDesign, ks: tuple[int, ...]) -> Floats:
    """(K, S): `table` at each k. Curves of many models are over the same k."""
    return np.array([design.table(k) for k in ks])


@functools.lru_cache(maxsize=16_384)
def _checked_first_correct(design: Design, n: int, c: int, k: int, s: int | None) -> Floats:
    """`Design.first_correct`. Problems of many models stop in the same states."""
    refuse(np.array([not 1 <= k <= design.rounds[0]]), f"k must be 1 to {design.rounds[0]}", k=np.array([k]))
    if not design.reachable(n, c, s):
        raise ValueError(f"{design} never stops at n={n}, c={c}" + ("" if s is None else f", s={s}"))
    chance_J = design._first_correct(n, c, k, s)
    chance_J.setflags(write=False)
    return chance_J


@functools.lru_cache(maxsize=2048)
def _paths(design: SequentialDesign, wrong_first: int, correct_first: int) -> tuple[tuple[int, ...], ...]:
    """[j][c]: paths of length rounds[j] with c correct that stopped at no earlier checkpoint; the first are as told.

    Zero where `wrong_first` exceeds the checkpoint; correct ones are all before the first. One step: a path goes on to
    the next checkpoint from each c' < stop_after, and the samples between that are not bound are free: C(free, c - c')
    ways.
    """
    table, alive, before = [], [0] * correct_first + [1], 0
    for n in design.rounds:
        free = n - max(before, wrong_first + correct_first)
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
def _all_ways(design: TwoOutcomeDesign) -> dict[tuple[int, int], int]:
    """Stopping state -> paths to it."""
    return design._ways()


@functools.lru_cache(maxsize=64)
def _index(design: TwoOutcomeDesign) -> dict[tuple[int, int], int]:
    """Stopping state -> its position in `_states`."""
    return {state: i for i, state in enumerate(_all_ways(design))}


@functools.lru_cache(maxsize=64)
def states(design: TwoOutcomeDesign) -> tuple[Ints, Ints]:
    """n_S, c_S: every state in which the design stops, by n and then c."""
    n_S, c_S = np.array(list(_index(design)), dtype=np.int64).T
    return n_S, c_S


@functools.lru_cache(maxsize=64)
def _log_paths(design: TwoOutcomeDesign) -> Floats:
    """(S,): log of the number of paths to each stopping state; the number itself can be beyond float64."""
    return np.array([math.log(count) for count in _all_ways(design).values()])


@functools.lru_cache(maxsize=2048)
def _sequential_table(design: SequentialDesign, k: int) -> Floats:
    """(S,): (all paths - paths that begin with k wrong ones) / all paths, as the quotient of two exact integers."""
    beginning = dict(zip(design.rounds, _paths(design, k, 0), strict=True))
    return np.array([(total - beginning[n][c]) / total for (n, c), total in _all_ways(design).items()])
