"""Format `counts`: a counts.jsonl, this project's own or anybody's (see `benchmarks/statistics/counts.py`).

The one format that can say a sequential design: with a header the design of the header, without one a fixed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import UsageError
from benchmarks.importers.problem_verdicts import Choices
from benchmarks.statistics.counts import Counts, read_counts


def read(paths: Sequence[Path], choices: Choices) -> Counts:
    """The counts in the file. More than one file: UsageError. Anything wrong with it: Failure, as `read_counts`."""
    choices.refuse("counts", "metric", "filter")
    if len(paths) != 1:
        raise UsageError(f"format 'counts' takes one file, got {len(paths)}: it is unknown how counts were shared out.")
    return read_counts(paths[0])
