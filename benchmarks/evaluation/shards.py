"""Keeps the completions of one dataset on disk while it is sampled, and merges them at the end.

An engine that samples chunks has a shard for each chunk, named by the chunk's key. An engine that takes requests at any
time finishes the rounds of single problems, thousands of them. They are collected in parts: one is written once
`PART_ROWS` rows are there, or after a fiftieth of the time that the run has taken so far, but at least every
`LONGEST_S`. A kill loses no more than that, and a run of a day has fewer than two thousand files.

A part holds whole rounds of problems alone. What a kill interrupts is drawn again, as a whole and with another seed.
Rounds that were in progress are longer than others on average, but they are the few that the engines worked on, and a
round of 64 samples nearly always has some that are as long as they may be. This bias is therefore far below the error
of the estimates. If finished samples of unfinished rounds were kept, it would be larger.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from benchmarks.errors import Failure
from benchmarks.evaluation import completions
from benchmarks.evaluation.completions import Meta

SHARDS, DAMAGED = "shards", "damaged"
PART_ROWS = 4096
SOONEST_S, LONGEST_S, _SHARE = 5.0, 60.0, 0.02
_log = logging.getLogger(__name__)


class Shards:
    """The shards of one dataset's folder."""

    def __init__(self, folder: Path, question: str) -> None:
        """`question`: the hash of the plan that all of them answer."""
        self.folder, self.question = folder, question
        self.paths: list[Path] = []
        """The shards that were read or written here, and nothing else: these are merged."""
        self.seconds_to_write = 0.0
        self._waiting: list[pa.Table] = []
        self.waiting_s = 0.0
        """Time that goes to the part that is written next."""
        self._started = self._written = time.monotonic()

    def path(self, key: str) -> Path:
        """The file of the chunk or part with this key."""
        return self.folder / SHARDS / f"{key}.parquet"

    def read(self, key: str) -> tuple[pa.Table, Meta] | None:
        """Returns the shard, or None if there is none. One that is damaged is moved aside."""
        path = self.path(key)
        if not path.exists():
            return None
        try:
            found = completions.read_shard(path, self.question, key)
        except Failure as failure:
            self.move_aside(path, str(failure))
            return None
        self.paths.append(path)
        return found

    def move_aside(self, path: Path, why: str) -> None:
        """Moves a shard that cannot be used out of the way. Nothing is deleted."""
        aside = completions.move_aside(path, self.folder / DAMAGED)
        _log.warning("%s; moved to %s and sampled again", why, aside)

    def parts(self) -> Iterator[tuple[Path, pa.Table, Meta]]:
        """Yields the intact parts of earlier runs. Call `paths.append` for each that counts."""
        for path in sorted((self.folder / SHARDS).glob("part-*.parquet")):
            found = self.read(path.stem)
            if found is not None:
                self.paths.remove(path)
                yield path, *found

    def write(self, key: str, table: pa.Table, seconds: float, engine: str) -> None:
        """Writes one shard, which took `seconds` to sample. Raises Failure if the disk is full."""
        began, path = time.monotonic(), self.path(key)
        completions.write_tables(path, [table], Meta(self.question, key, table.num_rows, seconds, engine))
        self.paths.append(path)
        self.seconds_to_write += time.monotonic() - began

    # ---------------------------------------------------------------- parts

    def add(self, table: pa.Table) -> None:
        """Adds the whole round of a problem to the part that is written next."""
        self._waiting.append(table)

    @property
    def due(self) -> bool:
        """Whether the part should be written now."""
        if not self._waiting:
            return False
        now = time.monotonic()
        patience = min(LONGEST_S, max(SOONEST_S, _SHARE * (now - self._started)))
        return now - self._written >= patience or sum(table.num_rows for table in self._waiting) >= PART_ROWS

    def write_part(self, seed: int, engine: str) -> None:
        """Writes what was added as one part. `seed` is that of the engines, and so differs between two runs."""
        if not self._waiting:
            return
        key = f"part-{len(self.paths):06d}-{seed:016x}"
        self.write(key, pa.concat_tables(self._waiting), self.waiting_s, engine)
        self._waiting, self.waiting_s, self._written = [], 0.0, time.monotonic()

    # ---------------------------------------------------------------- the end

    def merge(self, target: Path, seconds: float, engine: str) -> None:
        """Appends the shards to `target`, in the order of their keys, which is that of rounds and chunks."""
        began = time.monotonic()
        files = [target] * target.exists() + sorted(self.paths)
        rows = sum(completions.read_meta(file).rows for file in files)
        tables = (table for file in files for table in completions.read_tables(file))
        completions.write_tables(target, tables, Meta(self.question, "", rows, seconds, engine))
        self.seconds_to_write += time.monotonic() - began

    def remove(self) -> None:
        """Removes all shards, which are merged."""
        shutil.rmtree(self.folder / SHARDS, ignore_errors=True)
