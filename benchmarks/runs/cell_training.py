"""Trains one cell: passes the problems and the verifier of the suite to `algorithms.train`."""

from __future__ import annotations

import functools
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algorithms import pause
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation.grading import judge
from benchmarks.files import loads_strict, read_text
from benchmarks.outside import Found
from benchmarks.progress import Stage
from benchmarks.records.provenance import cores
from benchmarks.records.schema import LoadRecord, SpentRecord, TrainingRecord
from benchmarks.records.training_log import headline
from benchmarks.runs.divergence import Outcome
from benchmarks.runs.lease import end_with_parent
from benchmarks.runs.run_folder import TRAIN, Place
from benchmarks.runs.trackers import PROJECT, following
from benchmarks.runs.training_code import keep_code
from benchmarks.seeds import derive
from benchmarks.suites.schema import Suite
from benchmarks.tasks import Problem
from benchmarks.tasks.prompts import as_plain_text, render_all


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
        """Raises UsageError for settings that are unknown or cannot work together, or a prompt that cannot be made.

        It loads no model.
        """
        from algorithms.config import check_machine, config_fields

        settings, world = self.suite.trained, self.place.world
        check_machine(settings, self.place.processes)
        self.prompts(settings.dataset.load()[:1])
        config_fields(self.make_algorithm(), settings, folder="", seed=0, processes=world, accelerator=False)

    def check_points(self) -> None:
        """Raises UsageError for a checkpoint to evaluate that the training never reaches."""
        budget, steps = self.suite.trained.budget, self.suite.evaluation.checkpoints
        if steps and budget.unit == "steps" and steps[-1] > budget.amount:
            raise UsageError(
                f"evaluation.checkpoints has step {steps[-1]}, but training.budget ends after step {budget.amount}."
            )

    def checkpoint(self, step: int) -> Path:
        """The checkpoint after that step. Raises Failure if the training has not kept it, or it is damaged."""
        from algorithms.checkpoints import STATE_FILE, is_damaged, update_of

        updates = self.suite.trained.updates_per_step
        path = self.train_folder / f"checkpoint-{step * updates}"
        if not (path / STATE_FILE).exists():
            whole = sorted(update_of(file.parent) for file in self.train_folder.glob(f"checkpoint-*/{STATE_FILE}"))
            kept = ", ".join(str(update // updates) for update in whole) or "none"
            raise Failure(
                f"{path} is not there to be evaluated: evaluation.checkpoints has step {step}, but the steps whose "
                f"checkpoints were kept are: {kept}. Name one of these, or train again with --fresh."
            )
        if is_damaged(path):
            raise Failure(f"{path} is damaged: name another step in evaluation.checkpoints, or train with --fresh.")
        return path

    @staticmethod
    def cost_by(checkpoint: Path) -> Any:
        """The `Cost` of training up to the checkpoint."""
        from algorithms.checkpoints import read_state

        return read_state(checkpoint)["cost"]

    def run(self, until: float = 1.0) -> Any:
        """Trains in the requested number of processes and returns an algorithms.train.TrainResult.

        `until`: the share of the budget at which it pauses; it returns None then.
        """
        from algorithms.checkpoints import last_checkpoint, set_damaged_aside
        from algorithms.train import RESULT_FILE

        set_damaged_aside(self.train_folder)
        if not (self.train_folder / RESULT_FILE).exists():
            keep_code(self.train_folder, is_begun=last_checkpoint(self.train_folder) is not None)
        with pause.training_in(self.train_folder):
            self._start(until)
            return self.train(until)

    def so_far(self, result: Any) -> tuple[Path, Any]:
        """The policy and the `Cost` of a training that has paused (`result` is None), or is over."""
        from algorithms.checkpoints import last_checkpoint

        if result is not None:
            return result.policy, result.cost
        checkpoint = last_checkpoint(self.train_folder)
        assert checkpoint is not None, "it has paused with a checkpoint"
        return checkpoint, self.cost_by(checkpoint)

    def join(self) -> None:
        """Takes part as one of the machines that are not the first. It waits for this machine's processes."""
        with pause.training_in(self.train_folder, first=False):
            self._start()

    def _start(self, until: float = 1.0) -> None:
        """Trains in processes of their own if several, or a launcher, were asked for. It waits for this machine's.

        A training that is over is not started again.
        """
        machines, world = self.place.machines, self.place.world
        if (world == 1 and not machines.launcher) or (self.train_folder / "result.json").exists():
            return
        report_to = ["--report-to", ",".join(self.place.report_to)] if self.place.report_to else []
        more = [*report_to, *(["--until", str(until)] if until < 1 else [])]
        command = machines.command(self.place.processes, ["train-cell", str(self.folder), *more])
        done = subprocess.run(command, check=False, preexec_fn=end_with_parent)
        if done.returncode and pause.was_asked(self.train_folder):
            raise KeyboardInterrupt
        if done.returncode:
            why = "; the first machine says why" if machines.index > 0 else ""
            raise Failure(f"training in {world} processes ended with exit code {done.returncode}{why}.")

    def train(self, until: float = 1.0) -> Any:
        """Trains in this process (one of `place.world`) and returns an algorithms.train.TrainResult; see `run`."""
        from algorithms.train import train

        budget = self.suite.trained.budget
        with (
            following(self.place.report_to, self.train_folder),
            self.place.progress.stage(f"train {self.folder.name}", budget.amount, budget.unit) as stage,
        ):
            return train(
                self.spec(lambda share, metrics: _advance(stage, round(share * budget.amount), metrics), until)
            )

    def spec(self, progress: Any, until: float = 1.0) -> Any:
        """Returns the cell's `TrainSpec`, which differs between algorithms in nothing but the algorithm."""
        from algorithms.train import Reports, TrainSpec

        settings = self.suite.trained
        problems = settings.dataset.load()
        verifier, with_chains = settings.dataset.make_verifier(self.suite.verification), settings.reward == "sound"

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
                update={
                    "keep_steps": (*settings.keep_steps, *self.suite.evaluation.checkpoints),
                    "sampling": settings.sampling.model_copy(update={"stops": self.suite.template.stops}),
                }
            ),
            model=self.suite.base_path,
            revision=self.suite.base_revision,
            prompts=self.prompts(problems),
            verify=verify,
            folder=self.train_folder,
            seed=derive("train", self.seed) % 2**32,
            progress=progress,
            processes=self.place.world,
            reports=Reports(self.place.report_to, f"{self.folder.parent.name}/{self.folder.name}", PROJECT),
            until=until,
        )

    def prompts(self, problems: Sequence[Problem]) -> list[str]:
        """Returns the problems' prompts as texts whose tokens are those of the evaluation."""
        from benchmarks.engines.loading import load_tokenizer

        tokenizer = functools.cache(lambda: load_tokenizer(self.suite.base_path, self.suite.base_revision))
        rendered = render_all(self.suite.template, problems, tokenizer)
        return [as_plain_text(tokenizer(), text) if rendered.chat else text for text in rendered.texts]

    def make_algorithm(self) -> Any:
        """Returns the algorithm with its settings from the suite. Raises UsageError if it lacks one of them."""
        import algorithms
        from algorithms.config import surrogate

        settings = self.suite.trained
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
    inside = {phase: cost.seconds[phase] for phase in ("generate", "verify", "critic") if phase in cost.seconds}
    rest = max(0.0, cost.seconds.get("total", 0.0) - sum(inside.values()))
    return TrainingRecord(
        steps=cost.steps,
        updates=cost.updates,
        completions=cost.sampled.completions,
        tokens=cost.sampled.tokens,
        discarded=SpentRecord(**vars(cost.discarded)),
        greedy=SpentRecord(**vars(cost.greedy)),
        token_passes={"sampling": cost.used("tokens"), **cost.token_passes},
        seconds={**inside, "train": rest, "optimizer": cost.seconds.get("optimizer", 0.0)},
        load=_load(cost.load),
        peak_memory_bytes=cost.peak_memory_bytes,
        stopped_by=stopped_by,
        **{"diverged": False, **more},
    )


def _load(found: Any) -> LoadRecord:
    """Converts an algorithms.cost.Load for the record."""
    others = max(0.0, found.other_cpu_seconds) / found.wall_seconds if found.wall_seconds > 0 else 0.0
    return LoadRecord(
        wall_seconds=found.wall_seconds,
        load_average=found.load_average,
        other_cores=others,
        alone=others < max(0.1, 0.02 * cores()),
    )
