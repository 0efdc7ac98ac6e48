"""The part of a record about one model on one dataset, with strict checks.

Shares and probabilities are fractions, not percentages. Every model forbids unknown keys, except `SamplingRecord`,
which keeps what engines add.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, FiniteFloat, JsonValue, computed_field, model_validator

from benchmarks.settings import Count, K, Share, Strict, require
from benchmarks.statistics.designs import JudgedBy

MAX_ERROR_SHARE = 0.01
"""An evaluation with a larger share of ERROR verdicts than this is invalid."""

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class FileRef(Strict):
    """A file of the run. Its hash proves which file the record was made from."""

    path: str
    """Relative to the folder of the record."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DesignRecord(Strict):
    """The sampling design, which is fixed in advance: see `passk.Design`."""

    rounds: Annotated[tuple[K, ...], Field(min_length=1)]
    """Checkpoints in samples per problem, ascending. A single entry is a fixed number."""
    stop_after: K | None
    """A problem stops at the first checkpoint with at least this many correct; null: the design is fixed."""
    stop_on: JudgedBy = "answer"
    """Which correct ones: all correct answers, or those under a sound chain."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(list(self.rounds) == sorted(set(self.rounds)), f"rounds must ascend, got {list(self.rounds)}")
        require(
            self.stop_after is not None or len(self.rounds) == 1,
            "stop_after may be null only where rounds has one entry",
        )
        return self


class SamplingRecord(Strict):
    """How completions were drawn, or null if unknown. An engine may add its own keys (seed, stop, min_p)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, JsonValue]

    temperature: FiniteFloat | None
    top_p: FiniteFloat | None
    top_k: int | None
    max_new_tokens: Count | None


class Verdicts(Strict):
    """How many completions got each verdict. The sum is all completions."""

    correct: Count
    wrong: Count
    """In an imported record whose source does not say more, everything that is not correct."""
    truncated: Count
    error: Count

    @property
    def total(self) -> int:
        """The number of all completions."""
        return self.correct + self.wrong + self.truncated + self.error


class StandardError(Strict):
    """The two standard errors of a dataset's mean pass@k."""

    total: FiniteFloat | None
    """Over problems and samples: the sd of the per-problem estimates / sqrt(N). Null for one problem."""
    sampling: FiniteFloat | None
    """Over samples alone, given the problems: the part that more samples would remove."""


class Chains(Strict):
    """Chains of thought that were checked step by step, if the task can do that."""

    checked: Count
    """Completions whose chain could be judged."""
    sound: Count
    """Those of `checked` whose chain holds."""
    correct_checked: Count
    """Completions with a correct answer whose chain could be judged."""
    correct_sound: Count
    """Those of `correct_checked` whose chain holds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(
            self.correct_sound <= min(self.sound, self.correct_checked),
            "correct_sound exceeds sound or correct_checked",
        )
        require(max(self.sound, self.correct_checked) <= self.checked, "sound or correct_checked exceeds checked")
        return self


class SoundRecord(Strict):
    """pass@k where only a correct answer under a sound chain counts, for the same k as the answer's."""

    correct: Count
    """Correct answers under a sound chain."""
    pass_at_k: Annotated[dict[K, Share], Field(min_length=1)]
    """Mean over all problems."""
    standard_error: dict[K, StandardError]


class Versions(Strict):
    """The VERSION of the task and of the verifier. One table never mixes them. Null means made elsewhere."""

    task: int | str | None
    verifier: int | str | None


class EvaluationRecord(Strict):
    """One model on one dataset."""

    design: DesignRecord
    sampling: SamplingRecord
    n_problems: Annotated[int, Field(strict=True, ge=1)]
    problems_hash: str | None
    """`content_hash` of the problems in their order, or null if only counts are known."""
    verdicts: Verdicts
    pass_at_k: Annotated[dict[K, Share], Field(min_length=1)]
    """The mean over all problems."""
    standard_error: dict[K, StandardError]
    """For the same k as `pass_at_k`."""
    sound: SoundRecord | None = None
    """The same by the sound verdict; null where chains are not checked, or sampling stopped on correct answers."""
    tokens: Count | None
    """Tokens sampled in the evaluation."""
    completions: Count
    """Completions sampled in the evaluation, which is the sum of the verdicts."""
    seconds: Seconds | None
    """Wall-clock time of sampling and verifying."""
    chains: Chains | None = None
    counts: FileRef
    completions_file: FileRef | None = None
    """The raw text, if it was kept."""
    versions: Versions
    data_revision: str | None = None
    """The resolved commit of a published dataset; null for other tasks, local copies, and where it is not known."""
    engine: str | None
    """The engine that sampled, with its version: "vllm 0.11.0"."""
    precision: str | None = None
    """The number format in which it computed; null where it is not known."""

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        """Drops `valid` and `error_share`, which are written for readers of the JSON but always derived again."""
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
        _require_rising(self.pass_at_k, "pass_at_k")
        if self.sound is not None:
            self._check_sound(self.sound)
        return self

    def _check_sound(self, sound: SoundRecord) -> None:
        same = set(sound.pass_at_k) == set(sound.standard_error) == set(self.pass_at_k)
        require(same, "sound.pass_at_k, sound.standard_error and pass_at_k have different k")
        _require_rising(sound.pass_at_k, "sound.pass_at_k")
        require(sound.correct <= self.verdicts.correct, "sound.correct exceeds the correct verdicts")
        require(
            self.chains is None or self.chains.correct_sound == sound.correct,
            "sound.correct and chains.correct_sound differ",
        )
        above = [k for k in sound.pass_at_k if sound.pass_at_k[k] > self.pass_at_k[k] + 1e-9]
        require(not above, f"sound.pass_at_k exceeds pass_at_k at k={above[:1]}")

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


def _require_rising(pass_at_k: Mapping[int, float], name: str) -> None:
    values = [pass_at_k[k] for k in sorted(pass_at_k)]
    require(all(a <= b + 1e-9 for a, b in itertools.pairwise(values)), f"{name} falls as k grows")
