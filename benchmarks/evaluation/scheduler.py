"""Decides what is sampled next, given what has arrived. It is pure: no engine, no file and no clock.

The stop of a sequential design looks at one problem alone. A problem's next round can therefore be queued as soon as
its own round is complete, whatever the others do. There is no barrier between rounds.

An engine that samples chunks draws all of a chunk from one seed, so what a chunk holds must not depend on the order in
which results arrive. A chunk of such an engine holds the next `width` problems, in a fixed order, that take part in its
round. It is settled as soon as it is known of every problem up to its last one whether that problem takes part. The
chunks are then the same as with a barrier after each round, and only the last chunk of a round has to wait for all
problems. With a width of 1 nothing has to wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Group:
    """Problems whose samples of one round are drawn together. Groups sort by round and then by position."""

    round: int
    positions: tuple[int, ...]
    """The places of the problems in their fixed order, ascending."""


class Scheduler:
    """The queue of one dataset. Lower rounds come first, because what follows on them is not known yet."""

    def __init__(self, lacking: Sequence[int | None], widths: Sequence[int]) -> None:
        """`lacking`: the round that each problem lacks (None: its design has stopped). `widths`: by round."""
        self._lacking = list(lacking)
        self._widths = tuple(widths)
        self._left = sum(number is not None for number in lacking)
        self._open: list[list[int]] = [[] for _ in widths]
        """By round: the problems of the next group, which is not full yet."""
        self._seen = [0] * len(self._widths)
        """By round: how many problems from the start are known to take part or not."""
        self._ready: list[Group] = []
        for position in range(len(self._lacking)):
            self._queue_alone(position)
        for number in range(len(self._widths)):
            self._gather(number)

    @property
    def done(self) -> bool:
        """Whether the design has stopped every problem."""
        return not self._left

    @property
    def waiting(self) -> tuple[Group, ...]:
        """The groups that can be sampled now, in no particular order."""
        return tuple(self._ready)

    def take(self) -> Group | None:
        """Removes and returns the next group, or None if nothing can be queued before more has arrived."""
        return heapq.heappop(self._ready) if self._ready else None

    def arrived(self, position: int, lacking: int | None) -> None:
        """Says which round a problem lacks now. ValueError for one that it has already had."""
        before = self._lacking[position]
        if before == lacking:
            return
        if before is None or (lacking is not None and lacking < before):
            raise ValueError(f"problem {position} lacked round {before} and cannot lack round {lacking} now")
        self._lacking[position] = lacking
        self._left -= lacking is None
        self._queue_alone(position)
        for number in range(before, len(self._widths)):
            self._gather(number)

    def _queue_alone(self, position: int) -> None:
        number = self._lacking[position]
        if number is not None and self._widths[number] == 1:
            heapq.heappush(self._ready, Group(number, (position,)))

    def _gather(self, number: int) -> None:
        """Queues the groups of a round that have become settled."""
        width, group = self._widths[number], self._open[number]
        if width == 1:
            return
        while self._seen[number] < len(self._lacking):
            lacking = self._lacking[self._seen[number]]
            if lacking is not None and lacking < number:
                return  # whether this problem takes part is open
            if lacking == number:
                group.append(self._seen[number])
            self._seen[number] += 1
            if len(group) == width:
                self._close(number)
                group = self._open[number]
        if group:
            self._close(number)

    def _close(self, number: int) -> None:
        heapq.heappush(self._ready, Group(number, tuple(self._open[number])))
        self._open[number] = []
