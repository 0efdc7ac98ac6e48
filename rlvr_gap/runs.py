"""Results as tidy tables: `load` finds the runs, and `Runs` makes tables of them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from benchmarks.errors import unknown
from benchmarks.records.schema import BASE
from benchmarks.statistics.counts import Counts, read_counts
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.gap import sampling_efficiency_gap
from leaderboards import completion_tables, frames, section_frames
from leaderboards import load as files
from leaderboards.load import Broken, Entry
from leaderboards.sections import Section, make_sections
from leaderboards.style import colours_of
from leaderboards.summary import label


@dataclass(frozen=True)
class Runs:
    """Finished runs. Each row of a table that a method returns is one observation; docs/api.md names the columns."""

    entries: tuple[Entry, ...]
    """The records, in order of their paths."""
    broken: tuple[Broken, ...] = ()
    """Record files that cannot be used, each with the reason."""
    colours: Mapping[str, int] = field(default_factory=dict, repr=False)
    """The number of each algorithm, which its colour follows from in every figure."""

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        suites = dict.fromkeys(entry.record.suite.name for entry in self.entries)
        broken = f", {len(self.broken)} broken" if self.broken else ""
        return f"<{len(self)} runs of {', '.join(suites)}{broken}: {', '.join(self.algorithms)}>"

    @functools.cached_property
    def sections(self) -> list[Section]:
        """The groups of runs that may be compared with each other: by suite, base model and dataset."""
        broken: list[Broken] = []
        found = make_sections(self.entries, broken, self.colours)
        _warn(broken)
        return found

    @property
    def algorithms(self) -> list[str]:
        """The algorithms with their variants, as the column `label` has them."""
        return sorted({label(entry.record.cell) for entry in self.entries} - {BASE})

    @property
    def datasets(self) -> list[str]:
        """The datasets that any of the runs was evaluated on."""
        return list(dict.fromkeys(name for entry in self.entries for name in entry.record.evaluations))

    def table(self, long: bool = False) -> pd.DataFrame:
        """The algorithms on each dataset: means over seeds, with intervals, places and groups, as on the page.

        `long`: a row for each quantity, with the columns metric, value, low and high.
        """
        found = frames.table(self.sections)
        return frames.long(found) if long else found

    def cells(self, long: bool = False) -> pd.DataFrame:
        """The runs, one by one: gaps, costs, settings, and where their records are. Takes about a second a run."""
        found = frames.cells(self.sections, self.entries)
        return frames.long(found) if long else found

    def curves(self) -> pd.DataFrame:
        """pass@k of the base and of each algorithm on each dataset, with pointwise bands over problems and seeds."""
        return frames.curves(self.sections)

    def points(self) -> pd.DataFrame:
        """What was evaluated along each training, by tokens generated: the base, checkpoints, the trained policy."""
        return frames.points(self.sections)

    def equal_tokens(self) -> pd.DataFrame:
        """The algorithms at equal generated tokens: means over seeds, interpolated between evaluated checkpoints.

        An algorithm that cannot be compared has a row whose `remarks` say why.
        """
        return frames.equal_tokens(self.sections)

    def forest(self) -> pd.DataFrame:
        """The gap of each algorithm, smallest first, with intervals that hold for all of a dataset at once."""
        return section_frames.forest(self.sections)

    def pareto(self) -> pd.DataFrame:
        """The gap of each algorithm beside the tokens of its training; `on_front`: no other is better in both."""
        return section_frames.pareto(self.sections)

    def coverage(self) -> pd.DataFrame:
        """Expected shares of problems that both, one or none of base and trained policy solve within k samples."""
        return section_frames.coverage(self.sections)

    def histogram(self) -> pd.DataFrame:
        """How many problems have which pass@1, of the base and of each algorithm: a row for each bin."""
        return section_frames.histogram(self.sections)

    def ranks(self) -> pd.DataFrame:
        """How often each algorithm has each place, if problems and the noise of training are drawn again."""
        return section_frames.ranks(self.sections)

    def log(self) -> pd.DataFrame:
        """The training logs: a row for each run and step."""
        return frames.log(self.entries)

    def problems(self) -> pd.DataFrame:
        """Each run on each problem: samples drawn, correct ones, and estimates of pass@k."""
        return frames.problems(self.entries)

    def completions(
        self,
        algorithm: str | Sequence[str] | None = None,
        seed: int | None = None,
        dataset: str | None = None,
        problem: str | None = None,
    ) -> pd.DataFrame:
        """The stored completions with question, gold answer and verdict. There are many: narrow them down.

        `algorithm` is a label, or several of them; `base` is the base model.
        """
        if dataset is not None and dataset not in self.datasets:
            raise unknown("dataset", dataset, self.datasets)
        said: list[str] = []
        asked = [entry for entry in self._of(algorithm) if seed is None or entry.record.cell.seed == seed]
        parts = list(completion_tables.completions(asked, dataset, problem, said.append))
        _warn(said)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def select(self, algorithm: str | Sequence[str]) -> Runs:
        """Narrows the runs down to algorithms, by label. The base stays, and colours are the same as before."""
        names = [algorithm] if isinstance(algorithm, str) else list(algorithm)
        return replace(self, entries=tuple(self._of([*names, BASE])))

    def _of(self, algorithm: str | Sequence[str] | None) -> list[Entry]:
        wanted = [algorithm] if isinstance(algorithm, str) else algorithm
        for name in wanted or ():
            if name not in (known := [BASE, *self.algorithms]):
                raise unknown("algorithm", name, known)
        return [entry for entry in self.entries if wanted is None or label(entry.record.cell) in wanted]


def load(*paths: Path | str) -> Runs:
    """Returns the finished runs under the paths: folders of all runs, of a suite or of one run, or record.json files.

    Raises UsageError if there is none. Records that cannot be used are left out: a warning says which, and `broken`.
    """
    entries, broken = files.load(paths)
    _warn(broken)
    found = tuple(sorted(entries, key=lambda entry: str(entry.path)))
    colours = colours_of(label(entry.record.cell) for entry in found if entry.record.cell.algorithm != BASE)
    return Runs(found, tuple(broken), colours)


def gap(
    base: Counts | Path | str,
    trained: Counts | Path | str,
    k: int = 256,
    confidence: float = 0.95,
    seed: int = 0,
    verdict: JudgedBy = "answer",
) -> pd.DataFrame:
    """The sampling efficiency gap of two counts, or of two files of counts, with all that belongs to it.

    Rows are quantities (`gap`, `base_pass_at_k`, `gain_at_1`, ...), columns are value, low and high; shares are
    fractions. `sampling_efficiency_gap` gives the same as an object. UsageError as there.
    """
    sides = [one if isinstance(one, Counts) else read_counts(one) for one in (base, trained)]
    left, right = (side.judged_by(verdict) for side in sides)
    return frames.of_gap(sampling_efficiency_gap(left, right, k, confidence, seed))


def _warn(lines: Iterable[object]) -> None:
    for line in lines:
        warnings.warn(str(line), stacklevel=3)
