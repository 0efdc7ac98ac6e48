"""summary.json of a study: all that a page or a preset needs to know of it, without Optuna and its storage.

`benchmarks/sweeps/summary.py` writes it from the storage, and `leaderboards/study_page.py` shows it. Every share is a
fraction. A *score* is pass@1 on the validation split, so that higher is better for every objective: the base's
pass@k is the same for all trials, so the gap falls exactly as pass@1 rises.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, JsonValue, ValidationError

from benchmarks.errors import Failure
from benchmarks.files import loads_strict, read_text, write_json_atomic
from benchmarks.settings import Count, K, Share, Strict, explain

FILE = "summary.json"
SCHEMA = 1

Objective = Literal["gap", "pass_at_1", "pareto"]
State = Literal["complete", "pruned", "diverged", "failed", "running", "waiting"]
STATES: tuple[State, ...] = ("complete", "pruned", "diverged", "failed", "running", "waiting")


class Span(Strict):
    """A value with its interval. Null: not known on that side."""

    value: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None


class Parameter(Strict):
    """One axis of the search space."""

    name: str
    """A key of the suite, such as `training.learning_rate`."""
    log: bool
    default: JsonValue
    """The suite's own value; null where it is not known."""
    range: str
    """In words: "1e-06 to 0.001 (log)"."""
    choices: tuple[str, ...] | None = None
    """Null for a range of numbers."""
    importance: FiniteFloat | None = None
    """Share of the importances of all parameters; null where too few trials are complete."""
    by_chance: FiniteFloat | None = None
    """The importance that it exceeds in 1 of 20 studies whose values were dealt out to their trials at random."""


class Trial(Strict):
    """One trial: one training with the settings `changes`."""

    number: Count
    state: State
    params: dict[str, JsonValue]
    changes: tuple[str, ...]
    seed: int | None
    score: Share | None
    """pass@1; null unless the trial is complete."""
    pass_at_k: Share | None
    objective: Span | None
    """Of a complete trial: its gap, or its pass@1. The interval is over problems, from the counts of its own run."""
    rungs: dict[int, Share]
    """Percent of the budget -> pass@1 there."""
    tokens: Count
    steps: Count | None
    seconds: FiniteFloat | None
    reason: str | None
    worker: str | None = None
    retry_of: Count | None = None


class Repeat(Strict):
    """One run of a setting with a fresh seed, which had no part in choosing it."""

    seed: int | None
    score: Share | None
    """pass@1; null if the training diverged."""
    pass_at_k: Share | None
    gap: FiniteFloat | None
    tokens: Count


class Setting(Strict):
    """A setting that was run with fresh seeds: the default, or a finalist."""

    trial: Count | None
    """Null for the default."""
    changes: tuple[str, ...]
    repeats: tuple[Repeat, ...]
    objective: Span | None
    """The mean over fresh seeds, with the t interval of the pooled noise; null if no run counts."""
    lead: Span | None = None
    """Mean score minus the default's, with intervals that hold for all finalists at once (Dunnett). Null: default."""

    @property
    def diverged(self) -> int:
        """How many of its runs diverged."""
        return sum(repeat.score is None for repeat in self.repeats)


class Selected(Strict):
    """How much of the winner's lead over the default was selection (`statistics/selection.py`); pass@1."""

    winner: Count
    """The finalist whose own trial had the best score."""
    seen: FiniteFloat
    fresh: Span
    luck: Span
    noise: FiniteFloat | None
    """Standard deviation of one run around the mean of its setting."""
    noise_df: Count


class Spent(Strict):
    """Generated tokens: sampled, discarded and greedy ones."""

    trials: Count
    repeats: Count
    saved: Count
    """What the trials that were pruned or diverged would still have generated."""


class StudySummary(Strict):
    """summary.json."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    study: str
    suite: str
    suite_hash: str
    algorithm: str
    objective: Objective
    k: K
    n_problems: Count | None
    """Of the validation split."""
    base_pass_at_k: Share | None
    budget_tokens: Count | None
    """Of one trial."""
    asked_trials: Count
    parameters: tuple[Parameter, ...]
    importance_quantile: Share | None
    """Importances are for being among this share of the best complete trials."""
    trials: tuple[Trial, ...]
    default: Setting | None
    finalists: tuple[Setting, ...]
    selected: Selected | None
    best: Count | None
    """The trial whose settings are exported: the best on fresh seeds, if it beats the default there. Null: the default
    stays, or there are no fresh seeds to decide."""
    front: tuple[Count, ...]
    """Trials that no other one beats in pass@1 and pass@k at once; empty unless the study has these two objectives."""
    spent: Spent
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95

    def count(self, state: State) -> int:
        """How many trials are in that state."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def complete(self) -> list[Trial]:
        """The complete trials, in their order."""
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def lucky(self) -> Trial | None:
        """The complete trial with the best score of its own run."""
        scored = [trial for trial in self.complete if trial.score is not None]
        return max(scored, key=lambda trial: trial.score or 0.0) if scored else None

    @property
    def decided(self) -> bool:
        """Whether fresh seeds decide between the default and a finalist."""
        return self.selected is not None and self.objective != "pareto"

    def to_json(self) -> dict[str, Any]:
        """The object that summary.json holds."""
        return self.model_dump(mode="json", by_alias=True)


def read_summary(path: Path | str) -> StudySummary:
    """Returns the summary in the file. Raises a `Failure` that names the file and what is wrong with it."""
    try:
        return StudySummary.model_validate(loads_strict(read_text(path)))
    except ValidationError as error:
        raise Failure(f"{path}: {explain(StudySummary, error)}") from error
    except ValueError as error:
        raise Failure(f"{path} is not a whole JSON file ({error}): rlvr-gap sweep show writes it again.") from error


def write_summary(path: Path | str, summary: StudySummary) -> None:
    """Writes the summary atomically."""
    write_json_atomic(path, summary.to_json())
