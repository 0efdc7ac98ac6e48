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
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from algorithms.settings import Settings
from benchmarks import strict_yaml
from benchmarks.engines.settings import EngineSettings
from benchmarks.errors import UsageError, all_wrong, unknown
from benchmarks.files import content_hash
from benchmarks.launchers.resources import Resources
from benchmarks.outside import Found
from benchmarks.settings import Positive, Sampling, Stops, Strict, explain, findings
from benchmarks.statistics.designs import JudgedBy
from benchmarks.statistics.passk import Design, design_from_json
from benchmarks.suites.changes import apply_change
from benchmarks.suites.checks import no_chains, two_splits
from benchmarks.suites.datasets import FOLDER, Dataset, TrainingDataset, Verification, folder_of
from benchmarks.suites.outside import called_model, whole_model
from benchmarks.suites.sweep import SweepSettings
from benchmarks.tasks import prompts
from benchmarks.tasks.prompts import Template
from benchmarks.verifiers import Verifier

NO_RESULT = ("save_every_steps", "keep_steps")
"""Keys of `training` that no result depends on."""
SUITES = Path(__file__).parent
BASE_MODELS = Path(__file__).parents[1] / "base_models"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""A name that is also used for folders of runs."""


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
    """Training steps after which the policy is evaluated too. They can be added once a cell is finished."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, design in self.designs.items():
            if self.sampling.greedy and design.rounds[-1] > 1:
                raise ValueError(
                    "at temperature 0 (greedy decoding) all samples of a problem are the same: "
                    f"expected {name}: {{rounds: [1]}} and k: 1, got rounds up to {design.rounds[-1]}"
                )
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
    prompt_template: str | Template = "raw"
    """A name, a .yaml file (a path relative to the suite's file), or a template itself (docs/templates.md)."""
    stops: Stops | None = None
    """Where completions stop, in training and evaluation, in place of the template's own stops."""
    evaluation: EvaluationSettings
    """How every model is measured."""
    engine: EngineSettings = EngineSettings()
    """What evaluates."""
    verification: Verification = Verification()
    """How many processes judge, and for how long."""
    resources: Resources = Resources()
    """What a job of a cluster gets (docs/cluster.md)."""
    training: SuiteTraining | None = None
    """What every policy is trained on, and how; null if the suite is for evaluation only."""

    sweep: Annotated[SweepSettings | None, Field(exclude_if=lambda value: value is None)] = None
    """How algorithms are tuned on it (docs/sweeps.md)."""

    @field_validator("prompt_template")
    @classmethod
    def _template_exists(cls, template: str | Template, info: ValidationInfo) -> str | Template:
        prompts.find(template, folder_of(info))
        return template

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.training is None and self.evaluation.checkpoints:
            raise ValueError("evaluation.checkpoints names steps of a training, but there is no section training")
        return self

    @property
    def trained(self) -> SuiteTraining:
        """The section `training`. Raises UsageError if there is none."""
        if self.training is None:
            raise UsageError(
                f"suite '{self.name}' is for evaluation only: it has no section 'training'. Evaluate a model on it "
                f"with rlvr-gap evaluate MODEL --suite {self.name}, or add the section to train."
            )
        return self.training

    @model_validator(mode="after")
    def _check_stops(self) -> Self:
        for name, section in (("evaluation", self.evaluation), ("training", self.training)):
            if section is not None and section.sampling.stops.strings:
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

        `evaluation.checkpoints` is not part of it: a finished cell can get more points, which change none of its other
        numbers. The key `verification.seconds` is there only if a suite sets it. The template is there with its
        content, so that an edited one is another one, and with the stops that apply.
        """
        unasked = {"name", "description", "engine", "resources", "verification", "stops", "sweep"}
        asked = self.model_dump(mode="json", exclude=unasked)
        if self.verification.seconds is not None:
            asked["verification"] = {"seconds": self.verification.seconds}
        asked["prompt_template"] = self.template.content
        asked["base_model"] = called_model(self.base_model)
        if self.training is not None:
            for key in NO_RESULT:
                del asked["training"][key]
            asked["training"]["dataset"] = self.training.dataset.asked
        asked["evaluation"]["datasets"] = {name: one.asked for name, one in self.evaluation.datasets.items()}
        del asked["evaluation"]["checkpoints"]
        return asked

    def verifier_of(self, dataset: str) -> Verifier:
        """Returns what judges the completions of one of the suite's datasets."""
        return self.evaluation.datasets[dataset].make_verifier(self.verification)

    @property
    def outside(self) -> dict[str, Found]:
        """The tasks and verifiers that are not built in: "task NAME" or "verifier NAME" -> the class."""
        found = [item for dataset in self.datasets.values() for item in dataset.outside.items()]
        return {f"{kind} {one.name}": one for kind, one in found}

    @property
    def datasets(self) -> dict[str, Dataset]:
        """All of its datasets, by their keys: those of evaluation, and `training.dataset` if there is one."""
        evaluated = {f"evaluation.datasets.{name}": dataset for name, dataset in self.evaluation.datasets.items()}
        return {**evaluated, **({"training.dataset": self.training.dataset} if self.training else {})}

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
        data = strict_yaml.load(path.read_text(encoding="utf-8"))
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
        _check_template(data)
        suite = located(Suite.model_validate(data, context={FOLDER: folder}), folder)
    except ValidationError as error:
        raise all_wrong(where, findings(Suite, error)) from error
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if wrong := [*two_splits(suite), *no_chains(suite)]:
        raise all_wrong(where, wrong)
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
    datasets = {name: dataset.located(folder) for name, dataset in suite.evaluation.datasets.items()}
    training = suite.training
    if training is not None:
        training = training.model_copy(update={"dataset": training.dataset.located(folder)})
    evaluation = suite.evaluation.model_copy(update={"datasets": datasets})
    model = whole_model(suite.base_model, folder)
    template = suite.prompt_template
    if isinstance(template, str) and prompts.is_file(template):
        template = prompts.find(template, folder)
    changed = {"base_model": model, "evaluation": evaluation, "training": training, "prompt_template": template}
    return suite.model_copy(update=changed)
