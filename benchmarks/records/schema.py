"""The schema of `record.json`, its atomic write, and its strict read.

The record is written last and in one step. A cell is done if and only if `read_record` can read its record and the
hashes are those that were asked for. Every model forbids unknown keys. The free dictionaries (`settings`, `machine`,
`metrics`) hold names that engines and trainers choose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, FiniteFloat, JsonValue, ValidationError, model_validator

from benchmarks.errors import Failure
from benchmarks.files import loads_strict, read_text, write_json_atomic
from benchmarks.records.evaluation import EvaluationRecord, Seconds
from benchmarks.settings import Count, K, Strict, explain, require
from benchmarks.statistics.gap import Gap

RECORD_SCHEMA = 1
BASE = "base"
"""The `cell.algorithm` of the model that every gap is measured from."""


class SuiteRef(Strict):
    """The suite that the cell belongs to."""

    name: str
    hash: str


class Cell(Strict):
    """What was trained, and from which base."""

    algorithm: str
    """`base` for the base model itself."""
    seed: Annotated[int, Field(strict=True)] | None
    variant: str | None
    base_model: str
    base_hash: str | None
    """Hash of the base model's weights, or null if only its name is known."""


class Provenance(Strict):
    """Where the numbers come from."""

    commit: str | None
    dirty: bool | None
    """Whether the working tree differed from `commit`."""
    versions: dict[str, str]
    """Package -> version, for everything that can change a number."""
    command: str | None
    """The command that reproduces this record."""
    started: AwareDatetime | None
    finished: AwareDatetime | None
    machine: dict[str, JsonValue]
    """Accelerator, cores and memory, which the seconds depend on."""


class SpentRecord(Strict):
    """Completions that got no gradient, and their tokens."""

    completions: Count
    tokens: Count


class LoadRecord(Strict):
    """What else the machines did during training. It decides whether the seconds can be compared."""

    wall_seconds: Seconds
    """Time from the start of training to its end, with loading and saving."""
    load_average: FiniteFloat
    """The machine's load average over the last minute of training, including the training itself."""
    other_cores: Annotated[FiniteFloat, Field(ge=0)]
    """Mean number of cores that other programs used, on all machines together."""
    alone: bool
    """Whether others used less than a tenth of a core, or 2 % of the cores if that is more. Other programs on an
    accelerator are not seen."""


class TrainingRecord(Strict):
    """What training cost and how it ended."""

    steps: Count
    """Generation batches."""
    updates: Count
    """Optimiser steps."""
    completions: Count
    """Completions sampled for the policy's loss, without `discarded` and `greedy`."""
    tokens: Count
    """Tokens of `completions`."""
    discarded: SpentRecord
    """Completions that were sampled and then filtered out (DAPO's dynamic sampling)."""
    greedy: SpentRecord
    """Greedy completions that only served as a baseline (ReMax)."""
    token_passes: dict[str, Count] | None = None
    """Device-independent cost: the number of tokens that went through a network, by network and direction. `sampling`
    counts generated tokens; the others (policy_forward, policy_backward, reference_forward, critic_forward,
    critic_backward) count prompt and completion tokens without padding. Null in records from before it was counted."""
    seconds: dict[str, Seconds]
    """Wall-clock time by phase in the main process: generate, verify, critic (with its optimiser), optimizer (the
    policy's, with clipping), and train for the rest."""
    load: LoadRecord | None = None
    """Whether the seconds can be compared. Null in records from before it was measured."""
    peak_memory_bytes: Count | None
    """Peak memory of the accelerator, or of the process without one, in the process that used most."""
    diverged: bool
    """Whether a number was not finite, or the policy collapsed. Such a training is not evaluated."""
    diverged_because: str | None = None
    """What was seen, in one line."""
    stopped_by: str | None = None
    """What ended training: the name of the budget ("updates", "tokens") or "diverged"."""
    metrics: dict[str, FiniteFloat | None] = Field(default_factory=dict)
    """Last value of each metric that the trainer logged, or null if it was not finite."""


