"""Spreads the work of a build over the cores of the machine.

Where the process cannot safely be copied (it has other threads, or the system is not Linux), or there is one core, the
same work is done in this process. The results are the same either way.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Spread(Protocol):
    """Calls a function on each of some items, which can all be pickled, and returns the results in their order."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """See above."""
        ...


def one_by_one(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """The work, in this process."""
    return [function(item) for item in items]


@contextlib.contextmanager
def cores() -> Iterator[Spread]:
    """What spreads work over all cores that this process may use, until the end of the block.

    The first exception of an item is raised where the work was asked for.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if count == 1 or sys.platform != "linux" or threading.active_count() > 1:
        yield one_by_one
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("fork")) as pool:

        def spread(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
            return list(pool.map(function, items)) if len(items) > 1 else one_by_one(function, items)

        yield spread
