"""The evaluation of one dataset in its folder, from opening the folder to writing the result.

`plan.json` is written first and says what was asked. Completions are stored under `shards/` while they are sampled. At
the end they become `completions.parquet` and `counts.jsonl`, and `result.json` is written last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.engines.base import Completions
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation import completions
from benchmarks.evaluation.plan import Plan, PlannedChunk, Question, claim
from benchmarks.evaluation.scheduler import Scheduler
from benchmarks.evaluation.shards import Shards
from benchmarks.evaluation.tally import Tally
from benchmarks.evaluation.verifying import Graded, Job
from benchmarks.files import file_sha256, write_json_atomic
from benchmarks.statistics.counts import write_counts
from benchmarks.statistics.passk import Design
from benchmarks.tasks import Problem
from benchmarks.tasks.prompts import Prompts
from benchmarks.verifiers import Verifier

RESULT = "result.json"
COUNTS, COMPLETIONS = "counts.jsonl", "completions.parquet"


class DatasetRun:
    """What one dataset still needs, and what came of it. Call `open`, then `begin`, and then `take` and `keep`."""

    def __init__(
        self, folder: Path, question: Question, problems: Sequence[Problem], verifier: Verifier, design: Design,
        prompts: Prompts | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.question, self.verifier, self.design = folder, question, verifier, design
        self.problems = {problem.problem_id: problem for problem in problems}
        self.prompts = {} if prompts is None else {problem.problem_id: problem for problem in prompts.problems}
        """The problems with their whole prompts, where there is something to sample."""
        if len(self.problems) < len(problems):
            raise UsageError(f"dataset '{question.dataset}': two problems have the same problem_id.")
        self.tally = Tally(list(self.problems), design, verifier.checks_chains)
        self.shards = Shards(folder, question.hash)
        self.seconds = 0.0
        """Wall-clock time over all runs that it took. Datasets that are sampled at once share it."""
        self.engine = question.engine
        self.sampled = self.resumed = 0
        """Completions that this process sampled, and those of earlier ones."""
        self.verify_s = self.wait_s = 0.0
        self._stream_seed: int | None = None
        self._chunks: deque[PlannedChunk] = deque()
        self._gathering: dict[tuple[str, int], list[pa.Table]] = {}
        """By problem and round: what has arrived of a round that is not whole, for engines that are seeded once."""

    # ---------------------------------------------------------------- what is there already

    def open(self) -> bool:
        """Claims the folder for this question or checks that it belongs to it. Returns True if it has a result."""
        claim(self.folder, self.question, complete=(self.folder / RESULT).exists())
        for file in (*self.folder.glob(".*.tmp"), *self.folder.glob(f".{COMPLETIONS}.*")):
            file.unlink(missing_ok=True)  # half-written, when something was killed
        if (self.folder / RESULT).exists():
            self.shards.remove()  # a kill can come after the last file
            return True
        stored = self.folder / COMPLETIONS
        if stored.exists():  # merged, then killed; or re-graded, with samples still to come
            self._read_merged(stored)
        self._read_parts()
        return False

    def _read_merged(self, stored: Path) -> None:
        meta = completions.read_meta(stored)
        if meta.question != self.question.hash:
            raise Failure(f"{stored} was graded for another plan: run the re-grade of {self.folder} again.")
        self.seconds, self.engine = meta.seconds, meta.engine
        for table in completions.read_tables(stored):
            self.tally.add(table)

    def _read_parts(self) -> None:
        """Counts what an engine that is seeded once has left. Rounds that are merged already are passed over."""
        for path, table, meta in self.shards.parts():
            held = set(zip(table["problem_id"].to_pylist(), table["round"].to_pylist(), strict=True))
            known = held & self.tally.cells.keys()
            if known and known != held:
                self.shards.move_aside(path, f"{path} holds rounds of problems that another file holds too")
            elif not known:
                self.shards.paths.append(path)
                self._count(table, meta.seconds, meta.engine)

    def _count(self, table: pa.Table, seconds: float, engine: str) -> None:
        self.tally.add(table)
        self.resumed += table.num_rows
        self.seconds, self.engine = self.seconds + seconds, engine

    @property
    def stored(self) -> int:
        """The number of completions that are there."""
        return sum(cell.n for cell in self.tally.cells.values())

    # ---------------------------------------------------------------- what is sampled next

    def begin(self, rows: int, stream_seed: int | None) -> None:
        """Plans what is lacking in chunks of at most `rows` completions; `Plan` says what `stream_seed` means."""
        self._stream_seed = stream_seed
        self.plan = Plan(self.question, list((self.prompts or self.problems).values()), self.design, rows, stream_seed)
        self.scheduler = Scheduler([self.tally.walk(i)[1] for i in self.plan.order], self.plan.widths)
        self._positions = {problem_id: position for position, problem_id in enumerate(self.plan.order)}
        self._look()

    @property
    def next_round(self) -> int | None:
        """The round of the chunk that is next. None if nothing can be sampled before more has arrived."""
        return self._chunks[0].round if self._chunks else None

    @property
    def waiting(self) -> int:
        """The number of completions that can be sampled now and are not yet taken."""
        known = sum(planned.chunk.rows for planned in self._chunks)
        spans = self.plan.spans
        return known + sum(len(g.positions) * (spans[g.round][1] - spans[g.round][0]) for g in self.scheduler.waiting)

    @property
    def chunks_left(self) -> int:
        """About how many chunks can be sampled now: at least one for each group."""
        return len(self._chunks) + len(self.scheduler.waiting)

    def take(self) -> PlannedChunk:
        """Removes and returns the chunk that is next."""
        planned = self._chunks.popleft()
        self._look()
        return planned

    def _look(self) -> None:
        """Sees to it that the chunk that is next is known, and counts chunks that are stored on the way to it."""
        while not self._chunks and (group := self.scheduler.take()) is not None:
            for planned in self.plan.chunks(group):
                found = None if self._stream_seed is not None else self.shards.read(planned.chunk.key)
                if found is None:
                    self._chunks.append(planned)
                else:
                    table, meta = found
                    self._count(table, meta.seconds, meta.engine)
                    self._arrived(planned)

    def _arrived(self, planned: PlannedChunk) -> None:
        """Tells the scheduler. A round is complete before its stop is tested."""
        for problem_id in planned.problem_ids:
            self.scheduler.arrived(self._positions[problem_id], self.tally.walk(problem_id)[1])

    # ---------------------------------------------------------------- what has arrived

    def job(self, planned: PlannedChunk, sampled: Completions) -> Job:
        """Returns what there is to judge in a chunk's completions."""
        problems = [self.problems[problem_id] for problem_id in planned.problem_ids for _ in range(planned.chunk.n)]
        flat = [completion for row in sampled for completion in row]
        what = (self, planned, flat)
        return Job(self.verifier, problems, [c.text for c in flat], [c.finished for c in flat], what)

    def keep(self, planned: PlannedChunk, flat: Sequence[Any], graded: Graded, seconds: float, engine: str) -> None:
        """Stores and counts a chunk that is judged. `flat`: its completions, prompt-major."""
        table = _table(planned, flat, graded)
        self.seconds, self.engine = self.seconds + seconds, engine
        self.sampled += table.num_rows
        if self._stream_seed is None:
            self.shards.write(planned.chunk.key, table, seconds, engine)
            self.tally.add(table)
        else:
            self.tally.add(table)
            self._gather(planned, table, seconds)
        self._arrived(planned)
        self._look()

    def _gather(self, planned: PlannedChunk, table: pa.Table, seconds: float) -> None:
        """Hands the round of a problem to the next part once it is whole."""
        cell = planned.problem_ids[0], planned.round
        tables = self._gathering.setdefault(cell, [])
        tables.append(table)
        self.shards.waiting_s += seconds
        first, last = self.plan.spans[planned.round]
        if sum(part.num_rows for part in tables) == last - first:
            tables.sort(key=lambda part: part["sample"][0].as_py())
            self.shards.add(pa.concat_tables(self._gathering.pop(cell)))

    def save(self, now: bool = False) -> None:
        """Writes what waits to be written if it is time to, or `now`."""
        if now or self.shards.due:
            self.shards.write_part(self._stream_seed or 0, self.engine)

    # ---------------------------------------------------------------- the end

    @property
    def spent(self) -> dict[str, float]:
        """Seconds of this process by phase. Verifying runs beside the others."""
        return {"sample": self.wait_s, "verify": self.verify_s, "write": self.shards.seconds_to_write}

    def finish(self) -> None:
        """Merges the shards into one file, writes the counts and the result, and removes the shards."""
        counts = self.tally.counts()
        self.save(now=True)
        target = self.folder / COMPLETIONS
        if self.shards.paths:
            self.shards.merge(target, self.seconds, self.engine)
        write_counts(self.folder / COUNTS, counts)
        write_json_atomic(
            self.folder / RESULT,
            {
                "schema": 1,
                "plan": self.question.hash,
                "counts_sha256": file_sha256(self.folder / COUNTS),
                "completions_sha256": file_sha256(target),
                "seconds": round(self.seconds, 3),
                "engine": self.engine,
                "chains": self.tally.chains(),
            },
        )
        self.shards.remove()


def _table(planned: PlannedChunk, flat: Sequence[Any], graded: Graded) -> pa.Table:
    """Returns the chunk's rows with their verdicts."""
    verdicts, chains, answers = graded
    n, rows = planned.chunk.n, len(flat)
    return completions.make_table(
        {
            "problem_id": [problem_id for problem_id in planned.problem_ids for _ in range(n)],
            "round": [planned.round] * rows,
            "sample": [planned.first + i for _ in planned.problem_ids for i in range(n)],
            "text": [c.text for c in flat],
            "raw": [c.raw for c in flat],
            "cut": [c.cut for c in flat],
            "special": [list(c.special) or None for c in flat],
            "verdict": [verdict.value for verdict in verdicts],
            "answer": answers,
            "chain": chains,
            "tokens": [c.tokens for c in flat],
            "finished": [c.finished for c in flat],
            "seed": [planned.chunk.seed] * rows,
        }
    )
