"""counts.jsonl: for each problem of a dataset, how many samples were drawn and how many were correct.

    {"schema": 1, "design": {"rounds": [64, 128, 256], "stop_after": 4}}
    {"problem_id": "countdown-test-0", "n": 64, "correct": 9, "wrong": 55, "truncated": 0, "error": 0}

A correct answer under a sound chain of thought is counted in the column `sound`, where the task can check chains; such
counts can be judged by either (`Counts.judged_by`). `"stop_on": "sound"` in the design says that sampling stopped on
sound answers; without it, sampling stopped on correct answers, and nothing can be said of pass@k by sound ones.

The header line may be left out: then the design is fixed, and every n must be equal. A fixed design in a header is
`{"rounds": [256], "stop_after": null}` or `{"n": 256}`. Reading is strict: a problem that lacks samples is an error,
never dropped or padded. This is all that the statistics need, so counts that came from anywhere can be compared.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import Failure, UsageError
from benchmarks.files import loads_strict, read_text, write_text_atomic
from benchmarks.statistics.designs import Design, FixedDesign, Floats, Ints, JudgedBy, SequentialDesign
from benchmarks.statistics.passk import DatasetPassAtK, dataset_pass_at_k, design_from_json
from benchmarks.statistics.sampling import sampling_error
from benchmarks.statistics.stop_on_sound import StopOnSound

SCHEMA = 1
NOT_CORRECT = ("wrong", "truncated", "error")
"""The columns that, with `correct`, sum to n where all are there."""
SOUND = "sound"
"""The column of correct answers under a sound chain."""


@dataclass(frozen=True, eq=False)
class Counts:
    """The counts of one model on one dataset, checked. Anything that cannot be: ValueError that names the problem."""

    problem_ids: tuple[str, ...]
    n_N: Ints
    """Samples drawn."""
    c_N: Ints
    """Correct ones, as `verdict` judges."""
    design: Design
    """Under which they were drawn."""
    extra: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """More columns of length N: `sound`, `wrong`, `truncated`, `error` (whole numbers), tokens and others, as given."""
    header: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the header line."""
    verdict: JudgedBy = "answer"
    """What `c_N` counts; "sound" in a view that `judged_by` made."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "problem_ids", tuple(self.problem_ids))
        for name in ("n_N", "c_N"):
            column = _whole_column(self.problem_ids, name[0], getattr(self, name))
            column.setflags(write=False)
            object.__setattr__(self, name, column)
        self._check_ids()
        sound = [None] * len(self.problem_ids) if self.s_N is None else self.s_N.tolist()
        for row in zip(self.problem_ids, self.n_N.tolist(), self.c_N.tolist(), sound, strict=True):
            _check_row(*row, self.design)
        self._check_verdicts()

    def _check_ids(self) -> None:
        if not self.problem_ids:
            raise ValueError("there is no problem")
        problem_id, times = Counter(self.problem_ids).most_common(1)[0]
        if times > 1:
            raise ValueError(f"problem '{problem_id}' comes {'twice' if times == 2 else f'{times} times'}")

    def _check_verdicts(self) -> None:
        columns = [self.verdicts(name) for name in NOT_CORRECT]
        known_N = self.c_N + sum((c for c in columns if c is not None), start=np.zeros_like(self.c_N))
        complete = all(column is not None for column in columns)
        for problem_id, n, known in zip(self.problem_ids, self.n_N.tolist(), known_N.tolist(), strict=True):
            if known > n or (complete and known != n):
                raise ValueError(f"problem '{problem_id}': its verdicts sum to {known}, but n is {n}")

    @classmethod
    def from_pairs(cls, pairs: Mapping[str, tuple[int, int]]) -> Counts:
        """From {problem_id: (n, c)}, drawn under a fixed design: every n must be equal, else ValueError."""
        n = [n for n, _ in pairs.values()]
        return cls(tuple(pairs), np.array(n), np.array([c for _, c in pairs.values()]), _fixed(list(pairs), n))

    def verdicts(self, name: str) -> Ints | None:
        """(N,): the column `sound`, `wrong`, `truncated` or `error`; None where the counts do not have it."""
        if name not in self.extra:
            return None
        return _whole_column(self.problem_ids, name, self.extra[name])

    @functools.cached_property
    def s_N(self) -> Ints | None:
        """(N,): correct answers under a sound chain; None where the counts do not tell."""
        sound_N = self.verdicts(SOUND)
        if sound_N is not None:
            sound_N.setflags(write=False)
        return sound_N

    @property
    def has_sound(self) -> bool:
        """Whether `judged_by("sound")` has an answer: sound chains were counted, and no sampling stopped before one."""
        return self.s_N is not None and not isinstance(self.design, SequentialDesign)

    def judged_by(self, verdict: JudgedBy) -> Counts:
        """The counts with what `verdict` calls correct as `c_N`, under the design as it is for that verdict.

        By "sound", a correct answer under a chain that is not sound counts as wrong. UsageError for "sound" where
        sound chains were not counted, or where sampling stopped on correct answers: a problem may then have stopped
        before its first sound sample, and pass@k by sound ones cannot be known.
        """
        if verdict == self.verdict:
            return self
        if self.verdict == "sound":
            raise UsageError("these counts are judged by sound chains already: the answers alone are not in them.")
        return self._judged_by_sound

    @functools.cached_property
    def _judged_by_sound(self) -> Counts:
        if self.s_N is None:
            raise UsageError("these counts do not tell sound chains apart: they have no column 'sound'.")
        if isinstance(self.design, SequentialDesign):
            raise UsageError(
                f"pass@k by sound chains is not known under {self.design}, which stopped on correct answers: "
                'expected a fixed design, or one with "stop_on": "sound".'
            )
        design = self.design.sound if isinstance(self.design, StopOnSound) else self.design
        extra = {name: column for name, column in self.extra.items() if name != SOUND}
        if (wrong_N := self.verdicts("wrong")) is not None:
            extra["wrong"] = (wrong_N + self.c_N - self.s_N).tolist()
        return Counts(self.problem_ids, self.n_N, self.s_N, design, extra, self.header, "sound")

    def pass_at_k(self, k: int) -> Floats:
        """(N,): the design's estimate for each problem. k < 1 or above the design's samples: ValueError."""
        return np.asarray(self.design.pass_at_k(self.n_N, self.c_N, k, self.s_N))

    def curve(self, ks: Sequence[int]) -> Floats:
        """(N, K): `pass_at_k` of every problem at every k."""
        return self.design.curve(self.n_N, self.c_N, ks, self.s_N)

    def dataset_pass_at_k(self, ks: Sequence[int]) -> DatasetPassAtK:
        """The mean over all problems with its standard errors: `passk.dataset_pass_at_k`."""
        return dataset_pass_at_k(self.n_N, self.c_N, self.design, ks, self.s_N)

    def sampling_error(self, ks: Sequence[int]) -> Floats:
        """(K,): the standard error of the mean over new samples of the same problems: `sampling.sampling_error`."""
        return sampling_error(self.n_N, self.c_N, self.design, ks, self.s_N)

    def sorted(self) -> Counts:
        """The same by problem id: what depends on the order (a bootstrap) then does not depend on that of the file."""
        order = sorted(range(len(self.problem_ids)), key=self.problem_ids.__getitem__)
        if order == list(range(len(order))):
            return self
        return Counts(
            tuple(self.problem_ids[i] for i in order),
            self.n_N[order],
            self.c_N[order],
            self.design,
            {name: [column[i] for i in order] for name, column in self.extra.items()},
            self.header,
            self.verdict,
        )


def _whole_column(problem_ids: Sequence[str], name: str, values: Any) -> Ints:
    """(N,): the values, each as `_whole` has it."""
    quick = isinstance(values, np.ndarray) and values.shape == (len(problem_ids),) and values.dtype == np.int64
    if quick and np.all(values >= 0):
        return np.array(values)
    return np.array([_whole(i, name, value) for i, value in zip(problem_ids, values, strict=True)], dtype=np.int64)


def _whole(problem_id: str, name: str, value: Any) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"problem '{problem_id}': {name} must be a whole number of at least 0, got {value!r}")
    return int(value)


def _check_row(problem_id: str, n: int, c: int, s: int | None, design: Design) -> None:
    if c > n:
        raise ValueError(f"problem '{problem_id}': correct is {c}, above n = {n}")
    if s is not None and s > c:
        raise ValueError(f"problem '{problem_id}': sound is {s}, above correct = {c}")
    if s is None and design.stop_on == SOUND:
        raise ValueError(f"problem '{problem_id}': 'sound' is missing, and {design} stops on it")
    if not design.reachable(n, c, s):
        sound = f", {s} of them sound" if design.stop_on == SOUND else ""
        raise ValueError(f"problem '{problem_id}': {design} does not stop at n = {n} with {c} correct{sound}")


def _fixed(problem_ids: Sequence[str], n: Sequence[int]) -> FixedDesign:
    """The fixed design that all n agree on."""
    if not n:
        raise ValueError("there is no problem")
    odd = next((i for i, value in enumerate(n) if value != n[0]), None)
    if odd is not None:
        raise ValueError(
            f"problem '{problem_ids[odd]}' has n = {n[odd]}, but '{problem_ids[0]}' has {n[0]}: "
            "n must be equal where no design is given"
        )
    return FixedDesign(n[0])


def read_counts(path: Path | str) -> Counts:
    """The counts in the file. Anything wrong with it: `Failure` that names the file and the line or problem."""
    try:
        return _parse(read_text(path))
    except ValueError as error:
        raise Failure(f"{path}: {error}.") from error


def _parse(text: str) -> Counts:
    # Not splitlines: a problem's id may hold one of the other characters that end a line.
    lines = [_line(number, line) for number, line in enumerate(text.rstrip().split("\n"), start=1) if text.strip()]
    header = lines.pop(0) if lines and "problem_id" not in lines[0] else None
    columns = _columns(lines, 1 if header is None else 2)
    problem_ids, n, c = (columns.pop(name) for name in ("problem_id", "n", "correct"))
    meta = dict(header or {"schema": SCHEMA})
    if meta.pop("schema", None) != SCHEMA:
        raise ValueError(f'line 1: expected a problem, or a header with "schema": {SCHEMA}')
    spec = meta.pop("design", None)
    if spec is not None and not isinstance(spec, dict):
        raise ValueError(f"line 1: design must be an object, got {spec!r}")
    design = _fixed(problem_ids, n) if spec is None else design_from_json(spec)
    return Counts(tuple(problem_ids), np.array(n), np.array(c), design, columns, meta)


def _line(number: int, line: str) -> dict[str, Any]:
    try:
        data = loads_strict(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"line {number}: expected an object, got {line[:40]}")
    return data


def _columns(rows: Sequence[Mapping[str, Any]], first_line: int) -> dict[str, list[Any]]:
    """Column name -> its values. A row that lacks a counted column that others have: ValueError."""
    if not rows:
        raise ValueError("there is no problem")
    names = dict.fromkeys(name for row in rows for name in row)
    must = {"problem_id", "n", "correct"} | {SOUND, *NOT_CORRECT} & set(names)
    for number, row in enumerate(rows, start=first_line):
        if lacking := sorted(must - set(row)):
            raise ValueError(f"line {number}: '{lacking[0]}' is missing")
        if not isinstance(row["problem_id"], str) or not row["problem_id"]:
            raise ValueError(f"line {number}: problem_id must be a string, got {row['problem_id']!r}")
        for name in must - {"problem_id"}:
            _whole(row["problem_id"], name, row[name])
    return {name: [row.get(name) for row in rows] for name in names | dict.fromkeys(must)}


def write_counts(path: Path | str, counts: Counts) -> None:
    """Writes the counts, header first, atomically. Not possible: `Failure`, and the old file stays."""
    lines: list[dict[str, Any]] = [{"schema": SCHEMA, "design": counts.design.to_json(), **counts.header}]
    rows = zip(counts.problem_ids, counts.n_N.tolist(), counts.c_N.tolist(), strict=True)
    for i, (problem_id, n, c) in enumerate(rows):
        extra = {name: _plain(column[i]) for name, column in counts.extra.items()}
        lines.append({"problem_id": problem_id, "n": n, "correct": c, **extra})
    write_text_atomic(path, "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines))


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own, which JSON knows."""
    return value.item() if isinstance(value, np.generic) else value
