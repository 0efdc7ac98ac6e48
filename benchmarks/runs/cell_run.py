"""One cell of a suite: an algorithm and a seed, or the base. Its folder, its spec, and how it runs to a record.

    runs/<suite>/<cell>/    spec.json first, then train/, eval/<dataset>/, and record.json last

A cell is done if and only if its record can be read and is of the spec that is asked for; a call on a done cell reads
it back, a call on a half-done one goes on.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from algorithms import ALGORITHMS
from benchmarks import verifiers
from benchmarks.engines import AUTO, resolve
from benchmarks.engines.identity import ModelRef, identify
from benchmarks.engines.pool import EngineSpec, open_pool
from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.evaluation.grading import judge
from benchmarks.evaluation.stage import DatasetResult, evaluate_dataset
from benchmarks.files import content_hash, loads_strict, read_text, write_json_atomic
from benchmarks.progress import Progress, Stage
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.provenance import now, provenance
from benchmarks.records.schema import BASE, Cell, Gap, Record, Spent, Training, read_record, write_record
from benchmarks.records.schema import Suite as SuiteRef
from benchmarks.seeds import derive
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.suites.schema import Engine, Suite, parse
from benchmarks.tasks.prompts import CHAT, render

SPEC, RECORD, TRAIN, EVAL = "spec.json", "record.json", "train", "eval"


@dataclass(frozen=True)
class Place:
    """Where runs go and what they run on: nothing here is part of the question."""

    out: Path = Path("runs")
    engine: str = AUTO
    workers: int | None = None
    processes: int = 1
    """Training processes."""
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))


@dataclass(frozen=True)
class CellRun:
    """One cell, ready to run."""

    suite: Suite
    algorithm: str
    """A name in ALGORITHMS, or `base`."""
    seed: int
    place: Place

    def __post_init__(self) -> None:
        if self.algorithm != BASE and self.algorithm not in ALGORITHMS:
            raise unknown("algorithm", self.algorithm, [*ALGORITHMS, BASE])
        if self.algorithm != BASE and self.suite.prompt_template == CHAT:
            raise UsageError(f"prompt_template '{CHAT}' is for evaluation; training needs a named template.")
        for name in self.suite.training.algorithms:
            if name not in ALGORITHMS:
                raise unknown("algorithm", name, ALGORITHMS)
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; expected 0 or more.")
        if self.algorithm == BASE:  # one base for all cells of a suite: its samples have a seed of their own
            object.__setattr__(self, "seed", 0)

    @property
    def name(self) -> str:
        """The cell's folder: `base`, or `<algorithm>-s<seed>`."""
        return BASE if self.algorithm == BASE else f"{self.algorithm}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """runs/<suite>/<cell>."""
        return self.place.out / self.suite.name / self.name

    @property
    def base(self) -> CellRun:
        """The base cell that this one is measured from."""
        return CellRun(self.suite, BASE, 0, self.place)

    def run(self) -> Record:
        """The cell's record; what is done already is read back, and a cell that was interrupted goes on.

        Its base comes first, if need be. A folder that holds another question, or that cannot be read: Failure.
        """
        started = now()
        base_model = identify(self.suite.base_path, self.suite.base_revision)
        spec_hash = self.claim(base_model)
        if (record := read_done(self.folder, spec_hash)) is not None:
            return record
        base = None if self.algorithm == BASE else self._base_record()
        trained = None if base is None else self._train()
        model = base_model if trained is None else identify(str(trained.policy))
        seed = derive("evaluate", self.algorithm, self.seed)
        results = evaluate_suite(self.suite, model, self.place, self.folder, seed)
        record = Record(
            suite=SuiteRef(name=self.suite.name, hash=self.suite.hash),
            cell=Cell(
                algorithm=self.algorithm, seed=None if base is None else self.seed, variant=None,
                base_model=self.suite.base_model, base_hash=base_model.hash or base_model.revision,
            ),
            settings=self._settings(),
            provenance=provenance(started, now()),
            training=None if trained is None else training_record(trained),
            evaluations={name: result.evaluation(self.folder) for name, result in results.items()},
            gap=None if base is None else gaps(base, self.base.folder, results, self.suite.evaluation.k),
            spec_hash=spec_hash,
        )  # fmt: skip
        write_record(self.folder / RECORD, record)
        return record

    def _base_record(self) -> Record:
        """The base's record; damaged counts, or another version of a task or verifier, are said before training."""
        base = self.base.run()
        for name, source in self.suite.evaluation.datasets.items():
            task = source.make_task()
            check_versions(base, self.base.folder, name, task.VERSION, verifiers.get(task.verifier).VERSION)
            read_evaluated(base.evaluations[name], self.base.folder)
        return base

    # -------------------------------------------------------------------------------- the spec

    def claim(self, base_model: ModelRef) -> str:
        """Writes spec.json into a new folder and returns its hash. A folder with another spec: Failure.

        What can be known to fail is refused before: a folder with a wrong spec would stand in the way of the right one.
        """
        engine = engine_of(self.suite, self.place)
        question = {
            "suite": self.suite.model_dump(mode="json", exclude={"name", "description", "engine"}),
            "base": base_model.identity, "algorithm": self.algorithm, "seed": self.seed,
            "engine": " ".join(filter(None, [engine.name, engine.dtype])),
        }  # fmt: skip
        path = self.folder / SPEC
        if path.exists():
            _refuse_difference(path, question)
        else:
            self._check()
            write_json_atomic(path, {"schema": 1, "hash": content_hash(question), "asked": question})
        return content_hash(question)

    def _check(self) -> None:
        """UsageError for problems that are not there, and for settings that are unknown or cannot work together."""
        engine = engine_of(self.suite, self.place)
        EngineSpec(engine.name, "", settings=engine.settings).check()
        for dataset in self.suite.evaluation.datasets.values():
            dataset.load()
        if self.algorithm != BASE:
            from algorithms.config import check_machine, config_fields

            settings, processes = self.suite.training, self.place.processes
            check_machine(settings, processes)
            settings.dataset.load()
            config_fields(self._algorithm(), settings, folder="", seed=0, processes=processes, accelerator=False)

    # -------------------------------------------------------------------------------- training

    def _train(self) -> Any:
        """Trains in as many processes as asked for; returns algorithms.train.TrainResult."""
        if self.place.processes > 1:
            world = ["--standalone", "--nproc_per_node", str(self.place.processes)]
            command = [sys.executable, "-m", "torch.distributed.run", *world, "-m", "benchmarks", "train-cell"]
            done = subprocess.run([*command, str(self.folder)], check=False)
            if done.returncode:
                raise Failure(f"training in {self.place.processes} processes ended with exit code {done.returncode}.")
        return self.train()

    @classmethod
    def of_folder(cls, folder: Path, place: Place) -> CellRun:
        """The cell that `folder`'s spec.json asks for: how a training process learns what it is part of."""
        asked = _read_spec(folder / SPEC)
        suite = parse({**asked["suite"], "name": folder.parent.name, "description": ""}, str(folder / SPEC))
        return cls(suite, asked["algorithm"], asked["seed"], replace(place, out=folder.parent.parent))

    def train(self) -> Any:
        """Trains in this process (one of `place.processes`); returns algorithms.train.TrainResult."""
        from algorithms.train import train

        settings = self.suite.training
        unit, amount = settings.budget.unit, settings.budget.amount
        with self.place.progress.stage(f"train {self.name}", amount, unit) as stage:
            spec = self.train_spec(lambda share, metrics: _advance(stage, round(share * amount)))
            return train(spec)

    def train_spec(self, progress: Any) -> Any:
        """What algorithms.train.train takes, with the seed of the cell: the same for all algorithms."""
        from algorithms.train import TrainSpec

        settings = self.suite.training
        problems = settings.dataset.load()
        verifier = verifiers.get(settings.dataset.make_task().verifier)

        def verify(indices: Sequence[int], texts: Sequence[str], finished: Sequence[bool]) -> list[bool | None]:
            verdicts, _ = judge(verifier, [problems[i] for i in indices], texts, finished, chains=False)
            return [None if verdict == "error" else verdict == "correct" for verdict in verdicts]

        return TrainSpec(
            algorithm=self._algorithm(),
            settings=settings,
            model=self.suite.base_path,
            revision=self.suite.base_revision,
            prompts=[render(self.suite.prompt_template, problem.prompt) for problem in problems],
            verify=verify,
            folder=self.folder / TRAIN,
            seed=derive("train", self.seed) % 2**32,
            progress=progress,
            processes=self.place.processes,
        )

    def _algorithm(self) -> Any:
        """The algorithm with its settings of the suite. One that it does not have: UsageError."""
        import algorithms
        from algorithms.config import surrogate

        settings = self.suite.training
        return algorithms.get(
            self.algorithm, surrogate=surrogate(settings), **settings.algorithms.get(self.algorithm, {})
        )

    # -------------------------------------------------------------------------------- settings

    def _settings(self) -> dict[str, Any]:
        """All settings, resolved: the suite's, the algorithm's own, and every field that TRL was given."""
        settings: dict[str, Any] = {"suite": self.suite.model_dump(mode="json")}
        if self.algorithm != BASE:
            from algorithms.config import describe

            settings["algorithm"] = describe(self._algorithm())
            settings["trl"] = read_trl_settings(self.folder / TRAIN)
        return settings


