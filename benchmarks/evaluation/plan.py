"""Defines what one model is asked on one dataset and splits it into chunks. Only the plan file touches the disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.engines.base import Chunk
from benchmarks.errors import Failure
from benchmarks.files import content_hash, loads_strict, read_text, write_json_atomic
from benchmarks.seeds import derive
from benchmarks.statistics.passk import Design
from benchmarks.tasks import Problem

PLAN = "plan.json"
SCHEMA = 2
"""Plans of schema 1 did not say what the prompts, the stops, the precision and the engine's version were."""


@dataclass(frozen=True)
class Question:
    """Everything that the counts of one model on one dataset depend on. Equal questions have equal hashes."""

    dataset: str
    model: str
    """Hash of a model folder, or the id and commit of a model on the hub."""
    problems: str
    """Content hash of the problems in their order."""
    n_problems: int
    task_version: int | str | None
    verifier: str
    verifier_version: int | str
    task_revision: str | None
    """The resolved commit of the task's data. None: it is no published dataset, or a local copy."""
    prompt_template: str
    """The template's name."""
    prompts: str
    """Content hash of the whole prompts in the order of the problems."""
    chat: bool
    """Whether a chat template made the prompts."""
    sampling: dict[str, Any]
    """With the stops."""
    design: dict[str, Any]
    seed: int
    engine: str
    engine_version: str
    precision: str
    """The number format in which the engine computes."""
    rows_per_batch: int
    """Rows per batch, which decides the chunks. The worker count is left out because no result depends on it."""

    @property
    def hash(self) -> str:
        """16 hex digits over all fields."""
        return content_hash(asdict(self))


def problems_hash(problems: Sequence[Problem]) -> str:
    """Returns the content hash of the problems in their order."""
    return content_hash([[p.problem_id, p.prompt, p.answer, dict(p.data)] for p in problems])


@dataclass(frozen=True)
class PlannedChunk:
    """A chunk with the problems that its prompts belong to."""

    chunk: Chunk
    problem_ids: tuple[str, ...]
    round: int
    first: int
    """Index, within its problem, of the chunk's first sample."""


def plan_round(question: Question, problems: Sequence[Problem], number: int, design: Design) -> list[PlannedChunk]:
    """Returns the chunks of one round for the problems that are still sampled; the arguments alone determine them.

    The `prompt` of these problems is the whole prompt (`prompts.render_all`).
    Problems with prompts of similar length share a chunk, and the longest come first. Each chunk's seed is the hash of
    the dataset, the cell's seed, the round, and what the chunk holds.
    """
    first, last = (0, *design.rounds)[number], design.rounds[number]
    rows = question.rows_per_batch
    texts = {p.problem_id: p.prompt for p in problems}
    order = sorted(texts, key=lambda problem_id: (-len(texts[problem_id]), problem_id))
    width = max(1, rows // (last - first))
    planned: list[PlannedChunk] = []
    for start in range(0, len(order), width):
        ids = tuple(order[start : start + width])
        for sample in range(first, last, rows if width == 1 else last - first):
            n = min(last - sample, rows) if width == 1 else last - first
            seed = derive("evaluate", question.dataset, question.seed, number, sample, n, *ids)
            key = f"round{number}-{len(planned):06d}-{seed:016x}"
            chunk = Chunk(tuple(texts[i] for i in ids), n, seed, key, question.chat)
            planned.append(PlannedChunk(chunk, ids, number, sample))
    return planned


# ------------------------------------------------------------------------------------------------ the folder


def claim(folder: Path, question: Question, complete: bool = False) -> None:
    """Writes the plan if the folder has none. Raises Failure for another plan, or for files without a plan.

    A complete evaluation may be of another version of the engine: nothing is added to it, and its record says which.
    """
    path = folder / PLAN
    if path.exists():
        found = read_question(folder)
        asked = replace(question, engine_version=found.engine_version) if complete else question
        _refuse_difference(folder, found, asked)
        return
    foreign = sorted(name for name in os.listdir(folder) if name[0] != ".") if folder.is_dir() else []
    if foreign:
        raise Failure(f"{folder} holds {foreign[0]} but no {PLAN}: so it holds no evaluation: choose another folder.")
    write_question(folder, question)


def write_question(folder: Path, question: Question) -> None:
    """Writes the folder's plan and replaces an existing one."""
    write_json_atomic(folder / PLAN, {"schema": SCHEMA, "hash": question.hash, "question": asdict(question)})


def read_question(folder: Path) -> Question:
    """Returns the question that the folder's evaluation answers. Raises Failure for a damaged plan."""
    path = folder / PLAN
    try:
        data = loads_strict(read_text(path))
        if data["schema"] == 1:
            raise Failure(
                f"{path} is of an earlier version of this program, which did not write down all that its samples "
                "depend on: go on with that version, choose another folder, or remove this one."
            )
        question = Question(**data["question"])
        if data["schema"] != SCHEMA or data["hash"] != question.hash:
            raise ValueError("its hash is not that of its content")
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is damaged: {error}.") from error
    return question


def _refuse_difference(folder: Path, found: Question, asked: Question) -> None:
    old, new = _flat(asdict(found)), _flat(asdict(asked))
    different = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if different:
        name = different[0]
        more = f" (and {len(different) - 1} more differ)" if len(different) > 1 else ""
        hint = ", or re-grade it with --regrade" if different == ["verifier_version"] else ""
        if different == ["engine_version"]:
            raise Failure(
                f"{folder} holds an unfinished evaluation by {found.engine} {found.engine_version}, and "
                f"{asked.engine_version} is installed: install {found.engine_version} to finish it, choose another "
                "folder, or remove this one."
            )
        raise Failure(
            f"{folder} holds an evaluation with {name} = {old.get(name)!r}, but you asked for {new.get(name)!r}{more}: "
            f"choose another folder, remove this one{hint}."
        )


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins nested keys with dots."""
    result: dict[str, Any] = {}
    for name, value in data.items():
        result |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return result
