"""The schemas of what a cell writes, their atomic write, and their strict read.

`record.json` is written last and in one step: a cell is done if and only if its record can be read back by
`read_record` and its hashes are those that were asked for. The companion of this file is `counts.py`, which does the
same for `counts.jsonl`.

Every model forbids keys that it does not know, except the two that hold what engines and trainers name themselves
(`Sampling`, and the free dicts `settings`, `machine`, `metrics`). Shares and probabilities are fractions, not percent.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationError,
    computed_field,
    model_validator,
)

from benchmarks.errors import Failure
from benchmarks.files import content_hash, file_sha256, loads_strict, read_text, write_json_atomic, write_text_atomic
from benchmarks.settings import Count, K, Share, Strict, explain, require
from benchmarks.statistics.gap import Gap

__all__ = [
    "BASE",
    "MAX_ERROR_SHARE",
    "SCHEMA",
    "Cell",
    "Chains",
    "DesignRecord",
    "Evaluation",
    "FileRef",
    "Gap",
    "Imported",
    "Provenance",
    "Record",
    "Sampling",
    "Spent",
    "StandardError",
    "Suite",
    "Training",
    "Verdicts",
    "Versions",
    "content_hash",
    "file_sha256",
    "read_record",
    "write_json_atomic",
    "write_record",
    "write_text_atomic",
]

SCHEMA = 1
MAX_ERROR_SHARE = 0.01
"""An evaluation with a larger share of ERROR verdicts than this is invalid."""
BASE = "base"
"""The `cell.algorithm` of the model that every gap is measured from."""

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


# ------------------------------------------------------------------------------------------------ evaluation


class FileRef(Strict):
    """A file of the run, so that a record proves which one it was made from."""

    path: str
    """Relative to the folder of the record."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DesignRecord(Strict):
    """The sampling design, fixed beforehand: see `passk.Design`."""

    rounds: Annotated[tuple[K, ...], Field(min_length=1)]
    """Checkpoints: samples per problem, ascending. One entry: a fixed number."""
    stop_after: K | None
    """A problem stops at the first checkpoint with at least this many correct; null: the design is fixed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(list(self.rounds) == sorted(set(self.rounds)), f"rounds must ascend, got {list(self.rounds)}")
        require(
            self.stop_after is not None or len(self.rounds) == 1,
            "stop_after may be null only where rounds has one entry",
        )
        return self


class Sampling(Strict):
    """How completions were drawn; null where it is not known. An engine may add its own keys (seed, stop, min_p)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, JsonValue]

    temperature: FiniteFloat | None
    top_p: FiniteFloat | None
    top_k: int | None
    max_new_tokens: Count | None


class Verdicts(Strict):
    """How many completions got each verdict; the sum is all completions."""

    correct: Count
    wrong: Count
    """Everything not correct, in an imported record whose source does not say more."""
    truncated: Count
    error: Count

    @property
    def total(self) -> int:
        """All completions."""
        return self.correct + self.wrong + self.truncated + self.error


class StandardError(Strict):
    """The two standard errors of a dataset's mean pass@k."""

    total: FiniteFloat | None
    """Over problems and samples: sd of the per-problem estimates / sqrt(N). Null for one problem."""
    sampling: FiniteFloat | None
    """Given the problems, over samples alone: what more samples would take away."""