def evaluate_suite(
    suite: Suite, model: ModelRef, place: Place, folder: Path, seed: int, datasets: Sequence[str] = ()
) -> dict[str, DatasetResult]:
    """Every dataset of the suite (or the named ones) in `folder`/eval/<dataset>: the same stage for every model."""
    asked = suite.evaluation
    results = {}
    with open_pool(engine_of(suite, place), model.path, model.revision) as pool:
        for dataset in datasets or asked.datasets:
            source = asked.datasets[dataset]
            task = source.make_task()
            results[dataset] = evaluate_dataset(
                pool, source.load(), verifiers.get(task.verifier), dataset=dataset, task_version=task.VERSION,
                design=asked.design.make(), sampling=asked.sampling, prompt_template=suite.prompt_template,
                seed=seed, folder=folder / EVAL / dataset, progress=place.progress,
            )  # fmt: skip
    return results


def engine_of(suite: Suite, place: Place) -> Engine:
    """What evaluates here: the command's engine, or else the suite's, whose settings are for no other one."""
    asked = suite.engine
    name = resolve(place.engine if place.engine != AUTO else asked.name)
    settings = asked.settings if asked.name in (AUTO, name) else {}
    workers = place.workers or asked.workers
    return asked.model_copy(update={"name": name, "settings": settings, "workers": workers})


