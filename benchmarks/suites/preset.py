"""Presets: the settings that sweeps found for the algorithms of one suite, in a file that `--preset` names.

    rlvr-gap bench --algo grpo --preset tuned

`presets/<suite>/<name>.yaml` comes with the project. `rlvr-gap sweep export` writes `OUT/<suite>/presets/<name>.yaml`,
which comes before it. Any other is named by its file. A preset changes how a policy is trained and nothing else. It
leaves the budget, the problems and the reward as they are, so that the tuned cells stand in one table with the suite's
own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator

from benchmarks import strict_yaml
from benchmarks.errors import UsageError, unknown
from benchmarks.files import write_text_atomic
from benchmarks.settings import Count, Strict, findings
from benchmarks.suites.schema import SUITES, Suite

PRESETS = SUITES / "presets"
TUNED = "tuned"
FIXED = ("budget", "dataset", "reward", "algorithms")
"""Keys of `training` that no preset may set as a whole: what makes cells comparable, and other algorithms' settings."""


class Fresh(Strict):
    """A mean over fresh seeds with its interval, as fractions. Null ends: too few runs to know."""

    value: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    seeds: Count


class Tuned(Strict):
    """What one study found for one algorithm."""

    changes: tuple[str, ...]
    """Such as `training.learning_rate=5e-5`. Empty: the default was not beaten, and stays."""
    study: str
    objective: Literal["gap", "pass_at_1"]
    trials: Count
    """How many were run, those that were pruned or diverged included."""
    tokens: Count
    """What tuning generated: trials and runs with fresh seeds."""
    validation: Fresh | None
    """The objective of these settings on the validation split."""
    default: Fresh | None
    """That of the default."""
    why: str
    """Why these settings, in a sentence."""

    @field_validator("changes")
    @classmethod
    def _only_training(cls, changes: tuple[str, ...]) -> tuple[str, ...]:
        for change in changes:
            key, equals, _ = change.partition("=")
            section, *rest = key.split(".")
            own = len(rest) > 2 and rest[0] == "algorithms"
            if not equals or section != "training" or not all(rest) or not rest or (rest[0] in FIXED and not own):
                raise ValueError(f"'{change}': expected training.KEY=VALUE, and none of {', '.join(FIXED)}")
        return changes


class Preset(Strict):
    """The contents of a preset's file."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")] = TUNED
    """What the variants are called: `grpo (tuned)`."""
    suite: str
    suite_hash: str
    """Settings that were tuned for another version of the suite are not used."""
    algorithms: Annotated[dict[str, Tuned], Field(min_length=1)]

    @model_validator(mode="after")
    def _own_settings(self) -> Preset:
        for name, tuned in self.algorithms.items():
            for change in tuned.changes:
                if change.startswith("training.algorithms.") and change.split(".")[2] != name:
                    raise ValueError(f"algorithms.{name}: '{change}' is a setting of another algorithm")
        return self

    def changes_of(self, algorithm: str) -> tuple[str, ...]:
        """The algorithm's changes. UsageError, with the nearest name, if the preset has no entry for it."""
        if algorithm not in self.algorithms:
            raise UsageError(f"preset '{self.name}': {unknown('algorithm', algorithm, self.algorithms)}")
        return self.algorithms[algorithm].changes


def folder_of(suite: str, out: Path) -> Path:
    """OUT/SUITE/presets, where those that were made here are."""
    return out / suite / "presets"


def known(suite: str, out: Path | None = None) -> dict[str, Path]:
    """The suite's presets: name -> file. Those in OUT/SUITE/presets come before those of the project."""
    folders = [PRESETS / suite, *([folder_of(suite, out)] if out else [])]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def load(name: str, suite: Suite, out: Path | None = None) -> Preset:
    """Returns the preset of the suite with that name, or the one in that YAML file. `out` holds all runs.

    UsageError for an unknown name, a file that is no preset, and a preset of another suite or of another version of it.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else known(suite.name, out).get(name)
    if path is None:
        error = unknown("preset", name, known(suite.name, out))
        raise UsageError(f"suite '{suite.name}': {error} rlvr-gap sweep export writes one.")
    preset = read(path)
    if preset.suite != suite.name:
        raise UsageError(f"preset {name} belongs to the suite '{preset.suite}', and not to '{suite.name}'.")
    if preset.suite_hash != suite.hash:
        raise UsageError(
            f"preset {name} was tuned for the suite '{suite.name}' with hash {preset.suite_hash}; this one has "
            f"{suite.hash}: a setting that can move a number differs. Tune it again with rlvr-gap sweep."
        )
    return preset


def read(path: Path) -> Preset:
    """Returns the preset in the file, whatever suite it belongs to. UsageError for anything that is wrong with it."""
    data = strict_yaml.read(path, f"preset {path}")
    if not isinstance(data, dict):
        raise UsageError(f"preset {path} holds no keys: expected suite, suite_hash and algorithms.")
    try:
        return Preset.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"preset {path}: {findings(Preset, error)[0]}") from error


def write(path: Path, preset: Preset) -> None:
    """Writes the file atomically, with a line that says what it is."""
    data = preset.model_dump(mode="json", by_alias=True)
    head = "# Settings that sweeps chose by fresh seeds on the validation split. Written by rlvr-gap sweep export.\n"
    write_text_atomic(path, head + yaml.safe_dump(data, sort_keys=False, width=120, allow_unicode=True))
