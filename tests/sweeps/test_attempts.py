"""The attempts of a trial: whatever ends one, the trial is neither lost nor run twice. No trial trains here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import Failure
from benchmarks.progress import Progress
from benchmarks.runs.lease import hold, holder_of
from benchmarks.runs.run_folder import Place
from benchmarks.suites import schema
from benchmarks.sweeps.launch import runs_done
from benchmarks.sweeps.plan import StudyPlan
from benchmarks.sweeps.storage import reachable
from benchmarks.sweeps.study_files import folder_number
from benchmarks.sweeps.summary import summarise
from benchmarks.sweeps.trials import Ended
from benchmarks.sweeps.worker import RUNNING, Worker, create_study
from tests.sweeps.tiny import suite

DONE = Ended(None, {"reason": "pruned at 25 % of the budget", "tokens": 7})


@pytest.fixture(params=["", "journal"])
def storage(request) -> str:
    return request.param


@pytest.fixture
def plan(tmp_path: Path) -> StudyPlan:
    loaded = schema.load(str(suite(tmp_path, trials=2)))
    return StudyPlan(loaded, "grpo", Place(tmp_path / "runs", workers=1, progress=Progress(quiet=True)))


@pytest.fixture
def work(plan: StudyPlan, storage: str) -> Callable[..., Worker]:
    """Runs all trials in a new worker, each of them by the next of `deeds`, and then by ending at once."""

    def work(*deeds: Callable[[Any], Ended]) -> Worker:
        worker, left = Worker(plan, create_study(plan, storage)), list(deeds)
        worker._run = lambda trial, number, changes: left.pop(0)(trial) if left else DONE  # type: ignore[method-assign]
        while worker._next_trial():
            pass
        return worker

    return work


def interrupted(trial: Any) -> Ended:
    raise KeyboardInterrupt


def failed(trial: Any) -> Ended:
    raise Failure("the disk is full.")


def attempts(worker: Worker) -> list[tuple[int, str, str]]:
    """(trial, state, reason) of each attempt."""
    found = worker.study.get_trials()
    return [(folder_number(one), one.state.name, one.user_attrs.get("reason", "")) for one in found]


PRUNED = ("PRUNED", DONE.said["reason"])


def test_runs_are_done_once_no_attempt_of_them_is_owed(work, plan, storage):
    with pytest.raises(KeyboardInterrupt):
        work(lambda trial: DONE, interrupted)
    assert runs_done(plan, create_study(plan, storage)) == 1, "the interrupted trial waits"
    assert runs_done(plan, work().study) == 2, "and no run with fresh seeds has been made"


def test_a_trial_is_held_until_its_end_is_stored(work, plan, monkeypatch):
    """If it were not, another worker could take it for one whose worker has died, and queue a finished trial again."""
    import optuna

    held, tell = [], optuna.study._optimize._tell_with_warning

    def spy(*arguments: Any, **options: Any) -> Any:
        held.append(holder_of(plan.folder / RUNNING / f"trial-{options['trial'].number:04d}") is not None)
        return tell(*arguments, **options)

    monkeypatch.setattr(optuna.study._optimize, "_tell_with_warning", spy)
    work()
    assert held == [True, True]


def test_an_interrupted_trial_waits_again_however_often_it_happens(work, plan, storage):
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            work(interrupted)
    assert summarise(plan.folder).count("waiting") == 2
    ended = work()
    # A waiting trial comes before the next attempt of one that was interrupted, so they take turns.
    cut = ("FAIL", "interrupted")
    assert attempts(ended) == [(0, *cut), (1, *cut), (0, *cut), (1, *PRUNED), (0, *PRUNED)]
    parameters = {folder_number(one): one.params for one in ended.study.get_trials()}
    assert all(one.params == parameters[folder_number(one)] for one in ended.study.get_trials())
    assert [trial.state for trial in summarise(plan.folder).trials] == ["pruned", "pruned"]


def test_a_trial_that_fails_is_run_again_once_and_then_counts_as_failed(work, plan):
    with pytest.raises(Failure, match=r"the disk is full\."):
        work(failed)
    assert summarise(plan.folder).count("waiting") == 2, "it is owed an attempt"
    with pytest.raises(Failure, match=r"the disk is full\."):
        work(lambda trial: DONE, failed)
    ended = work(failed)
    said = "failed: the disk is full."
    assert attempts(ended) == [(0, "FAIL", said), (1, *PRUNED), (0, "FAIL", said)]
    summary = summarise(plan.folder)
    assert (len(summary.trials), summary.count("failed"), summary.count("pruned")) == (2, 1, 1)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_trial_is_not_lost_if_a_worker_dies_between_failing_and_queueing_it(work, plan, storage):
    import optuna

    study = create_study(plan, storage)
    study.tell(study.ask().number, state=optuna.trial.TrialState.FAIL)
    ended = work()
    assert attempts(ended) == [(0, "FAIL", ""), (1, *PRUNED), (0, *PRUNED)]


def test_a_worker_whose_trial_was_given_up_goes_on_with_the_next(work):
    """As after a pause of the whole machine: the trial runs again, and the late end of the first attempt is nothing."""

    def given_up(trial: Any) -> Ended:
        import optuna

        trial.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return Ended(None, {})

    assert attempts(work(given_up)) == [(0, "FAIL", ""), (1, *PRUNED), (0, *PRUNED)]


def test_a_worker_that_is_interrupted_after_its_trial_was_given_up_ends(work):
    def given_up(trial: Any) -> Ended:
        import optuna

        trial.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(given_up)


def test_a_storage_that_goes_away_is_one_line_without_its_password():
    from sqlalchemy.exc import OperationalError

    url = "postgresql+psycopg://me:secret@db/none"
    said = r"^cannot reach postgresql\+psycopg://me:\*\*\*@db/none: "
    with pytest.raises(Failure, match=said) as error, reachable(url):
        raise OperationalError("SELECT 1", {}, Exception(f"lost {url}\nat once"))
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


def test_a_fresh_seed_that_another_worker_has_claimed_is_left_to_it(plan, monkeypatch):
    first, second = plan.default_cells()
    ran: list[str] = []
    monkeypatch.setattr("benchmarks.sweeps.worker.CellRun.run", lambda cell: ran.append(cell.folder.name))
    worker = Worker(plan, create_study(plan, ""))
    with hold(plan.folder / RUNNING / first.folder.name):  # claimed, and its own folder not held yet
        worker._share([first, second], wait=False)
    assert ran == [second.folder.name]
    assert holder_of(plan.folder / RUNNING / second.folder.name) is None, "its claim ended with it"
    worker._share([first], wait=True)
    assert ran == [second.folder.name, first.folder.name]
