"""Where Optuna keeps a study: a file in the study's folder, a journal on a shared disk, or a database.

""                                          SQLite: study.db in the study's folder
"journal"                                   study.journal there, for shared disks without a database (NFS)
"postgresql+psycopg://USER@HOST/NAME"       a database that many machines reach
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.seeds import derive
from benchmarks.suites.sweep import Pruning, SweepSettings
from benchmarks.sweeps.study_files import DATABASE, HISTORY, INTERRUPTED, JOURNAL, folder_number, shown

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

HEARTBEAT_S = 30
"""How often a running trial says that its worker lives; after four times that long without, it counts as dead."""
_JOURNAL, _POSTGRES = "journal", "postgresql+psycopg://USER@HOST/NAME"


def open_storage(where: str, folder: Path, heartbeat_s: int = HEARTBEAT_S) -> BaseStorage:
    """Opens or creates it. UsageError for another kind or a missing package, Failure if it cannot be reached."""
    check_storage(where)
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if where == _JOURNAL:
        path = str(folder / JOURNAL)
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    url = where or f"sqlite:///{(folder / DATABASE).resolve()}"
    options = {"connect_args": {"timeout": 60}} if not where else {"pool_pre_ping": True}
    try:
        with reachable(where or url):
            return RDBStorage(
                url, engine_kwargs=options, heartbeat_interval=heartbeat_s, grace_period=4 * heartbeat_s
            )  # fmt: skip
    except ImportError as error:
        raise UsageError(
            f"{shown(where)} needs a driver ({error}): use {_POSTGRES} and pip install 'rlvr-gap[postgres]'."
        ) from error


def check_storage(where: str) -> None:
    """Raises UsageError for what is no storage, before anything is opened, and where Optuna is missing."""
    import_optuna()
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    if where in ("", _JOURNAL):
        return
    if "://" not in where:
        raise unknown("storage", where, [_JOURNAL, _POSTGRES])
    try:
        make_url(where).get_dialect()
    except NoSuchModuleError as error:
        raise unknown("kind of storage", where.partition("://")[0], ["postgresql+psycopg", "sqlite"]) from error
    except (ArgumentError, ValueError) as error:  # not its text, which may hold the password
        raise UsageError(f"the storage is no address such as {_POSTGRES}.") from error


@contextlib.contextmanager
def reachable(where: str) -> Iterator[None]:
    """Raises Failure, in one line without the password, for whatever goes wrong with the storage in the block."""
    optuna = import_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        named = shown(where) or DATABASE
        reason = " ".join(str(error.__cause__ or error).split()).replace(where or named, named)[:200]
        raise Failure(f"cannot reach {named}: {reason}.") from error


def next_attempt(failed: FrozenTrial) -> FrozenTrial:
    """The trial that follows a failed one: it keeps its settings, its rungs and its folder, and waits."""
    from optuna.trial import TrialState, create_trial

    history = failed.system_attrs.get(HISTORY, [])
    if failed.user_attrs.get("reason") != INTERRUPTED:
        history = [*history, failed.number]
    said = {key: value for key, value in failed.user_attrs.items() if key != "reason"}
    return create_trial(
        state=TrialState.WAITING, params=failed.params, distributions=failed.distributions,
        user_attrs={**said, "retry_of": folder_number(failed)}, intermediate_values=failed.intermediate_values,
        system_attrs={**failed.system_attrs, "failed_trial": folder_number(failed), HISTORY: history},
    )  # fmt: skip


def sampler_of(settings: SweepSettings, pareto: bool, number: int) -> BaseSampler:
    """TPE with every argument said: defaults move between versions of Optuna.

    It is seeded for the trial of that number, so a random trial has the same settings whichever worker takes it. What
    the later ones learn from depends on the order in which trials end.
    """
    from optuna.samplers import TPESampler

    startup = max(settings.random_trials, 2 * settings.random_trials if pareto else 0)
    return TPESampler(
        n_startup_trials=startup, n_ei_candidates=24, seed=derive("sweep", settings.seed, number) % 2**32, group=False,
        constant_liar=True,
    )  # fmt: skip


def pruner_of(pruning: Pruning, rungs: tuple[float, ...]) -> BasePruner:
    """What decides at a rung, whose number is its share of the budget in percent."""
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    if pruning.by == "none" or not rungs:
        return NopPruner()
    if pruning.by == "median":
        return MedianPruner(n_startup_trials=4, n_warmup_steps=0, interval_steps=1, n_min_trials=1)
    return SuccessiveHalvingPruner(
        min_resource=round(100 * rungs[0]), reduction_factor=pruning.keep, min_early_stopping_rate=0, bootstrap_count=0
    )


def import_optuna():  # type: ignore[no-untyped-def]  # the module itself
    """Optuna, with its own messages switched off. UsageError if it is missing."""
    try:
        import optuna
    except ImportError as error:
        raise UsageError("a sweep needs Optuna: pip install 'rlvr-gap[sweep]'.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warning of a failed trial is a traceback
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats; it is pinned
    return optuna