class Point(Strict):
    """The policy after one of its training steps, evaluated like the one that training ended with."""

    evaluations: Annotated[dict[str, EvaluationRecord], Field(min_length=1)]
    """By dataset."""
    gap: dict[str, Gap]
    """By dataset."""
    sound_gap: dict[str, Gap] = {}
    tokens: Count | None = None
    """All tokens that training had generated by then, with discarded and greedy ones. Null in older records."""
    completions: Count | None = None
    """The completions that these tokens belong to."""
    provenance: Provenance | None = None
    """Where its numbers come from, if it was added to a finished record; null: from where the record's come."""


class Imported(Strict):
    """Marks a record that was made from counts that another project published."""

    source: str
    """The address or citation of the published counts."""
    format: str
    """The importer that read them."""


class Record(Strict):
    """One cell of a suite: `record.json`."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    suite: SuiteRef
    cell: Cell
    settings: dict[str, JsonValue]
    """Every setting, resolved, so that no default has to be looked up."""
    provenance: Provenance
    training: TrainingRecord | None
    """Null for the base, and if the training was not ours."""
    evaluations: dict[str, EvaluationRecord]
    """By dataset."""
    gap: dict[str, Gap] | None
    """By dataset; null for the base."""
    sound_gap: dict[str, Gap] | None = None
    """The same where only answers under a sound chain are correct: of the datasets on which both sides know it."""
    points: dict[K, Point] = {}
    """By training step: the checkpoints that the suite names."""
    spec_hash: str | None = None
    """`content_hash` of the cell's spec.json. A record with another hash answers another question."""
    imported: Imported | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        is_base = self.cell.algorithm == BASE
        require(not (is_base and self.training), "the base has no training: expected null")
        require((self.gap is None) == is_base, "gap is null for the base and an object for every other cell")
        require(not (is_base and self.sound_gap), "sound_gap is null for the base")
        require(not (is_base and self.points), "the base has no points")
        scored = bool(self.evaluations or self.gap or self.points)
        require(not (self.diverged and scored), "a training that diverged is not scored: expected no evaluations")
        self._check_gaps("gap", self.gap or {})
        self._check_gaps("sound_gap", self.sound_gap or {})
        for dataset in self.sound_gap or {}:
            require(self.evaluations[dataset].sound is not None, f"sound_gap has '{dataset}', whose sound is null")
        return self

    def _check_gaps(self, key: str, gaps: dict[str, Gap]) -> None:
        for dataset, gap in gaps.items():
            require(dataset in self.evaluations, f"{key} has '{dataset}', which was not evaluated")
            require(gap.n_problems == self.evaluations[dataset].n_problems, f"n_problems of {key} '{dataset}' differs")

    @property
    def diverged(self) -> bool:
        """Whether the training came to nothing that could be evaluated."""
        return self.training is not None and self.training.diverged

    @property
    def valid(self) -> bool:
        """False if any evaluation is invalid, or if there is none because the training diverged."""
        points = [one for point in self.points.values() for one in point.evaluations.values()]
        return not self.diverged and all(one.valid for one in [*self.evaluations.values(), *points])

    def to_json(self) -> dict[str, Any]:
        """Returns the object that record.json holds."""
        return self.model_dump(mode="json", by_alias=True)


def read_record(path: Path | str) -> Record:
    """Returns the record in the file. Raises a `Failure` that names the file, the key, and what was expected."""
    text = read_text(path)
    try:
        data = loads_strict(text)
    except ValueError as error:
        raise Failure(
            f"{path} is not a whole JSON file ({error}): expected a record as written by this tool."
        ) from error
    if not isinstance(data, dict):
        raise Failure(f"{path}: expected a JSON object, found {text[:40]!r}.")
    if data.get("schema") != RECORD_SCHEMA:
        raise Failure(f"{path}: schema is {data.get('schema')!r}, expected {RECORD_SCHEMA}.")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        raise Failure(f"{path}: {explain(Record, error)}") from error


def write_record(path: Path | str, record: Record) -> None:
    """Writes the record atomically, but only if it can be read back. A cell is done once this returns."""
    data = record.to_json()
    try:
        Record.model_validate(data)  # model_copy and friends do not validate
    except ValidationError as error:
        raise Failure(f"cannot write {path}: {explain(Record, error)}") from error
    write_json_atomic(path, data)
