"""Stored completions as tables, each with its question, gold answer and the run that it is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from benchmarks import tasks
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation.completions import read_tables
from benchmarks.files import file_sha256
from benchmarks.tasks import Problem
from leaderboards.load import Entry
from leaderboards.summary import cell_name, label

FIRST = ("problem_id", "question", "gold", "answer", "verdict", "chain", "text")
"""The columns that follow the names of the run, as far as there are any. `answer`: what the verifier extracted."""
Say = Callable[[str], None]


def completions(
    entries: Iterable[Entry], dataset: str | None = None, problem: str | None = None, say: Say = lambda line: None
) -> Iterator[pd.DataFrame]:
    """Yields the completions of the runs, one part of a file at a time: there can be more than memory holds.

    `say` gets a line for each run that has none stored, and for each dataset whose questions cannot be loaded; question
    and gold answer are then missing. Raises Failure for a file that is damaged or not its record's.
    """
    known: dict[str, Mapping[str, Problem]] = {}
    for entry in entries:
        for name, evaluation in entry.record.evaluations.items():
            if dataset is not None and name != dataset:
                continue
            file = evaluation.completions_file
            if file is None or not (entry.path.parent / file.path).is_file():
                say(f"{entry.where}: no completions of '{name}' are stored")
                continue
            if file_sha256(entry.path.parent / file.path) != file.sha256:
                raise Failure(f"{entry.where}: the completions of '{name}' are not those of their record.")
            source = source_of(entry, name)
            if repr(source) not in known:
                known[repr(source)] = problems_of(source, evaluation.versions.task, f"{entry.where}, '{name}'", say)
            for table in read_tables(entry.path.parent / file.path):
                found = table.to_pandas()
                if problem is not None:
                    found = found[found["problem_id"] == problem]
                if len(found):
                    yield _named(found, entry, name, known[repr(source)])


def source_of(entry: Entry, dataset: str) -> Mapping[str, Any]:
    """What the record says of where the dataset's problems come from; empty if it does not say."""
    settings: Any = entry.record.settings
    try:
        return dict(settings["suite"]["evaluation"]["datasets"][dataset])
    except (KeyError, TypeError, ValueError):
        return {}


def problems_of(source: Mapping[str, Any], version: int | str | None, where: str, say: Say) -> dict[str, Problem]:
    """The dataset's problems by id. None where they cannot be loaded, or today's are of another version."""
    try:
        task = tasks.get(source["task"], **source.get("settings", {}))
        if task.version != version:
            raise UsageError(f"they are of version {version} of task '{source['task']}', which has {task.version} now")
        return {problem.problem_id: problem for problem in task.load(source["split"])}
    except (UsageError, Failure, OSError, KeyError, TypeError, ValueError) as error:
        why = f"{error}" if source else "the record does not say where they come from"
        say(f"{where}: no questions and gold answers, {' '.join(why.split())}")
        return {}


def _named(found: pd.DataFrame, entry: Entry, dataset: str, problems: Mapping[str, Problem]) -> pd.DataFrame:
    cell = entry.record.cell
    names = {
        "suite": entry.record.suite.name, "dataset": dataset, "label": label(cell), "algorithm": cell.algorithm,
        "variant": cell.variant, "seed": cell.seed, "cell": cell_name(cell),
    }  # fmt: skip
    asked = [problems.get(one) for one in found["problem_id"]]
    found = found.rename(columns={"seed": "sampling_seed"}).assign(
        **names,
        question=[None if one is None else one.prompt for one in asked],
        gold=[None if one is None else one.answer for one in asked],
    )
    first = [*names, *(name for name in FIRST if name in found)]
    types = {name: "str" for name in ("variant", "question", "gold", "answer") if name in found}
    types |= {"seed": "Int64", "chain": "boolean"}
    return found[[*first, *(name for name in found if name not in first)]].astype(types)
