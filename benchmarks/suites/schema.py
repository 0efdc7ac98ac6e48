"""A suite names the base model, the datasets, the training budget and the sampling. It is strict YAML with a hash.

Everything that a comparison must hold equal is in the suite and nowhere else. What an algorithm itself changes stays
with the algorithm. Two records belong in the same table only if their suites have the same hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, JsonValue, ValidationError, model_validator

from algorithms.settings import Settings
from benchmarks import tasks, verifiers
from benchmarks.engines import AUTO, ENGINES
from benchmarks.engines.settings import EngineSettings
from benchmarks.errors import UsageError, unknown
from benchmarks.files import content_hash
from benchmarks.launchers.resources import Resources
from benchmarks.outside import Found
from benchmarks.settings import Positive, Sampling, Stops, Strict, explain
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.passk import Design, design_from_json
from benchmarks.suites.outside import hashed, whole_path
from benchmarks.tasks import Problem, Task, prompts
from benchmarks.tasks.prompts import Template
from benchmarks.verifiers import Verifier

_NUMBER = re.compile(r"[0-9.]+e[-+]?[0-9]+")
"""Matches a number that YAML 1.1 would read as text, such as 1e-4."""
SUITES = Path(__file__).parent
BASE_MODELS = Path(__file__).parents[1] / "base_models"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""A name that is also used for folders of runs."""


class Dataset(Strict):
    """Problems from one split of one task."""

    task: str
    """A name, or a task of one's own: a file (a path relative to the suite's file) or `package.module:Class`."""
    split: str
    problems: Positive | None = None
    """How many problems to take from the start of the split; null takes all of them."""
    settings: dict[str, JsonValue] = {}
    """Settings of the task itself, such as data_dir or revision."""

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
        return hashed(self.model_dump(mode="json"), self.outside)

    def load(self) -> list[Problem]:
        """Returns the problems in order. Raises UsageError for an unknown task or split, or if there are too few."""
        found = self.make_task().load(self.split)
        if self.problems is not None and len(found) < self.problems:
            raise UsageError(
                f"split '{self.split}' of task '{self.task}' has {len(found)} problems, not {self.problems}."
            )
        return found[: self.problems]


class DesignSpec(Strict):
    """How many samples each problem gets (docs/statistics.md). One round without a stop is a fixed number."""

    rounds: Annotated[tuple[Positive, ...], Field(min_length=1)]
    stop_after: Positive | None = None
    stop_on: JudgedBy = "answer"
    """What stops a problem: that many correct answers, or that many correct answers under a sound chain."""

    def make(self) -> Design:
        """The estimator's design. Rounds that do not ascend, or several without a stop: UsageError."""
        try:
            return design_from_json(self.model_dump())
        except ValueError as error:
            raise UsageError(f"design: {error}.") from error


class EvaluationSettings(Strict):
    """Settings of the evaluation stage, which are the same for the base and for every trained model."""

    datasets: Annotated[dict[Name, Dataset], Field(min_length=1)]
    sampling: Sampling
    design: DesignSpec
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

    dataset: Dataset
    reward: JudgedBy = "answer"
    """What gets reward 1: a correct answer, or only a correct answer under a sound chain of thought."""


class Suite(Strict):
    """The contents of one suite file."""

    name: Name
    description: str
    base_model: str
    """`embedded:NAME`, a folder, or the id of a model on the hub."""
    base_revision: str | None = None
    prompt_template: str | Template = "raw"
    """A name, a .yaml file (a path relative to the suite's file), or a template itself (docs/templates.md)."""
    stops: Stops | None = None
    """Where completions stop, in training and evaluation, in place of the template's own stops."""
    evaluation: EvaluationSettings
    engine: EngineSettings = EngineSettings()
    resources: Resources = Resources()
    training: SuiteTraining

    @model_validator(mode="after")
    def _check_stops(self) -> Self:
        for name, sampling in (("evaluation", self.evaluation.sampling), ("training", self.training.sampling)):
            if sampling.stops.strings:
                raise ValueError(f"{name}.sampling.stops: stops belong to the template; set them as stops of the suite")
        return self

    @property
    def template(self) -> Template:
        """The prompt template, with the suite's own stops if it has some. UsageError for an unknown one."""
        template = prompts.find(self.prompt_template)
        return template if self.stops is None else template.model_copy(update={"stops": self.stops})

    @property
    def asked(self) -> dict[str, Any]:
        """Everything that can change a result, so without the name, description, engine and resources.

        The key `evaluation.checkpoints` is there only if a suite has some. The template is there with its content, so
        that an edited one is another one, and with the stops that apply.
        """
        asked = self.model_dump(mode="json", exclude={"name", "description", "engine", "resources", "stops"})
        asked["prompt_template"] = self.template.content
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
    path = Path(name) if name.endswith((".yaml", ".yml")) else known().get(name)
    if path is None:
        raise unknown("suite", name, known())
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read suite {path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"suite {path} is not YAML: {' '.join(str(error).split())}.") from error
    return parse(data, str(path), path.parent)


