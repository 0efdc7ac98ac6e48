"""Format `passk-paper`: what the evaluation of arXiv 2504.13837 writes, one JSON line per problem.

    {"idx": 0, "code": ["first completion", "second"], "score": [true, false], "finish_reason": ["stop", "length"]}

`idx` names the problem, and `score[i]` judges `code[i]`. A wrong completion is TRUNCATED if there is a `finish_reason`
and it says that the length limit was hit. That tool's grader writes its own timeouts as false. They stay WRONG here,
because the file does not tell them apart. Its files are shards (`..._s0_e100.jsonl`) or seeds; both are joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.importers.problem_verdicts import (
    Choices,
    Scored,
    json_lines,
    problem_name,
    read_files,
    verdicts_of_scores,
)
from benchmarks.statistics.counts import Counts
from benchmarks.verifiers import Verdict

_CUT_OFF = "length"


def read(paths: Sequence[Path], choices: Choices) -> Counts:
    """Returns the counts of all files. A `Failure` names the file and the problem."""
    choices.refuse("passk-paper", "metric", "filter")
    return read_files(paths, _problems)


def _problems(path: Path) -> Iterator[Scored]:
    for number, row in json_lines(path):
        problem_id = problem_name(number, row, "idx")
        yield Scored(problem_id, _verdicts(problem_id, row))


def _verdicts(problem_id: str, row: dict[str, Any]) -> list[Verdict]:
    for name in ("code", "score"):
        if not isinstance(row.get(name), list):
            raise ValueError(f"problem '{problem_id}': '{name}' must be a list")
    completions, scores, reasons = row["code"], row["score"], row.get("finish_reason")
    found = verdicts_of_scores(problem_id, scores, len(completions))
    if not isinstance(reasons, list):
        return found
    if len(reasons) != len(scores):
        raise ValueError(f"problem '{problem_id}' has {len(reasons)} finish reasons, but {len(scores)} scores")
    cut = [reason == _CUT_OFF for reason in reasons]
    return [Verdict.TRUNCATED if c and v is Verdict.WRONG else v for v, c in zip(found, cut, strict=True)]
