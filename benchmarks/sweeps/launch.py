"""Starts the workers of studies, on this machine or as jobs of a cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import launchers
from benchmarks.errors import Failure
from benchmarks.launchers.base import Options, Task
from benchmarks.launchers.resources import Resources
from benchmarks.sweeps.plan import StudyPlan
from benchmarks.sweeps.storage import reachable
from benchmarks.sweeps.study_files import folder_number, shown, waits_again
from benchmarks.sweeps.worker import create_study

if TYPE_CHECKING:
    from optuna.study import Study

    from benchmarks.progress import Stage

LOGS, JOBS = "logs", ".jobs"
_SHOW_EVERY_S = 5.0
"""How often the storage is asked how far the studies are."""


@dataclass(frozen=True)
class SweepRun:
    """Studies that are about to be worked on, one after another, by the same workers."""

    plans: Sequence[StudyPlan]
    storage: str
    options: Sequence[str]
    """What each worker's command gets beside the algorithms."""
    launcher: str = "local"
    jobs: int | None = None
    """Workers; None: one for each accelerator or core, on a cluster as many jobs as may run at the same time."""
    resources: Resources = field(default_factory=Resources)
    say: Callable[[str], None] = print

    @property
    def waits(self) -> bool:
        """Whether `run` returns only when the studies are complete."""
        return launchers.get(self.launcher).waits

    @property
    def workers(self) -> int:
        """How many are started: no more than one study has trials."""
        from benchmarks.launchers.local import default_jobs, visible_cores, visible_gpus

        here = default_jobs(len(visible_cores()), len(visible_gpus()), 1)
        wanted = self.jobs or (here if self.waits else self.resources.array_limit)
        return max(1, min(wanted, max(plan.n_trials for plan in self.plans)))

    def run(self) -> dict[str, str]:
        """Creates the studies, and runs or submits the workers. Returns why some failed, by name."""
        studies = [create_study(plan, self.storage) for plan in self.plans]
        folder = self.plans[0].folder.parent
        options = Options(self.workers, 0, self.resources, folder / JOBS)
        with self.plans[0].place.progress.stage("sweep", sum(map(_most_runs, self.plans)), "runs") as stage:
            watch = _Watch(self, studies, stage)
            launchers.get(self.launcher).run(self.tasks(), options, watch)
            if self.waits and not watch.failed:
                watch.finish()
        return watch.failed

    def tasks(self) -> list[Task]:
        """The workers' commands."""
        names = ",".join(plan.algorithm for plan in self.plans)
        folder = self.plans[0].folder.parent / LOGS
        command = ("sweep-worker", "--algos", names, *self.options)
        return [Task(f"worker-{i}", command, folder / f"worker-{i}.log") for i in range(1, self.workers + 1)]

    def describe(self) -> list[str]:
        """What would be started or submitted, and what it may cost at most."""
        lines = []
        for plan in self.plans:
            settings = plan.settings
            fresh = _most_runs(plan) - plan.n_trials
            most = settings.tokens * _most_runs(plan)
            lines.append(
                f"{plan.name}: {plan.n_trials} trials and up to {fresh} runs with fresh seeds, of {settings.tokens:,} "
                f"tokens each: at most {most:,} tokens of training; searches {', '.join(plan.axes)}."
            )
        where = "a file in the study's folder" if not self.storage else shown(self.storage)
        lines.append(f"{self.workers} workers ({self.launcher}), storage: {where}.")
        if self.launcher == "slurm":
            from benchmarks.launchers.slurm import parameters

            lines.append("sbatch: " + ", ".join(f"{k}={v}" for k, v in parameters(self.resources).items()))
        return lines


def _most_runs(plan: StudyPlan) -> int:
    """Trials and runs with fresh seeds; there are fewer if the noise is small."""
    settings = plan.settings
    return plan.n_trials + settings.repeats + settings.finalists * settings.most_seeds


def runs_done(plan: StudyPlan, study: Study) -> int:
    """How many trials have ended, and how many runs with fresh seeds."""
    last = {folder_number(one): one for one in study.get_trials(deepcopy=False)}
    ended = [one for one in last.values() if one.state.is_finished() and not waits_again(one)]
    return len(ended) + len(list(plan.folder.glob("repeats/*/record.json")))


class _Watch:
    """Says what happens to the workers, and shows how far the studies are."""

    def __init__(self, run: SweepRun, studies: Sequence[Study], stage: Stage) -> None:
        self.say, self.failed = run.say, dict[str, str]()
        self._run, self._studies, self._stage = run, studies, stage
        self._next, self._first = 0.0, True

    def is_busy(self, task: Task) -> bool:
        return False

    def started(self, task: Task) -> None:
        self.say(f"{task.name}: started, log {task.log}")

    def queued(self, task: Task, job: str) -> None:
        if job:
            self.say(f"{task.name}: job {job}")

    def ended(self, task: Task, reason: str | None) -> None:
        self.say(f"{task.name}: {'ended' if reason is None else f'failed, {reason}'}")
        if reason is not None:
            self.failed[task.name] = reason

    def tick(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SHOW_EVERY_S
            self._show()

    def finish(self) -> None:
        """All that was to be done is done."""
        self._show()
        self._stage.update(total=self._stage.done)

    def _show(self) -> None:
        with contextlib.suppress(Failure), reachable(self._run.storage):  # the workers go on all the same
            done = sum(runs_done(*one) for one in zip(self._run.plans, self._studies, strict=True))
            (self._stage.skip if self._first else self._stage.advance)(done - self._stage.done)
            self._first = False

    def stopping(self, tasks: int) -> None:
        if tasks:
            self.say(f"{tasks} workers save what they have and end, in a minute at most; Ctrl-C again kills them.")
