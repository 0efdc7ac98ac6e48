"""Counts the verdicts, tokens and chains of each problem and round while completions go by.

Small (a few numbers a problem), whatever the number of completions. The stop of a sequential design is applied here,
from the verdicts and the chains alone: that is what makes a re-grade possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from benchmarks.statistics.counts import Counts
from benchmarks.statistics.passk import Design
from benchmarks.verifiers import Verdict


@dataclass
class RoundTally:
    """The completions of one problem in one round."""

    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    tokens: int = 0
    chains: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    """How many chains were checked and how many are sound, first over all completions, then over the correct ones."""

    @property
    def n(self) -> int:
        """The number of completions."""
        return sum(self.verdicts.values())

    @property
    def sound(self) -> int:
        """Correct answers under a sound chain."""
        return self.chains[3]

    def add(self, verdict: Verdict, tokens: int, chain: bool | None) -> None:
        """Adds one completion."""
        self.verdicts[verdict] += 1
        self.tokens += tokens
        if chain is not None:
            correct = verdict is Verdict.CORRECT
            for place, counted in enumerate((True, chain, correct, correct and chain)):
                self.chains[place] += counted


class Tally:
    """The counts of one dataset under one design."""

    def __init__(self, problem_ids: Sequence[str], design: Design, checks_chains: bool = False) -> None:
        self.problem_ids = tuple(problem_ids)
        self.design = design
        self.checks_chains = checks_chains
        """Whether the verifier does: then sound answers are counted. One that it could not check is not sound."""
        self.cells: dict[tuple[str, int], RoundTally] = {}

    def add(self, table: pa.Table) -> None:
        """Adds the completions of a table that follows `completions.COMPLETIONS_SCHEMA`."""
        names = ("problem_id", "round", "verdict", "tokens", "chain")
        for problem_id, number, verdict, tokens, chain in zip(*(table[n].to_pylist() for n in names), strict=True):
            cell = self.cells.setdefault((problem_id, number), RoundTally())
            cell.add(Verdict(verdict), tokens, chain)

    def walk(self, problem_id: str) -> tuple[list[RoundTally], int | None]:
        """Returns the problem's rounds that count, and the round that is missing (None if the design stops there)."""
        used: list[RoundTally] = []
        while True:
            n, successes = sum(cell.n for cell in used), sum(self._successes(cell) for cell in used)
            target = self.design.next_round(n, successes)
            if target is None:
                return used, None
            cell = self.cells.get((problem_id, len(used)))
            if cell is None or n + cell.n < target:
                return used, len(used)
            used.append(cell)

    def _successes(self, cell: RoundTally) -> int:
        """What the design stops on."""
        return cell.sound if self.design.stop_on == "sound" else cell.verdicts[Verdict.CORRECT]

    def lacking(self) -> dict[int, list[str]]:
        """Maps each round to the problems that lack it, in the order of the dataset."""
        result: dict[int, list[str]] = {}
        for problem_id in self.problem_ids:
            number = self.walk(problem_id)[1]
            if number is not None:
                result.setdefault(number, []).append(problem_id)
        return dict(sorted(result.items()))

    def counts(self) -> Counts:
        """The counts once nothing is lacking (else ValueError).

        With the columns wrong, truncated, error, tokens, and sound where the verifier checks chains.
        """
        used = [self.walk(problem_id)[0] for problem_id in self.problem_ids]

        def total(verdict: Verdict) -> list[int]:
            return [sum(cell.verdicts[verdict] for cell in cells) for cells in used]

        extra = {"sound": [sum(cell.sound for cell in cells) for cells in used]} if self.checks_chains else {}
        extra |= {v.value: total(v) for v in (Verdict.WRONG, Verdict.TRUNCATED, Verdict.ERROR)}
        extra["tokens"] = [sum(cell.tokens for cell in cells) for cells in used]
        n = [sum(cell.n for cell in cells) for cells in used]
        return Counts(self.problem_ids, n, total(Verdict.CORRECT), self.design, extra)  # type: ignore[arg-type]

    def chains(self) -> dict[str, int] | None:
        """Returns the fields of `records.Chains` for the completions that count; None if no chain could be judged."""
        cells = [cell for problem_id in self.problem_ids for cell in self.walk(problem_id)[0]]
        sums = [sum(cell.chains[place] for cell in cells) for place in range(4)]
        names = ("checked", "sound", "correct_checked", "correct_sound")
        return dict(zip(names, sums, strict=True)) if sums[0] else None
