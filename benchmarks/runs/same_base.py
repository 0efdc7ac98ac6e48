"""Reuses a base that was evaluated for another suite of this OUT: its samples depend on no setting of training.

A suite file whose training was edited asks for other policies, so its runs get a folder of their own. Its base is the
old one, though: evaluated files are copied from there, and only the record is made anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure
from benchmarks.files import content_hash
from benchmarks.records.schema import BASE
from benchmarks.runs.run_folder import EVAL, read_done, read_spec

_DRAFT = f".{EVAL}.draft"


def copy_evaluations(folder: Path, question: Mapping[str, Any]) -> Path | None:
    """Fills the base's `folder`, which its caller holds, from a finished base with the same evaluation.

    Returns where the files came from, or None if there is no such base or the folder has begun an evaluation itself.
    """
    if (folder / EVAL).exists():
        return None
    found = next((other for other in _bases(folder) if _is_same(other, question)), None)
    if found is None:
        return None
    draft = folder / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(found / EVAL, draft)
        os.replace(draft, folder / EVAL)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise Failure(f"cannot copy {found / EVAL} to {folder}: {error.strerror or error}.") from error
    return found


def _bases(folder: Path) -> list[Path]:
    """The other bases of this OUT, by name."""
    specs = folder.parent.parent.glob(f"*/{BASE}*/spec.json")
    return sorted(spec.parent for spec in specs if spec.parent.resolve() != folder.resolve())


def _is_same(other: Path, question: Mapping[str, Any]) -> bool:
    """Whether the folder holds a finished base whose question differs in nothing but the training."""
    with contextlib.suppress(Failure, KeyError, TypeError):  # a folder that cannot be read offers nothing
        asked = read_spec(other)
        return _evaluated(asked) == _evaluated(question) and read_done(other, content_hash(asked)) is not None
    return False


def _evaluated(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {**asked, "suite": {key: value for key, value in asked["suite"].items() if key != "training"}}
