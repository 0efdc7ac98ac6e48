"""Judges a chunk of completions whatever the verifier does: a crash on one makes only that one an ERROR."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict, Verifier

Judged = tuple[list[Verdict], list[bool | None]]


def judge(
    verifier: Verifier, problems: Sequence[Problem], texts: Sequence[str], finished: Sequence[bool], chains: bool = True
) -> Judged:
    """Returns the verdict of each row, and whether its chain holds (None if the task cannot say or was not asked).

    Equal rows are judged once, because many samples of one problem say the same.
    """
    rows = list(zip(problems, texts, finished, strict=True))
    keys = [(problem.problem_id, text, ended) for problem, text, ended in rows]
    different = dict(zip(keys, rows, strict=True))
    verdicts = dict(zip(different, _verdicts(verifier, list(different.values())), strict=True))
    sound = {key: _chain(verifier, problem, text) if chains else None for key, (problem, text, _) in different.items()}
    return [verdicts[key] for key in keys], [sound[key] for key in keys]


def _verdicts(verifier: Verifier, rows: Sequence[tuple[Problem, str, bool]]) -> list[Verdict]:
    problems, texts, finished = zip(*rows, strict=True) if rows else ((), (), ())
    try:
        return verifier.verify_many(problems, texts, finished)
    except Exception:  # noqa: BLE001  the text is untrusted: which row it was is found out here
        return [_verdict(verifier, *row) for row in rows]


def _verdict(verifier: Verifier, problem: Problem, text: str, finished: bool) -> Verdict:
    try:
        return verifier.verify(problem, text, finished)
    except Exception:  # noqa: BLE001
        return Verdict.ERROR


def _chain(verifier: Verifier, problem: Problem, text: str) -> bool | None:
    try:
        return verifier.check_chain(problem, text)
    except Exception:  # noqa: BLE001
        return None
