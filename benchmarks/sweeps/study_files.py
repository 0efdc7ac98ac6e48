"""Finds a study's folder and opens its Optuna storage, for reading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from benchmarks.errors import Failure, UsageError, unknown
from benchmarks.files import loads_strict, read_text
from benchmarks.records.study import Objective

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FOLDER = "sweeps"
STUDY, DATABASE, JOURNAL = "study.json", "study.db", "study.journal"
INTERRUPTED = "interrupted"
"""The reason of an attempt that ended by Ctrl-C or SIGTERM."""
HISTORY = "retry_history"
"""The attribute, Optuna's own, that holds the numbers of the attempts that failed before."""
MOST_RETRIES = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SuiteAsked(_Part):
    """The suite that was tuned on."""

    name: str
    hash: str


class BudgetAsked(_Part):
    """What one trial may generate."""

    amount: int


class Asked(_Part):
    """What a reader needs of study.json."""

    study: str
    suite: SuiteAsked
    algorithm: str
    objective: Objective
    k: int
    trials: int
    default: dict[str, JsonValue] = Field(default_factory=dict)
    budget: BudgetAsked | None = None
    storage: str | None = None


def find_study(name: str, out: Path) -> Path:
    """Returns the folder of the study: a path to it, or its name under `out`. UsageError with the nearest name."""
    path = Path(name)
    if (path / STUDY).is_file():
        return path
    known = {file.parent.name: file.parent for file in sorted(out.glob(f"*/{FOLDER}/*/{STUDY}"))}
    if name in known:
        return known[name]
    raise unknown("study", name, known)


def read_asked(folder: Path) -> Asked:
    """Returns what the study was asked to do. Failure if study.json is damaged."""
    path = folder / STUDY
    try:
        return Asked.model_validate(loads_strict(read_text(path)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the object"
        raise Failure(f"{path}: {where}: {first['msg']}.") from error
    except ValueError as error:
        raise Failure(f"{path} is not a whole JSON file ({error}).") from error


def open_study(folder: Path, asked: Asked, storage: str = "") -> Study:
    """Opens the study in `storage`, or else in the folder's file, or else in the database that study.json names.

    UsageError where Optuna is missing or no such study is stored; Failure where the storage cannot be reached.
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError("reading a study needs Optuna: pip install 'rlvr-gap[sweep]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = storage or _file(folder) or asked.storage
    if where is None:
        raise UsageError(f"{folder} holds neither {DATABASE} nor {JOURNAL}: name the study's database with --storage.")
    try:
        return optuna.load_study(study_name=asked.study, storage=_storage(where))
    except KeyError as error:
        raise UsageError(f"no study '{asked.study}' is stored in {shown(where)}.") from error
    except _unreachable() as error:
        reason = " ".join(str(error).split())[:200]
        raise Failure(f"cannot read the study in {shown(where)}: {reason}.") from error


def _unreachable() -> tuple[type[Exception], ...]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return (StorageInternalError, SQLAlchemyError, ImportError, OSError)


def _file(folder: Path) -> str | None:
    return next((str(folder / name) for name in (DATABASE, JOURNAL) if (folder / name).is_file()), None)


def _storage(where: str) -> str | BaseStorage:
    if "://" in where:
        return where
    if where.endswith(".journal"):
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(where))
    return f"sqlite:///{Path(where).resolve()}"


def shown(where: str) -> str:
    """The storage without its password. What is no address stays as it is."""
    if "://" not in where:
        return where
    from sqlalchemy.engine import make_url

    return str(make_url(where).render_as_string(hide_password=True))


def folder_number(trial: FrozenTrial) -> int:
    """The number of a trial, which is that of its first attempt, and part of its folder's name."""
    return int(trial.user_attrs.get("retry_of", trial.number))


def waits_again(last: FrozenTrial) -> bool:
    """Whether a trial is owed another attempt after its last one: always if that was interrupted, else only once."""
    if last.state.name != "FAIL":
        return False
    return last.user_attrs.get("reason") == INTERRUPTED or len(last.system_attrs.get(HISTORY, ())) < MOST_RETRIES
