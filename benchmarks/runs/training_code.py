"""The code that a training began with: a training that is resumed under other code would be of two kinds in one log.

runs/<suite>/<cell>/train/code.json    the hashes of the trainer's files, and the commit, as the training began

What an algorithm, a task or a verifier consists of is part of the cell's question (`CellRun.source`), for good. The
trainer's own code counts only while a training is unfinished: a finished one does not become another by a later change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.errors import Failure
from benchmarks.files import loads_strict, read_text, write_json_atomic
from benchmarks.outside import code_of_room
from benchmarks.records.provenance import commit
from benchmarks.runs.run_folder import FRESH

FILE = "code.json"
_ROOT = Path(__file__).parents[2]


def keep_code(train_folder: Path, is_begun: bool) -> None:
    """Notes today's code of the trainer, or checks it where the training `is_begun`. Raises Failure if it changed."""
    path, today = train_folder / FILE, code_of_room(_ROOT / "algorithms" / "train.py", _ROOT)
    if not (is_begun and path.exists()):
        write_json_atomic(path, {"schema": 1, "commit": commit(), "code": today})
        return
    began = _read(path)
    changed = sorted(name for name in {**today, **began["code"]} if today.get(name) != began["code"].get(name))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        at = f" at commit {began['commit'][:12]}" if began["commit"] else ""
        raise Failure(
            f"the training in {train_folder} began{at} with other code of {changed[0]}{more}: "
            f"go on with that code, or {FRESH}."
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        data = loads_strict(read_text(path))
        return {"commit": data["commit"], "code": dict(data["code"])}
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path} is damaged ({error}): expected the hashes of the trainer's code.") from error
