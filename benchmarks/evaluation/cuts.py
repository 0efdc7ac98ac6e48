"""Cuts stored completions at other stops than they were sampled with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.errors import Failure
from benchmarks.evaluation.completions import with_column
from benchmarks.settings import Stops
from benchmarks.stops import without_special


@dataclass(frozen=True)
class Cuts:
    """The stops of a dataset's completions, before and after."""

    folder: Path
    before: Stops
    after: Stops

    def cut(self, table: pa.Table) -> pa.Table:
        """Returns the table with text, cut and end of each completion by the new stops. `raw` and tokens stay.

        Raises Failure for a completion that an old stop has ended and no new one would have.
        """
        names = ("text", "raw", "cut", "special", "finished")
        rows = [self._row(*row) for row in zip(*(table[name].to_pylist() for name in names), strict=True)]
        for name, values in zip(("text", "raw", "cut", "finished"), zip(*rows, strict=True), strict=False):
            table = with_column(table, name, values)
        return table

    def _row(
        self, text: str, raw: str | None, cut: int | None, special: Sequence[str] | None, finished: bool
    ) -> tuple[str, str | None, int | None, bool]:
        """Returns text, raw, cut and finished."""
        everything = text if raw is None else raw
        found = self.after.find(everything)
        if found is not None:
            return without_special(everything[:found], special or ()), everything, found, True
        if cut is not None:
            stop = next(stop for stop in self.before.strings if stop in everything)
            raise Failure(
                f"{self.folder} has a completion that the stop {stop!r} has ended, and how it goes on is not known: "
                "keep that stop beside the new ones, or sample again."
            )
        return text, raw, None, finished
