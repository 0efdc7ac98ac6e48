"""Trains one cell: passes the problems and the verifier of the suite to `algorithms.train`."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms import pause
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation.grading import judge
from benchmarks.files import loads_strict, read_text
from benchmarks.launchers.base import PROGRAM_FILE
from benchmarks.outside import Found
from benchmarks.progress import Stage
from benchmarks.records.schema import SpentRecord, TrainingRecord
from benchmarks.records.training_log import headline
from benchmarks.runs.divergence import Outcome
from benchmarks.runs.lease import end_with_parent
from benchmarks.runs.run_folder import TRAIN, Place
from benchmarks.runs.trackers import PROJECT, following
from benchmarks.seeds import derive
from benchmarks.suites.schema import Suite
from benchmarks.tasks.prompts import render


@dataclass(frozen=True)
class CellTraining:
    """One algorithm with one seed, trained into `folder`/train as the suite says."""

    suite: Suite
    algorithm: Found
    """The algorithm's class, and where it comes from."""
    seed: int
    folder: Path
    """The cell's folder."""
    place: Place

    @property
    def train_folder(self) -> Path:
        """Holds the training's log and checkpoints."""
        return self.folder / TRAIN

    def check(self) -> None:
        """Raises UsageError for settings that are unknown or cannot work together. It loads no model."""
        from algorithms.config import check_machine, config_fields

        settings, processes = self.suite.training, self.place.processes
        check_machine(settings, processes)
        settings.dataset.load()
        config_fields(self.make_algorithm(), settings, folder="", seed=0, processes=processes, accelerator=False)

    def check_points(self) -> None:
        """Raises UsageError for a checkpoint to evaluate that the training never reaches."""
        budget, steps = self.suite.training.budget, self.suite.evaluation.checkpoints
        if steps and budget.unit == "steps" and steps[-1] > budget.amount:
            raise UsageError(
                f"evaluation.checkpoints has step {steps[-1]}, but training.budget ends after step {budget.amount}."
            )

    def checkpoint(self, step: int) -> Path:
        """The checkpoint after that step. Raises Failure if the training has not kept it."""
        path = self.train_folder / f"checkpoint-{step * self.suite.training.updates_per_step}"
        if not path.is_dir():
            raise Failure(f"{path} is not there to be evaluated (evaluation.checkpoints has step {step}).")
        return path

    def run(self) -> Any:
        """Trains in the requested number of processes and returns an algorithms.train.TrainResult."""
        from algorithms.checkpoints import set_damaged_aside

        set_damaged_aside(self.train_folder)
        with pause.training_in(self.train_folder):
            return self._run()

    def _run(self) -> Any:
        if self.place.processes > 1:
            world = ["--standalone", "--nproc_per_node", str(self.place.processes)]
            command = [sys.executable, "-m", "torch.distributed.run", *world, PROGRAM_FILE, "train-cell"]
            command += [str(self.folder), "--report-to", ",".join(self.place.report_to)]
            done = subprocess.run(command, check=False, preexec_fn=end_with_parent)
            if done.returncode and pause.was_asked(self.train_folder):
                raise KeyboardInterrupt
            if done.returncode:
                raise Failure(f"training in {self.place.processes} processes ended with exit code {done.returncode}.")
        return self.train()

    def train(self) -> Any:
        """Trains in this process (one of `place.processes`) and returns an algorithms.train.TrainResult."""
        from algorithms.train import train

        budget = self.suite.training.budget
        with (
            following(self.place.report_to, self.train_folder),
            self.place.progress.stage(f"train {self.folder.name}", budget.amount, budget.unit) as stage,
        ):
            return train(self.spec(lambda share, metrics: _advance(stage, round(share * budget.amount), metrics)))

    def spec(self, progress: Any) -> Any:
        """Returns the cell's `TrainSpec`, which differs between algorithms in nothing but the algorithm."""
        from algorithms.train import Reports, TrainSpec

        settings = self.suite.training
        problems = settings.dataset.load()
        verifier, with_chains = settings.dataset.make_verifier(), settings.reward == "sound"

        def verify(indices: Sequence[int], texts: Sequence[str], finished: Sequence[bool]) -> list[bool | None]:
            asked = [problems[i] for i in indices]
            verdicts, sound = judge(verifier, asked, texts, finished, chains=with_chains)
            return [
                None if verdict == "error" else verdict == "correct" and (chain is True or not with_chains)
                for verdict, chain in zip(verdicts, sound, strict=True)
            ]

        return TrainSpec(
            algorithm=self.make_algorithm(),
            settings=settings.model_copy(
                update={"keep_steps": (*settings.keep_steps, *self.suite.evaluation.checkpoints)}
            ),
            model=self.suite.base_path,
            revision=self.suite.base_revision,
            prompts=[render(self.suite.prompt_template, problem.prompt) for problem in problems],
            verify=verify,
            folder=self.train_folder,
            seed=derive("train", self.seed) % 2**32,
            progress=progress,
            processes=self.place.processes,
            reports=Reports(self.place.report_to, f"{self.folder.parent.name}/{self.folder.name}", PROJECT),
        )

    def make_algorithm(self) -> Any:
        """Returns the algorithm with its settings from the suite. Raises UsageError if it lacks one of them."""
        import algorithms
        from algorithms.config import surrogate

        settings = self.suite.training
        own = settings.algorithms.get(self.algorithm.name, {})
        return algorithms.make(self.algorithm, surrogate=surrogate(settings), **own)

    def settings(self) -> dict[str, Any]:
        """Returns the settings for the record: the algorithm's own, and every field that TRL was given."""
        from algorithms.config import describe, source_of

        described = {**describe(self.make_algorithm()), "source": source_of(self.algorithm)}
        return {"algorithm": described, "trl": read_trl_settings(self.train_folder)}


def read_trl_settings(folder: Path) -> dict[str, Any]:
    """Returns the GRPOConfig fields that training set, from the file beside its log."""
    return dict(loads_strict(read_text(folder / "trl_config.json")))


def _advance(stage: Stage, done: float, metrics: Mapping[str, float]) -> None:
    """Advances the stage to `done`. Work that a resumed run found finished says nothing about its rate."""
    stage.note = headline(metrics)
    (stage.advance if stage.done else stage.skip)(done - stage.done)


def training_record(result: Any) -> TrainingRecord:
    """Converts an algorithms.train.TrainResult for the record."""
    metrics = {
        name: float(value) if math.isfinite(value) else None
        for name, value in result.metrics.items()
        if isinstance(value, int | float)
    }
    return _record(result.cost, result.stopped_by, metrics=metrics)


def diverged_record(outcome: Outcome) -> TrainingRecord:
    """What a training that diverged had cost."""
    from algorithms.cost import Cost

    return _record(Cost.from_json(outcome.cost), "diverged", diverged=True, diverged_because=outcome.reason)


def _record(cost: Any, stopped_by: str, **more: Any) -> TrainingRecord:
    inside = {phase: cost.seconds.get(phase, 0.0) for phase in ("generate", "verify")}
    return TrainingRecord(
        steps=cost.steps,
        updates=cost.updates,
        completions=cost.sampled.completions,
        tokens=cost.sampled.tokens,
        discarded=SpentRecord(**vars(cost.discarded)),
        greedy=SpentRecord(**vars(cost.greedy)),
        seconds={**inside, "train": max(0.0, cost.seconds.get("total", 0.0) - sum(inside.values()))},
        peak_memory_bytes=cost.peak_memory_bytes,
        stopped_by=stopped_by,
        **{"diverged": False, **more},
    )
