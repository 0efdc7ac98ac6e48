"""One worker of a study. Any number of them, on any machines that share the disk, do its parts between them:

1. the default setting with fresh seeds, which measures the noise of a run;
2. the trials, each of them once: those that were drawn beforehand wait in Optuna's storage and are taken one by one;
3. the finalists with fresh seeds.

A worker that dies leaves a trial that runs in the storage, and whose lease nobody holds. Whoever asks next gives it up
and queues it again, once, as it does with a trial that failed. A trial that was interrupted is queued again however
often that happens. In all three cases it goes on in its folder from its checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.errors import Failure, UsageError
from benchmarks.files import write_json_atomic
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.lease import hold, holder_of
from benchmarks.statistics.gap import Gap
from benchmarks.statistics.selection import noise_sd, seeds_for
from benchmarks.sweeps.plan import VALIDATION, StudyPlan
from benchmarks.sweeps.space import changes_of, distributions
from benchmarks.sweeps.storage import import_optuna, next_attempt, open_storage, pruner_of, sampler_of
from benchmarks.sweeps.study_files import INTERRUPTED, STUDY, folder_number, shown, waits_again
from benchmarks.sweeps.trials import Ended, Said, run_trial

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

TURN, RUNNING = "turn", "running"
"""Folders of leases: whose turn it is to take a trial or a fresh seed, and who runs which."""
_POLL_S = 2.0
_GIVEN_UP = "Cannot tell a FAIL trial."
"""What Optuna says to a worker that ends a trial which others have failed meanwhile."""
_DIRECTIONS = {"gap": ["minimize"], "pass_at_1": ["maximize"], "pareto": ["maximize", "maximize"]}


def create_study(plan: StudyPlan, storage: str, **options: Any) -> Study:
    """Opens the study, and creates it with all of its trials waiting if there is none. One process at a time."""
    optuna = import_optuna()
    plan.folder.mkdir(parents=True, exist_ok=True)
    with hold(plan.folder / TURN):
        study: Study = optuna.create_study(
            study_name=plan.name, storage=open_storage(storage, plan.folder, **options),
            pruner=pruner_of(plan.settings.pruning, plan.settings.rungs),
            directions=_DIRECTIONS[plan.objective], load_if_exists=True,
        )  # fmt: skip
        for _ in range(plan.n_trials - len(study.get_trials(deepcopy=False))):
            study.enqueue_trial({})
        if not (plan.folder / STUDY).exists():
            write_json_atomic(plan.folder / STUDY, plan.study_json(shown(storage) if "://" in storage else None))
    return study


class Worker:
    """Works on one study until it is complete."""

    def __init__(self, plan: StudyPlan, study: Study) -> None:
        self.plan, self.study = plan, study
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.progress = plan.place.progress

    def run(self) -> None:
        """Returns when the study is complete, whoever did the work."""
        self.plan.trial_cell(0, ()).base.run()
        self._share(self.plan.default_cells(), wait=False)
        while self._next_trial():
            pass
        self._share(self.plan.default_cells())
        self._share(self.finalists())

    # ------------------------------------------------------------------------------------------------ fresh seeds

    def _share(self, cells: Sequence[CellRun], wait: bool = True) -> None:
        """Runs the cells that nobody else runs. `wait`: returns only when all of them are done."""
        left = list(cells)
        while left:
            for cell in list(left):
                with contextlib.ExitStack() as claim:
                    if self._claim(cell, claim):
                        cell.run()
                        left.remove(cell)
            if not wait:
                return
            if left:
                time.sleep(_POLL_S)

    def _claim(self, cell: CellRun, claim: contextlib.ExitStack) -> bool:
        """Claims the cell, if nobody else has. One worker at a time: two that chose the same cell would both wait."""
        lease = self.plan.folder / RUNNING / cell.folder.name
        with hold(self.plan.folder / TURN):
            if holder_of(lease) is not None or holder_of(cell.folder) is not None:
                return False
            claim.enter_context(hold(lease))
        return True

    def finalists(self) -> list[CellRun]:
        """The best trials with fresh seeds, as many as the noise of the default asks for."""
        settings = self.plan.settings
        scores, seeds = self._scores(self.plan.default_cells()), settings.most_seeds
        if len(scores) > 1:
            seeds = seeds_for(noise_sd([scores]).sd, settings.resolve, settings.most_seeds)
        cells = []
        for trial in best_trials(self.study, settings.finalists):
            changes = tuple(trial.user_attrs["changes"])
            cells += self.plan.finalist_cells(folder_number(trial), changes, seeds)
        return cells

    def _scores(self, cells: Sequence[CellRun]) -> list[float]:
        """pass@1 of those that did not diverge; all of them are done."""
        records = [cell.run() for cell in cells]
        return [record.gap[VALIDATION].trained_pass_at_1 for record in records if record.gap and not record.diverged]

    # ------------------------------------------------------------------------------------------------ trials

    def _next_trial(self) -> bool:
        """Takes one trial and runs it, or waits for others. False: all trials have ended."""
        turn = contextlib.ExitStack()
        turn.enter_context(hold(self.plan.folder / TURN))
        with turn:
            self._give_up_dead()
            self._queue_failed()
            trials = self.study.get_trials(deepcopy=False)
            states = [trial.state.name for trial in trials]
            first = trials[states.index("WAITING")] if "WAITING" in states else None
            if first is not None and not self._is_held(first):
                self._take(first, turn)
                return True
        if not {"RUNNING", "WAITING"} & set(states):
            return False
        with self.progress.stage(f"wait for {states.count('RUNNING')} trials of other workers", unit="s") as stage:
            time.sleep(_POLL_S)
            stage.advance(1)
        return True

    def _take(self, first: FrozenTrial, turn: contextlib.ExitStack) -> None:
        """Runs the first waiting trial. Its lease is held until Optuna knows how it ended: before, it would count as
        one whose worker died.
        """
        stopped: list[KeyboardInterrupt] = []
        with hold(self._lease_of(first)):
            self.study.sampler = sampler_of(self.plan.settings, self.plan.objective == "pareto", first.number)
            try:
                self.study.optimize(lambda trial: self._objective(trial, turn, stopped), n_trials=1)
            except ValueError as error:
                if str(error) != _GIVEN_UP:
                    raise
                if stopped:
                    raise stopped[0] from None
                self.progress.say(f"trial {first.number} was given up while this worker did not answer.")

    def _objective(self, trial: OptunaTrial, turn: contextlib.ExitStack, stopped: list[KeyboardInterrupt]) -> Any:
        """Optuna has marked the trial as running. Once its settings are drawn, others may ask for theirs."""
        optuna = import_optuna()
        number = trial.user_attrs.get("retry_of", trial.number)
        try:
            self._say(trial, {"worker": self.name, "folder": f"trials/trial-{number:04d}"})
            changes = changes_of({path: _suggest(trial, path, one) for path, one in self._space.items()})
            self._say(trial, {"changes": list(changes), "seed": self.plan.settings.seed})
            turn.close()
            ended = self._run(trial, number, changes)
            self._say(trial, ended.said)
        except KeyboardInterrupt as error:
            stopped.append(error)
            self._say(trial, {"reason": INTERRUPTED})
            raise
        except (Failure, UsageError) as error:
            self._say(trial, {"reason": f"failed: {error}"})
            raise
        if ended.gap is None:
            raise optuna.TrialPruned(ended.said["reason"])
        return self._values(ended.gap)

    @property
    def _space(self) -> dict[str, Any]:
        return distributions(self.plan.axes)

    def _run(self, trial: OptunaTrial, number: int, changes: tuple[str, ...]) -> Ended:
        def goes_on(percent: int, gap: Gap) -> bool:
            trial.report(self._values(gap)[0], percent)
            return not trial.should_prune()

        try:
            cell = self.plan.trial_cell(number, changes)
        except UsageError as error:  # each value is valid by itself, and not beside the others
            return Ended(None, {"reason": f"refused: {error}"})
        return run_trial(self.plan, cell, goes_on, lambda said: self._say(trial, said))

    def _values(self, gap: Gap) -> list[float]:
        values = {"gap": [gap.gap], "pass_at_1": [gap.trained_pass_at_1]}
        return values.get(self.plan.objective, [gap.trained_pass_at_1, gap.trained_pass_at_k])

    @staticmethod
    def _say(trial: OptunaTrial, said: Said) -> None:
        for name, value in said.items():
            if trial.user_attrs.get(name) != value:
                trial.set_user_attr(name, value)

    def _give_up_dead(self) -> None:
        """Fails trials that run in the storage and that no living worker holds."""
        optuna = import_optuna()
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state.name == "RUNNING" and not self._is_held(frozen):
                self.study._storage.set_trial_user_attr(frozen._trial_id, "reason", "its worker died")
                self.study.tell(frozen.number, state=optuna.trial.TrialState.FAIL)
        optuna.storages.fail_stale_trials(self.study)

    def _queue_failed(self) -> None:
        """Queues each trial again whose last attempt failed and is owed another one.

        That follows from the storage alone, so a worker may die at any point: whoever asks next does it.
        """
        attempts = {folder_number(frozen): frozen for frozen in self.study.get_trials(deepcopy=True)}
        for frozen in attempts.values():
            if waits_again(frozen):
                self.study.add_trial(next_attempt(frozen))

    def _lease_of(self, frozen: FrozenTrial) -> Path:
        return self.plan.folder / RUNNING / f"trial-{folder_number(frozen):04d}"

    def _is_held(self, frozen: FrozenTrial) -> bool:
        return holder_of(self._lease_of(frozen)) is not None


def _suggest(trial: OptunaTrial, path: str, distribution: Any) -> Any:
    if hasattr(distribution, "choices"):
        return trial.suggest_categorical(path, distribution.choices)
    return trial.suggest_float(path, distribution.low, distribution.high, log=distribution.log)


def best_trials(study: Study, most: int) -> list[FrozenTrial]:
    """The best complete trials, best first; of two objectives, those of the front with the best pass@1."""
    complete = [one for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    if len(study.directions) > 1:
        complete = study.best_trials
    sign = 1.0 if study.directions[0].name == "MINIMIZE" else -1.0
    return sorted(complete, key=lambda one: (sign * one.values[0], one.number))[:most]
