"""Reads the files beside the records on all cores, before the pages ask for them one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from benchmarks.errors import Failure
from leaderboards import frames
from leaderboards.load import Entry, counts_of

_ENTRIES_AT_ONCE = 8
"""Records whose files one process reads together."""


def read_ahead(entries: Sequence[Entry], pool: Executor) -> None:
    """Reads counts and training logs into `Entry.kept`.

    A file that cannot be used is left to who asks for it, and is reported there.
    """
    parts = [entries[i : i + _ENTRIES_AT_ONCE] for i in range(0, len(entries), _ENTRIES_AT_ONCE)]
    for part, found in zip(parts, pool.map(_read, parts), strict=True):
        for entry, kept in zip(part, found, strict=True):
            entry.kept.update(kept)


def _read(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [_files_of(entry) for entry in entries]


def _files_of(entry: Entry) -> dict[str, Any]:
    for evaluation in entry.record.evaluations.values():
        with contextlib.suppress(Failure):
            counts_of(entry, evaluation)
    with contextlib.suppress(Failure):
        frames.training_log(entry)
    return entry.kept
