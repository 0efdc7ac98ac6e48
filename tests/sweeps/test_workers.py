"""Several workers on one study, one of them killed in the middle of a trial: no trial is lost, and none runs twice."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.records.schema import read_record
from benchmarks.sweeps.storage import open_storage
from benchmarks.sweeps.study_files import folder_number, read_asked
from benchmarks.sweeps.summary import summarise
from tests.sweeps import postgres
from tests.sweeps.tiny import SWEEP, Workers

pytestmark = [pytest.mark.slow, pytest.mark.sweeps]


@pytest.fixture
def database() -> Iterator[str]:
    if postgres.program("initdb") is None:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    with postgres.running() as url:
        yield url


def check(workers: Workers, killed: str) -> None:
    """What a study is when it is complete."""
    import optuna

    study = optuna.load_study(
        study_name=read_asked(workers.home).study, storage=open_storage(workers.storage, workers.home)
    )
    attempts = study.get_trials(deepcopy=False)
    by_folder = Counter(folder_number(one) for one in attempts)
    assert sorted(by_folder) == list(range(SWEEP["trials"])), "as many trials as were asked for"
    number = int(killed.removeprefix("trial-"))
    assert by_folder == Counter({**dict.fromkeys(range(SWEEP["trials"]), 1), number: 2}), "the killed one twice"
    first, second = (one for one in attempts if folder_number(one) == number)
    assert (first.state.name, second.user_attrs["retry_of"]) == ("FAIL", number)
    assert first.params == second.params and first.user_attrs["folder"] == second.user_attrs["folder"]
    ended = [one for one in attempts if one is not first]
    assert {one.state.name for one in ended} <= {"COMPLETE", "PRUNED"}
    for one in ended:
        record = workers.home / one.user_attrs["folder"] / "record.json"
        assert record.exists() == (one.state.name == "COMPLETE")
    summary = summarise(workers.home, workers.storage if "://" in workers.storage else "")
    assert (len(summary.trials), summary.count("failed")) == (SWEEP["trials"], 0)
    assert summary.default is not None and len(summary.default.repeats) == SWEEP["repeats"]
    assert len(summary.finalists) == 1 and summary.selected is not None
    repeats = [read_record(path) for path in (workers.home / "repeats").glob("*/record.json")]
    assert len(repeats) == SWEEP["repeats"] + len(summary.finalists[0].repeats)


def survive(workers: Workers) -> None:
    """Three workers, of which one is killed while it trains, and one that comes when all is done."""
    try:
        workers.start(3)
        killed = workers.kill_one_that_trains()
        codes = workers.end()
        assert sorted(codes) == [-signal.SIGKILL, 0, 0], workers.said()
        before = {path: path.stat().st_mtime_ns for path in workers.home.rglob("record.json")}
        workers.start()
        assert workers.end()[-1] == 0, workers.said()
        assert {path: path.stat().st_mtime_ns for path in workers.home.rglob("record.json")} == before
    finally:
        for one in workers.started:
            if one.poll() is None:
                one.kill()
    check(workers, killed)


def test_sqlite(tmp_path: Path) -> None:
    survive(Workers(tmp_path))
    assert next(tmp_path.rglob("study.db")).exists()


def test_journal(tmp_path: Path) -> None:
    survive(Workers(tmp_path, "journal"))
    assert next(tmp_path.rglob("study.journal")).exists() and not list(tmp_path.rglob("study.db"))


def test_postgresql(tmp_path: Path, database: str) -> None:
    survive(Workers(tmp_path, database))
    assert not list(tmp_path.rglob("study.db"))
