"""Where Optuna keeps a study: a file in the study's folder, a journal on a shared disk, or a database.

""                                          SQLite: study.db in the study's folder
"journal"                                   study.journal there, for shared disks without a database (NFS)
"postgresql+psycopg://USER@HOST/NAME"       a database that many machines reach
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.seeds import derive
from benchmarks.suites.sweep import Pruning, SweepSettings
from benchmarks.sweeps.study_files import DATABASE, JOURNAL, folder_number

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

HEARTBEAT_S = 30
"""How often a running trial says that its worker lives; after four times that long without, it counts as dead."""
MOST_RETRIES = 1
_JOURNAL = "journal"


def open_storage(where: str, folder: Path, heartbeat_s: int = HEARTBEAT_S) -> BaseStorage:
    """Opens or creates it. UsageError for another kind or a missing package, Failure if it cannot be reached."""
    optuna = import_optuna()
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from sqlalchemy.exc import SQLAlchemyError

    if where == _JOURNAL:
        path = str(folder / JOURNAL)
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    if where and "://" not in where:
        raise unknown("storage", where, [_JOURNAL, "postgresql+psycopg://USER@HOST/NAME"])
    url = where or f"sqlite:///{(folder / DATABASE).resolve()}"
    options = {"connect_args": {"timeout": 60}} if not where else {"pool_pre_ping": True}
    try:
        return RDBStorage(
            url, engine_kwargs=options, heartbeat_interval=heartbeat_s, grace_period=4 * heartbeat_s,
            heartbeat_stale_trial_callback=queue_again,
        )  # fmt: skip
    except ImportError as error:
        raise UsageError(f"{shown(where)} needs a driver: pip install 'rlvr-gap[postgres]' ({error}).") from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = " ".join(str(error).split()).replace(where, shown(where) or "")[:200]
        raise Failure(f"cannot open {shown(where) or url}: {reason}.") from error


def queue_again(study: Study, dead: FrozenTrial) -> None:
    """Queues a trial again whose worker died, once; it keeps its settings, its rungs and its folder."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    dead.user_attrs["retry_of"] = folder_number(dead)
    RetryHeartbeatStaleTrialCallback(MOST_RETRIES, inherit_intermediate_values=True)(study, dead)


def shown(where: str) -> str | None:
    """The storage without its password, or None for a file in the study's folder."""
    if "://" not in where:
        return None
    from sqlalchemy.engine import make_url

    return str(make_url(where).render_as_string(hide_password=True))


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
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats; it is pinned
    return optuna
