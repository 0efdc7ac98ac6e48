"""Format `counts`: a counts.jsonl of this project or from elsewhere (see `benchmarks/statistics/counts.py`).

Only this format can state a sequential design: the header holds the design, and without a header it is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import UsageError
from benchmarks.importers.problem_verdicts import Choices
from benchmarks.statistics.counts import Counts, read_counts


def read(paths: Sequence[Path], choices: Choices) -> Counts:
    """Returns the counts in the file. UsageError for more than one file, and otherwise as `read_counts`."""
    choices.refuse("counts", "metric", "filter")
    if len(paths) != 1:
        raise UsageError(f"format 'counts' takes one file, got {len(paths)}: it is unknown how they share the counts.")
    return read_counts(paths[0])
