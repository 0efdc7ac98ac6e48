"""Spreads the work of a build over the cores of the machine.

Where the process cannot safely be copied (it has other threads, or the system is not Linux), or there is one core, the
same work is done in this process. The results are the same either way.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""How many new objects make Python look for garbage. By default it does so after every few hundred, which takes a
sixth of the time of a build, because figures consist of many small objects that refer to each other."""


class ThisProcess(Executor):
    """Does the work at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Returns the result as a future that is done. What goes wrong is raised at once."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@contextlib.contextmanager
def cores() -> Iterator[Executor]:
    """What spreads work over all cores that this process may use, until the end of the block.

    Functions, arguments and results must be such as can be pickled. Work that was asked for and not begun is given up
    where the block ends with an exception.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    alone = count == 1 or sys.platform != "linux" or threading.active_count() > 1
    with _fewer_collections():
        if alone:
            yield ThisProcess()
            return
        pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("fork"))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _fewer_collections() -> Iterator[None]:
    """Lets Python look for garbage less often inside the block, and in the processes that are started there."""
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