class Chains(Strict):
    """Chains of thought checked step by step, where the task can."""

    checked: Count
    """Completions whose chain could be judged."""
    sound: Count
    """... and holds."""
    correct_checked: Count
    """Completions with a correct answer whose chain could be judged."""
    correct_sound: Count
    """... and holds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            self.correct_sound <= min(self.sound, self.correct_checked),
            "correct_sound exceeds sound or correct_checked",
        )
        require(max(self.sound, self.correct_checked) <= self.checked, "sound or correct_checked exceeds checked")
        return self


class Versions(Strict):
    """The VERSION of what gave the problems and the verdicts; never mixed in one table. Null: made elsewhere."""

    task: int | str | None
    verifier: int | str | None


class Evaluation(Strict):
    """One model on one dataset."""

    design: DesignRecord
    sampling: Sampling
    n_problems: Annotated[int, Field(strict=True, ge=1)]
    problems_hash: str | None
    """`content_hash` of the problems in their order; null where only counts are known."""
    verdicts: Verdicts
    pass_at_k: Annotated[dict[K, Share], Field(min_length=1)]
    """Mean over all problems."""
    standard_error: dict[K, StandardError]
    """For the same k as `pass_at_k`."""
    tokens: Count | None
    """Sampled in the evaluation."""
    completions: Count
    """Sampled in the evaluation: the sum of the verdicts."""
    seconds: Seconds | None
    """Wall clock of sampling and verifying."""
    chains: Chains | None = None
    counts: FileRef
    completions_file: FileRef | None = None
    """The raw text, where it was kept."""
    versions: Versions
    engine: str | None
    """What sampled, with its version: "vllm 0.11.0"."""

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        """`valid` and `error_share` are written for readers of the JSON, but derived anew on read: never trusted."""
        return {k: v for k, v in data.items() if k not in ("valid", "error_share")} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        rounds, total = self.design.rounds, self.verdicts.total
        require(total == self.completions, f"verdicts sum to {total}, but completions is {self.completions}")
        low, high = self.n_problems * rounds[0], self.n_problems * rounds[-1]
        require(
            low <= total <= high,
            f"{total} verdicts of {self.n_problems} problems under rounds {list(rounds)}: expected {low} to {high}",
        )
        require(max(self.pass_at_k) <= rounds[-1], f"pass_at_k has k={max(self.pass_at_k)}, above n={rounds[-1]}")
        require(set(self.pass_at_k) == set(self.standard_error), "pass_at_k and standard_error have different k")
        values = [self.pass_at_k[k] for k in sorted(self.pass_at_k)]
        require(all(a <= b + 1e-9 for a, b in itertools.pairwise(values)), "pass_at_k falls as k grows")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def error_share(self) -> float:
        """ERROR verdicts as a fraction of all."""
        return self.verdicts.error / max(self.verdicts.total, 1)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def valid(self) -> bool:
        """False above 1 % ERROR verdicts: the numbers then say as much about the verifier as about the model."""
        return self.error_share <= MAX_ERROR_SHARE


# ------------------------------------------------------------------------------------------------ record


class Suite(Strict):
    """The suite that the cell belongs to."""

    name: str
    hash: str


class Cell(Strict):
    """What was trained, from what."""

    algorithm: str
    """`base` for the base model itself."""
    seed: Annotated[int, Field(strict=True)] | None
    variant: str | None
    base_model: str
    base_hash: str | None
    """Of the weights of the base model; null where it is known by name only."""


class Provenance(Strict):
    """Where the numbers come from."""

    commit: str | None
    dirty: bool | None
    """Whether the working tree differed from `commit`."""
    versions: dict[str, str]
    """Package -> version, of everything that can move a number."""
    command: str | None
    """What to run to get this record again."""
    started: AwareDatetime | None
    finished: AwareDatetime | None
    machine: dict[str, JsonValue]
    """Accelerator, cores, memory: what the seconds depend on."""


class Spent(Strict):
    """Completions that no gradient was taken on, and their tokens."""

    completions: Count
    tokens: Count


class Training(Strict):
    """What training cost and how it ended."""

    steps: Count
    """Generation batches."""
    updates: Count
    """Optimiser steps."""
    completions: Count
    """Sampled for the policy's loss, `discarded` and `greedy` not among them."""
    tokens: Count
    """In `completions`."""
    discarded: Spent
    """Sampled and filtered out (DAPO's dynamic sampling)."""
    greedy: Spent
    """Greedy completions that were only a baseline (ReMax)."""
    seconds: dict[str, Seconds]
    """Wall clock by phase: generate, verify, train, ..."""
    peak_memory_bytes: Count | None
    """Of the accelerator, in the process that used most; null on a CPU."""
    diverged: bool
    """Whether the loss ended up not finite. Never true in records of ours: such a run fails and leaves no record."""
    stopped_by: str | None = None
    """What ended training: the budget's name ("updates", "tokens"), or "diverged"."""
    metrics: dict[str, FiniteFloat | None] = Field(default_factory=dict)
    """Last value of what the trainer logged; null where it was not finite."""


class Imported(Strict):
    """Marks a record that was made from counts that another project published."""

    source: str
    """Where they were published: an address or a citation."""
    format: str
    """Which importer read them."""


class Record(Strict):
    """One cell of a suite: `record.json`."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    suite: Suite
    cell: Cell
    settings: dict[str, JsonValue]
    """Every setting, resolved: no default is left to be looked up."""
    provenance: Provenance
    training: Training | None
    """Null for the base, and where the training was not ours."""
    evaluations: dict[str, Evaluation]
    """By dataset."""
    gap: dict[str, Gap] | None
    """By dataset; null for the base."""
    spec_hash: str | None = None
    """`content_hash` of the cell's spec.json: a record with another one is of another question."""
    imported: Imported | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        is_base = self.cell.algorithm == BASE
        require(not (is_base and self.training), "the base has no training: expected null")
        require((self.gap is None) == is_base, "gap is null for the base and an object for every other cell")
        for dataset, gap in (self.gap or {}).items():
            require(dataset in self.evaluations, f"gap has '{dataset}', which was not evaluated")
            require(gap.n_problems == self.evaluations[dataset].n_problems, f"n_problems of gap '{dataset}' differs")
        return self

    @property
    def valid(self) -> bool:
        """False where any evaluation is invalid."""
        return all(evaluation.valid for evaluation in self.evaluations.values())

    def to_json(self) -> dict[str, Any]:
        """The object in record.json."""
        return self.model_dump(mode="json", by_alias=True)


# ------------------------------------------------------------------------------------------------ files


def read_record(path: Path | str) -> Record:
    """The record in the file. Anything wrong with it: `Failure` that names the file, the key, and what was expected."""
    text = read_text(path)
    try:
        data = loads_strict(text)
    except ValueError as error:
        raise Failure(
            f"{path} is not a whole JSON file ({error}): expected a record as written by this tool."
        ) from error
    if not isinstance(data, dict):
        raise Failure(f"{path}: expected a JSON object, found {text[:40]!r}.")
    if data.get("schema") != SCHEMA:
        raise Failure(f"{path}: schema is {data.get('schema')!r}, expected {SCHEMA}.")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        raise Failure(f"{path}: {explain(Record, error)}") from error


def write_record(path: Path | str, record: Record) -> None:
    """Writes the record atomically, and only if it would be read back: a cell is done once this returns."""
    data = record.to_json()
    try:
        Record.model_validate(data)  # model_copy and friends do not validate
    except ValidationError as error:
        raise Failure(f"cannot write {path}: {explain(Record, error)}") from error
    write_json_atomic(path, data)
