"""A suite names the base model, the datasets, the training budget and the sampling. It is strict YAML with a hash.

Everything that a comparison must hold equal is in the suite and nowhere else. What an algorithm itself changes stays
with the algorithm. Two records belong in the same table only if their suites have the same hash.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, JsonValue, ValidationError, ValidationInfo, field_validator, model_validator

from algorithms.settings import Settings
from benchmarks import tasks, verifiers
from benchmarks.engines.settings import EngineSettings
from benchmarks.errors import UsageError, all_wrong, unknown
from benchmarks.files import content_hash
from benchmarks.launchers.resources import Resources
from benchmarks.outside import Found
from benchmarks.settings import Positive, Sampling, Strict, findings
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.passk import Design, design_from_json
from benchmarks.suites.changes import apply_change
from benchmarks.suites.checks import no_chains, two_splits
from benchmarks.suites.outside import called_model, hashed, problems_digest, whole_data, whole_model, whole_path
from benchmarks.tasks import Problem, Task
from benchmarks.tasks.prompts import CHAT, TEMPLATES
from benchmarks.verifiers import Verifier

_FOLDER = "folder"
"""Names what paths are relative to, in pydantic's context."""
SUITES = Path(__file__).parent
BASE_MODELS = Path(__file__).parents[1] / "base_models"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""A name that is also used for folders of runs."""


class Dataset(Strict):
    """Problems from one split of one task."""

    task: str
    """A name, or a task of your own: a file (a path relative to the suite's file) or `package.module:Class`."""
    split: str = "test"
    """A split of the task."""
    problems: Positive | None = None
    """How many problems to take from the start of the split; null takes all of them."""
    settings: dict[str, JsonValue] = {}
    """Settings of the task itself, such as path, data_dir or revision. Paths are relative to the suite's file."""

    @field_validator("task")
    @classmethod
    def _exists(cls, task: str, info: ValidationInfo) -> str:
        if task not in tasks.TASKS:  # those are not imported before they are used
            tasks.find(whole_path(task, _folder(info)))
        return task

    def make_task(self) -> Task:
        """Returns the task with its settings. Raises UsageError for an unknown task, setting or verifier."""
        return self._made()[0]

    def make_verifier(self) -> Verifier:
        """What judges its completions; the errors of `make_task`."""
        task, found = self._made()
        return verifiers.get(task.verifier, found.folder)

    def _made(self) -> tuple[Task, Found]:
        found = tasks.find(self.task)
        try:
            task = tasks.get(self.task, **self.settings)
        except TypeError as error:
            raise UsageError(f"task '{self.task}' does not take these settings: {sorted(self.settings)}.") from error
        verifiers.find(task.verifier, found.folder)
        return task, found

    @property
    def outside(self) -> dict[str, Found]:
        """Its `task` and its `verifier`, where they are not built in."""
        if self.task in tasks.TASKS and "verifier" not in self.settings:
            return {}  # without importing it
        task, found = self._made()
        both = {"task": found, "verifier": verifiers.find(task.verifier, found.folder)}
        return {kind: one for kind, one in both.items() if one.source is not None}

    @property
    def asked(self) -> dict[str, Any]:
        """Its keys as they are compared and hashed (`suites/outside.py`)."""
        return hashed(self.model_dump(mode="json"), self.outside, self.local_data)

    @property
    def local_data(self) -> dict[str, str]:
        """Its settings that are paths of data -> the name that is there, and the hash of the problems in it."""
        paths = {key: self.settings[key] for key in self._path_settings() if self.settings.get(key) is not None}
        if not paths:
            return {}
        digest = problems_digest(type(self), self.model_dump_json())
        return {key: f"{Path(str(path)).name}@{digest}" for key, path in paths.items()}

    def _path_settings(self) -> tuple[str, ...]:
        return tuple(tasks.find(self.task).made_by.PATHS) if self.settings else ()

    def located(self, folder: Path) -> Self:
        """Returns it with whole paths in place of paths that are relative to `folder`."""
        here = self.model_copy(update={"task": whole_path(self.task, folder)})
        changed = {key: whole_path(self.settings[key], folder) for key in ("verifier",) if key in self.settings}
        changed |= {
            key: whole_data(self.settings[key], folder) for key in here._path_settings() if key in self.settings
        }
        return here.model_copy(update={"settings": self.settings | changed})

    def load(self) -> list[Problem]:
        """Returns the problems in order. Raises UsageError for an unknown task or split, or if there are too few."""
        found = self.make_task().load(self.split)
        if self.problems is not None and len(found) < self.problems:
            raise UsageError(
                f"split '{self.split}' of task '{self.task}' has {len(found)} problems, not {self.problems}."
            )
        return found[: self.problems]


class TrainingDataset(Dataset):
    """Problems to train on."""

    split: str = "train"
    """A split of the task."""


class DesignSpec(Strict):
    """How many samples each problem gets (docs/statistics.md). One round without a stop is a fixed number."""

    rounds: Annotated[tuple[Positive, ...], Field(min_length=1)] = (64, 128, 256)
    """Samples of a problem after each round; the last is the largest number. They must ascend."""
    stop_after: Positive | None = None
    """A problem with that many right answers after a round gets no more; null: all of them get the largest number."""
    stop_on: JudgedBy = "answer"
    """What stops a problem: that many correct answers, or that many correct answers under a sound chain."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.make()
        return self

    def make(self) -> Design:
        """The estimator's design. Rounds that do not ascend, or several without a stop: UsageError."""
        try:
            return design_from_json(self.model_dump())
        except ValueError as error:
            raise UsageError(str(error)) from error


class EvaluationSettings(Strict):
    """Settings of the evaluation stage, which are the same for the base and for every trained model."""

    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    """Name -> problems. The name is yours: folders and tables are called by it."""
    sampling: Sampling
    """How completions are sampled, of the base and of trained models."""
    design: DesignSpec = DesignSpec(rounds=(64, 128, 256), stop_after=4)
    """How many samples each problem gets."""
    base_design: DesignSpec | None = None
    """The base's own design; null: it has that of the trained models."""
    k: Positive = 256
    """The k of the gap, pass@k(base) - pass@1(trained)."""
    checkpoints: tuple[Positive, ...] = ()
    """Training steps after which the policy is evaluated too, beside the one that training ends with."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, design in self.designs.items():
            if self.k > design.rounds[-1]:
                raise ValueError(f"k = {self.k} is above the {name}'s n = {design.rounds[-1]}")
        if list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError(f"checkpoints must ascend, got {list(self.checkpoints)}")
        return self

    @property
    def designs(self) -> dict[str, DesignSpec]:
        """By the name of their key; both are asked for pass@k."""
        return {"design": self.design} | ({"base_design": self.base_design} if self.base_design else {})

    def design_of(self, base: bool) -> Design:
        """How the base, or any other model, is sampled."""
        return (self.base_design if base and self.base_design else self.design).make()


class SuiteTraining(Settings):
    """What every policy is trained on and rewarded for, and the settings common to all algorithms."""

    dataset: TrainingDataset
    """The problems to train on."""
    reward: JudgedBy = "answer"
    """What gets reward 1: a correct answer, or only a correct answer under a sound chain of thought."""


class Suite(Strict):
    """The contents of one suite file."""

    name: Name
    """Names the folder of its runs. A file that does not say it is called by its own name."""
    description: str = ""
    """What it is for, in a sentence."""
    base_model: str
    """`embedded:NAME`, a folder (relative to the suite's file), or the id of a model on the hub."""
    base_revision: str | None = None
    """Branch, tag or commit of a base model on the hub; null: the newest."""
    prompt_template: str = "raw"
    """The name of the template that a problem is put into; rlvr-gap list shows them."""
    evaluation: EvaluationSettings
    """How every model is measured."""
    engine: EngineSettings = EngineSettings()
    """What evaluates."""
    resources: Resources = Resources()
    """What a job of a cluster gets (docs/cluster.md)."""
    training: SuiteTraining
    """What every policy is trained on, and how."""

    @field_validator("prompt_template")
    @classmethod
    def _template_exists(cls, name: str) -> str:
        if name not in (*TEMPLATES, CHAT):
            raise unknown("prompt template", name, [*TEMPLATES, CHAT])
        return name

    @property
    def asked(self) -> dict[str, Any]:
        """Everything that can change a result, so without the name, description, engine and resources.

        The key `evaluation.checkpoints` is there only if a suite has some.
        """
        asked = self.model_dump(mode="json", exclude={"name", "description", "engine", "resources"})
        asked["base_model"] = called_model(self.base_model)
        if self.training is not None:
            asked["training"]["dataset"] = self.training.dataset.asked
        asked["evaluation"]["datasets"] = {name: one.asked for name, one in self.evaluation.datasets.items()}
        if not self.evaluation.checkpoints:
            del asked["evaluation"]["checkpoints"]
        return asked

    @property
    def outside(self) -> dict[str, Found]:
        """The tasks and verifiers that are not built in: "task NAME" or "verifier NAME" -> the class."""
        datasets = [*self.evaluation.datasets.values(), self.training.dataset]
        return {f"{kind} {one.name}": one for dataset in datasets for kind, one in dataset.outside.items()}

    @property
    def datasets_by_key(self) -> dict[str, Dataset]:
        """All of its datasets, by their keys: those of evaluation, and `training.dataset`."""
        found = {f"evaluation.datasets.{name}": dataset for name, dataset in self.evaluation.datasets.items()}
        if self.training is not None:
            found["training.dataset"] = self.training.dataset
        return found

    @property
    def has_paths(self) -> bool:
        """Whether it names data or a base model by a path, in place of which `asked` has a name."""
        named = called_model(self.base_model) != self.base_model
        return named or any(dataset.local_data for dataset in self.datasets_by_key.values())

    @property
    def sources(self) -> dict[str, Any]:
        """Hash and text of `outside`, for a record."""
        return {name: one.source.to_json() for name, one in self.outside.items() if one.source is not None}

    @property
    def hash(self) -> str:
        """16 hex digits over what is asked, and the engine's number format."""
        return content_hash(self.asked | ({"dtype": self.engine.dtype} if self.engine.dtype else {}))

    @property
    def base_path(self) -> str:
        """The name or path that transformers loads the base model from. UsageError for an unknown embedded model."""
        kind, _, name = self.base_model.partition(":")
        if kind != "embedded":
            return self.base_model
        known = {folder.name for folder in BASE_MODELS.iterdir() if (folder / "config.json").exists()}
        if name not in known:
            raise unknown("embedded base model", name, known)
        return str(BASE_MODELS / name)


def known() -> dict[str, Path]:
    """Returns the suites that come with the project, as a mapping from name to file."""
    return {path.stem: path for path in sorted(SUITES.glob("*.yaml"))}


def load(name: str) -> Suite:
    """Returns the suite with that name, or the one in that YAML file. UsageError for an unknown name, key or value."""
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else known().get(name)
    if path is None:
        raise UsageError(f"{unknown('suite', name, known())} One of your own is named by its file, my-suite.yaml.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.y*ml")], n=1)
        hint = f" Did you mean '{path.with_name(near[0])}'?" if near else ""
        raise UsageError(f"cannot read suite {path}: {error.strerror or error}.{hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"suite {path} is not YAML: {' '.join(str(error).split())}.") from error
    if isinstance(data, dict):
        data.setdefault("name", path.stem)
    return parse(data, str(path), path.parent)


def with_changes(suite: Suite, changes: Sequence[str]) -> Suite:
    """Returns the suite with changes such as `training.learning_rate=1e-4` applied. UsageError if one is not valid."""
    data = suite.model_dump(mode="json")
    for change in changes:
        apply_change(data, change)
    return parse(data, "--set") if changes else suite


def parse(data: Any, where: str = "suite", folder: Path = Path()) -> Suite:
    """Returns the suite in `data`, whose paths are relative to `folder`.

    Raises one UsageError that names everything that is wrong, with the nearest valid keys and values.
    """
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds a {type(data).__name__}"
        raise UsageError(f"{where} {what}: expected the keys of a suite, such as base_model (docs/suites.md).")
    try:
        suite = located(Suite.model_validate(data, context={_FOLDER: folder}), folder)
    except ValidationError as error:
        raise all_wrong(where, findings(Suite, error)) from error
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if wrong := [*two_splits(suite), *no_chains(suite)]:
        raise all_wrong(where, wrong)
    return suite


def located(suite: Suite, folder: Path) -> Suite:
    """Returns the suite with whole paths in place of paths relative to `folder`, so that every process finds them."""
    datasets = {name: dataset.located(folder) for name, dataset in suite.evaluation.datasets.items()}
    changed: dict[str, Any] = {
        "base_model": whole_model(suite.base_model, folder),
        "evaluation": suite.evaluation.model_copy(update={"datasets": datasets}),
    }
    if suite.training is not None:
        changed["training"] = suite.training.model_copy(update={"dataset": suite.training.dataset.located(folder)})
    return suite.model_copy(update=changed)


def _folder(info: ValidationInfo) -> Path:
    """What paths are relative to, while a suite is validated."""
    return (info.context or {}).get(_FOLDER, Path())