def gaps(base: Record, folder: Path, results: Mapping[str, DatasetResult], k: int) -> dict[str, Gap]:
    """The gap on each dataset, from the base's counts as its record, in `folder`, has them.

    Another version of task or verifier, or other problems, than the base's: Failure.
    """
    found = {}
    for name, result in results.items():
        base_evaluation, question = base.evaluations[name], result.question
        check_versions(base, folder, name, question.task_version, question.verifier_version)
        if base_evaluation.problems_hash != question.problems:
            raise Failure(f"the base was evaluated on other problems of '{name}': choose another OUT.")
        found[name] = sampling_efficiency_gap(read_evaluated(base_evaluation, folder), result.counts, k)
    return found


def check_versions(
    base: Record, folder: Path, dataset: str, task: int | str | None, verifier: int | str | None
) -> None:
    """Failure where the base, in `folder`, is of another version of the task or the verifier: never mixed."""
    there = base.evaluations[dataset].versions
    if there.task != task:
        raise Failure(
            f"the base was measured with version {there.task} of the task of '{dataset}', which is at {task} now: "
            "choose another OUT."
        )
    if there.verifier != verifier:
        raise Failure(
            f"the base was graded by version {there.verifier} of the verifier of '{dataset}', which is at {verifier} "
            f"now: first run rlvr-gap evaluate {folder} --regrade."
        )


def read_trl_settings(folder: Path) -> dict[str, Any]:
    """What training wrote beside its log: the GRPOConfig fields that it set."""
    return dict(loads_strict(read_text(folder / "trl_config.json")))


def _advance(stage: Stage, done: float) -> None:
    """Moves on to `done`; what a resumed run found done already says nothing about its rate."""
    (stage.advance if stage.done else stage.skip)(done - stage.done)


def training_record(result: Any) -> Training:
    """The record's view of algorithms.train.TrainResult."""
    cost = result.cost
    inside = {phase: cost.seconds.get(phase, 0.0) for phase in ("generate", "verify")}
    return Training(
        steps=cost.steps,
        updates=cost.updates,
        completions=cost.sampled.completions,
        tokens=cost.sampled.tokens,
        discarded=Spent(**vars(cost.discarded)),
        greedy=Spent(**vars(cost.greedy)),
        seconds={**inside, "train": max(0.0, cost.seconds["total"] - sum(inside.values()))},
        peak_memory_bytes=cost.peak_memory_bytes,
        diverged=False,
        stopped_by=result.stopped_by,
        metrics={
            name: float(value) if math.isfinite(value) else None
            for name, value in result.metrics.items()
            if isinstance(value, int | float)
        },
    )


def read_done(folder: Path, spec_hash: str | None = None) -> Record | None:
    """The record of a finished cell, None where there is none. Of another spec, or damaged: Failure."""
    path = folder / RECORD
    if not path.exists():
        return None
    record = read_record(path)
    if spec_hash is not None and record.spec_hash != spec_hash:
        raise Failure(f"{path} is of another spec than {folder / SPEC}: remove the folder, or choose another OUT.")
    return record


def _refuse_difference(path: Path, asked: dict[str, Any]) -> None:
    different = _differences(_read_spec(path), asked)
    if different:
        name, old, new = different[0]
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        raise Failure(
            f"{path.parent} holds a run with {name} = {old!r}, asked is {new!r}{more}: "
            "choose another OUT, or remove it."
        )


def _read_spec(path: Path) -> dict[str, Any]:
    """What spec.json asks for. Damaged: Failure."""
    try:
        return dict(loads_strict(read_text(path))["asked"])
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is damaged ({error}): expected a spec as written by this tool.") from error


def _differences(found: Any, asked: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted name, found, asked) of every leaf that differs."""
    if isinstance(found, dict) and isinstance(asked, dict):
        keys = [*asked, *(key for key in found if key not in asked)]
        return [
            row for key in keys for row in _differences(found.get(key), asked.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if found == asked else [(name, found, asked)]