def with_changes(suite: Suite, changes: Sequence[str]) -> Suite:
    """Returns the suite with changes such as `training.learning_rate=1e-4` applied. UsageError if one is not valid."""
    data = suite.model_dump(mode="json")
    for change in changes:
        path, equals, value = change.partition("=")
        *parents, key = path.split(".")
        place: Any = data
        for parent in parents:
            if isinstance(place, dict) and place.get(parent) is None:
                place[parent] = {}  # a section that is not set yet; a wrong name is refused below
            place = place.get(parent) if isinstance(place, dict) else None
        if not equals or not isinstance(place, dict):
            raise UsageError(
                f"--set '{change}': expected a key of the suite and a value, as training.learning_rate=1e-4."
            )
        place[key] = yaml.safe_load(value) if not _NUMBER.fullmatch(value) else float(value)
    return parse(data, "--set")


def parse(data: Any, where: str = "suite", folder: Path = Path()) -> Suite:
    """Returns the suite in `data`, whose paths of tasks are relative to `folder`.

    Raises a UsageError that names a wrong key or value and the nearest valid one.
    """
    try:
        _check_template(data)
        suite = located(Suite.model_validate(data), folder)
        _check_names(suite)
        for design in suite.evaluation.designs.values():
            design.make()
        _check_chains(suite)
    except ValidationError as error:
        raise UsageError(f"{where}: {explain(Suite, error)}") from error
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    return suite


def _check_template(data: Any) -> None:
    """Raises UsageError for a template in the suite itself that is not valid."""
    template = data.get("prompt_template") if isinstance(data, dict) else None
    if isinstance(template, dict):
        try:
            Template.model_validate(template)
        except ValidationError as error:
            raise UsageError(f"prompt_template: {explain(Template, error)}") from error


def located(suite: Suite, folder: Path) -> Suite:
    """Returns the suite with whole paths in place of paths relative to `folder`, so that every process finds them.

    A template in a file is read, so that a record holds it.
    """
    datasets = {name: _located(dataset, folder) for name, dataset in suite.evaluation.datasets.items()}
    training = suite.training.model_copy(update={"dataset": _located(suite.training.dataset, folder)})
    evaluation = suite.evaluation.model_copy(update={"datasets": datasets})
    template = suite.prompt_template
    if isinstance(template, str) and prompts.is_file(template):
        template = prompts.find(template, folder)
    return suite.model_copy(update={"evaluation": evaluation, "training": training, "prompt_template": template})


def _located(dataset: Dataset, folder: Path) -> Dataset:
    settings = {k: whole_path(v, folder) if k == "verifier" else v for k, v in dataset.settings.items()}
    return dataset.model_copy(update={"task": whole_path(dataset.task, folder), "settings": settings})


def _check_names(suite: Suite) -> None:
    """Raises UsageError for an unknown task, template or engine, so that a run does not begin with a typing error."""
    datasets = [*suite.evaluation.datasets.values(), suite.training.dataset]
    asked: list[tuple[str, str, Iterable[str]]] = [
        ("engine", suite.engine.name, [AUTO, *ENGINES]),
    ]
    for kind, name, names in asked:
        if name not in names:
            raise unknown(kind, name, names)
    prompts.find(suite.prompt_template)
    for dataset in datasets:
        if dataset.task not in tasks.TASKS:  # those are not imported before they are used
            tasks.find(dataset.task)


def _check_chains(suite: Suite) -> None:
    """UsageError where the suite asks for sound chains of a task whose verifier cannot check them."""
    asked: list[tuple[str, Dataset]] = []
    if suite.training.reward == "sound":
        asked.append(("training.reward", suite.training.dataset))
    for name, design in suite.evaluation.designs.items():
        if design.stop_on == "sound":
            asked += [(f"evaluation.{name}.stop_on", dataset) for dataset in suite.evaluation.datasets.values()]
    for key, dataset in asked:
        verifier = dataset.make_verifier()
        if not verifier.checks_chains:
            raise UsageError(
                f"{key}: expected answer, got 'sound': verifier '{verifier.name}' of task '{dataset.task}' does not "
                "check chains of thought."
            )
