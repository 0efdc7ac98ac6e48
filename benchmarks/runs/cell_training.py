"""The training of one cell: the problems and the verifier of the suite are given to `algorithms.train`."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure
from benchmarks.evaluation.grading import judge
from benchmarks.files import loads_strict, read_text
from benchmarks.progress import Stage
from benchmarks.records.schema import SpentRecord, TrainingRecord
from benchmarks.runs.run_folder import TRAIN, Place
from benchmarks.seeds import derive
from benchmarks.suites.schema import Suite
from benchmarks.tasks.prompts import render


@dataclass(frozen=True)
class CellTraining:
    """One algorithm with one seed, trained as the suite says into `folder`/train."""

    suite: Suite
    algorithm: str
    """A name in ALGORITHMS."""
    seed: int
    folder: Path
    """The cell's folder."""
    place: Place

    def check(self) -> None:
        """UsageError for settings that are unknown or cannot work together; no model is loaded."""
        from algorithms.config import check_machine, config_fields

        settings, processes = self.suite.training, self.place.processes
        check_machine(settings, processes)
        settings.dataset.load()
        config_fields(self.make_algorithm(), settings, folder="", seed=0, processes=processes, accelerator=False)

    def run(self) -> Any:
        """Trains in as many processes as asked for; returns algorithms.train.TrainResult."""
        if self.place.processes > 1:
            world = ["--standalone", "--nproc_per_node", str(self.place.processes)]
            command = [sys.executable, "-m", "torch.distributed.run", *world, "-m", "benchmarks", "train-cell"]
            done = subprocess.run([*command, str(self.folder)], check=False)
            if done.returncode:
                raise Failure(f"training in {self.place.processes} processes ended with exit code {done.returncode}.")
        return self.train()

    def train(self) -> Any:
        """Trains in this process (one of `place.processes`); returns algorithms.train.TrainResult."""
        from algorithms.train import train

        budget = self.suite.training.budget
        with self.place.progress.stage(f"train {self.folder.name}", budget.amount, budget.unit) as stage:
            return train(self.spec(lambda share, metrics: _advance(stage, round(share * budget.amount))))

    def spec(self, progress: Any) -> Any:
        """What algorithms.train.train takes, with the seed of the cell: the same for all algorithms."""
        from algorithms.train import TrainSpec

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

    def make_algorithm(self) -> Any:
        """The algorithm with its settings of the suite. One that it does not have: UsageError."""
        import algorithms
        from algorithms.config import surrogate

        settings = self.suite.training
        return algorithms.get(
            self.algorithm, surrogate=surrogate(settings), **settings.algorithms.get(self.algorithm, {})
        )

    def settings(self) -> dict[str, Any]:
        """For the record: the algorithm's own settings, and every field that TRL was given."""
        from algorithms.config import describe

        return {"algorithm": describe(self.make_algorithm()), "trl": read_trl_settings(self.folder / TRAIN)}


def read_trl_settings(folder: Path) -> dict[str, Any]:
    """What training wrote beside its log: the GRPOConfig fields that it set."""
    return dict(loads_strict(read_text(folder / "trl_config.json")))


def _advance(stage: Stage, done: float) -> None:
    """Moves on to `done`; what a resumed run found done already says nothing about its rate."""
    (stage.advance if stage.done else stage.skip)(done - stage.done)


def training_record(result: Any) -> TrainingRecord:
    """The record's view of algorithms.train.TrainResult."""
    cost = result.cost
    inside = {phase: cost.seconds.get(phase, 0.0) for phase in ("generate", "verify")}
    return TrainingRecord(
        steps=cost.steps,
        updates=cost.updates,
        completions=cost.sampled.completions,
        tokens=cost.sampled.tokens,
        discarded=SpentRecord(**vars(cost.discarded)),
        greedy=SpentRecord(**vars(cost.greedy)),
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
