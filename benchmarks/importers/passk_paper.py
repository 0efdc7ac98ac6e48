"""Format `passk-paper`: what the evaluation of arXiv 2504.13837 writes, one JSON line a problem.

    {"idx": 0, "code": ["first completion", "second"], "score": [true, false], "finish_reason": ["stop", "length"]}

`idx` names the problem, `score[i]` judges `code[i]`. A wrong completion that `finish_reason`, where it is there, says
to have hit the length limit is TRUNCATED. That tool's grader counts its own timeouts as false, so that they stay WRONG
here: the file cannot tell. Its files are shards (`..._s0_e100.jsonl`) or seeds; both are put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.importers.rows import Choices, Rows, json_lines, problem_name, read_files, verdict
from benchmarks.statistics.counts import Counts
from benchmarks.verifiers import Verdict

_CUT_OFF = "length"


def read(paths: Sequence[Path], choices: Choices) -> Counts:
    """The counts of all files. `Failure` names the file and the problem."""
    choices.refuse("passk-paper", "metric", "filter")
    return read_files(paths, _read)


def _read(path: Path, rows: Rows) -> None:
    for number, row in json_lines(path):
        problem_id = problem_name(number, row, "idx")
        rows.add(problem_id, _verdicts(problem_id, row))


def _verdicts(problem_id: str, row: dict[str, Any]) -> list[Verdict]:
    for name in ("code", "score"):
        if not isinstance(row.get(name), list):
            raise ValueError(f"problem '{problem_id}': '{name}' must be a list")
    completions, scores, reasons = row["code"], row["score"], row.get("finish_reason")
    if len(completions) != len(scores):
        raise ValueError(f"problem '{problem_id}' has {len(completions)} completions, but {len(scores)} scores")
    found = [verdict(problem_id, score) for score in scores]
    if not isinstance(reasons, list):
        return found
    if len(reasons) != len(scores):
        raise ValueError(f"problem '{problem_id}' has {len(reasons)} finish reasons, but {len(scores)} scores")
    cut = [reason == _CUT_OFF for reason in reasons]
    return [Verdict.TRUNCATED if c and v is Verdict.WRONG else v for v, c in zip(found, cut, strict=True)]
