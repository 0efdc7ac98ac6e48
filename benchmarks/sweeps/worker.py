"""One worker of a study. Any number of them, on any machines that share the disk, do its parts between them:

1. the default setting with fresh seeds, which measures the noise of a run;
2. the trials, each of them once: those that were drawn beforehand wait in Optuna's storage and are taken one by one;
3. the finalists with fresh seeds.

A worker that dies leaves a trial that runs in the storage, and whose lease nobody holds. Whoever asks next gives it up
and queues it again, once. It goes on in its folder from its checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UsageError
from benchmarks.files import write_json_atomic
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.lease import hold, holder_of
from benchmarks.statistics.gap import Gap
from benchmarks.statistics.selection import noise_sd, seeds_for
from benchmarks.sweeps.plan import VALIDATION, StudyPlan
from benchmarks.sweeps.space import changes_of, distributions
from benchmarks.sweeps.storage import import_optuna, open_storage, pruner_of, queue_again, sampler_of, shown
from benchmarks.sweeps.study_files import STUDY, folder_number
from benchmarks.sweeps.trials import Ended, Said, run_trial

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

TURN, RUNNING = "turn", "running"
"""Folders of leases: whose turn it is to take a trial, and who runs which."""
_POLL_S = 2.0
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
            write_json_atomic(plan.folder / STUDY, plan.study_json(shown(storage)))
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
                if holder_of(cell.folder) is None:
                    cell.run()
                    left.remove(cell)
            if not wait:
                return
            if left:
                time.sleep(_POLL_S)

    def finalists(self) -> list[CellRun]:
        """The best trials with fresh seeds, as many as the noise of the default asks for."""
        settings = self.plan.settings
        noise = noise_sd([self._scores(self.plan.default_cells())]) if self._scores(self.plan.default_cells()) else None
        seeds = settings.most_seeds
        if noise is not None and noise.df:
            seeds = seeds_for(noise.sd, settings.resolve, settings.most_seeds)
        cells = []
        for trial in best_trials(self.study, settings.finalists):
            changes = tuple(trial.user_attrs["changes"])
            cells += self.plan.finalist_cells(folder_number(trial), changes, min(seeds, settings.most_seeds))
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
            trials = self.study.get_trials(deepcopy=False)
            states = [trial.state.name for trial in trials]
            if "WAITING" in states:
                first = trials[states.index("WAITING")].number
                self.study.sampler = sampler_of(self.plan.settings, self.plan.objective == "pareto", first)
                self.study.optimize(lambda trial: self._objective(trial, turn), n_trials=1)
                return True
        if "RUNNING" not in states:
            return False
        with self.progress.stage(f"wait for {states.count('RUNNING')} trials of other workers", unit="s") as stage:
            time.sleep(_POLL_S)
            stage.advance(1)
        return True

    def _objective(self, trial: OptunaTrial, turn: contextlib.ExitStack) -> Any:
        """Optuna has marked the trial as running. From here on the trial's own lease says so, and others may ask."""
        optuna = import_optuna()
        number = trial.user_attrs.get("retry_of", trial.number)
        with hold(self.plan.folder / RUNNING / f"trial-{number:04d}"):
            self._say(trial, {"worker": self.name, "folder": f"trials/trial-{number:04d}"})
            changes = changes_of({path: _suggest(trial, path, one) for path, one in self._space.items()})
            self._say(trial, {"changes": list(changes), "seed": self.plan.settings.seed})
            turn.close()
            try:
                ended = self._run(trial, number, changes)
            except KeyboardInterrupt:
                self._queue_again(trial)
                raise
        self._say(trial, ended.said)
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

    def _queue_again(self, trial: OptunaTrial) -> None:
        """An interrupted trial waits again, however often that happens, as a new one with the same settings."""
        frozen = next(one for one in self.study.get_trials(deepcopy=True) if one.number == trial.number)
        trial.set_user_attr("reason", "interrupted")
        self.study.tell(trial.number, state=import_optuna().trial.TrialState.FAIL)
        self.study.add_trial(_waiting(frozen))

    def _give_up_dead(self) -> None:
        """Fails trials that run in the storage and that no living worker holds. Each is queued again, once."""
        optuna = import_optuna()
        optuna.storages.fail_stale_trials(self.study)
        for frozen in self.study.get_trials(deepcopy=True):
            if frozen.state.name == "RUNNING" and not self._is_held(frozen):
                self.study.tell(frozen.number, state=optuna.trial.TrialState.FAIL)
                queue_again(self.study, frozen)

    def _is_held(self, frozen: FrozenTrial) -> bool:
        return holder_of(self.plan.folder / RUNNING / f"trial-{folder_number(frozen):04d}") is not None


def _waiting(frozen: FrozenTrial) -> FrozenTrial:
    import optuna

    return optuna.create_trial(
        state=optuna.trial.TrialState.WAITING, params=frozen.params, distributions=frozen.distributions,
        user_attrs={**frozen.user_attrs, "retry_of": folder_number(frozen)}, system_attrs=frozen.system_attrs,
        intermediate_values=frozen.intermediate_values,
    )  # fmt: skip


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
