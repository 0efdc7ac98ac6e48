"""Judges a chunk of completions whatever the verifier does: a crash on one makes only that one an ERROR.

A verifier that does not work at all is no verdict: it raises Failure, in evaluation, re-grade and training alike. After
an ERROR the verifier is therefore asked for what any working one can judge, which is an empty completion and the
problem's own answer (`probes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from benchmarks.errors import Failure, UsageError
from benchmarks.files import content_hash
from benchmarks.outside import one_line
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict, Verifier
from benchmarks.verifiers.base import probes
from benchmarks.verifiers.machine import is_of_the_machine

Judged = tuple[list[Verdict], list[bool | None]]
_Row = tuple[Problem, str, bool]
_Key = tuple[str, str, bool]
_T = TypeVar("_T")
MOST_CHARS = 1_000
"""Of a stored answer."""


def judge(
    verifier: Verifier, problems: Sequence[Problem], texts: Sequence[str], finished: Sequence[bool], chains: bool = True
) -> Judged:
    """Returns the verdict of each row, and whether its chain holds (None if the task cannot say or was not asked).

    Equal rows are judged once, because many samples of one problem say the same. Raises Failure if the verifier fails
    because of the machine and not because of a completion.
    """
    rows = list(zip(problems, texts, finished, strict=True))
    keys = [(problem.problem_id, text, ended) for problem, text, ended in rows]
    different = dict(zip(keys, rows, strict=True))
    verdicts = dict(zip(different, _verdicts(verifier, list(different.values())), strict=True))
    _require_that_it_works(verifier, verdicts, different)
    sound = _chains(verifier, different) if chains else dict.fromkeys(different)
    return [verdicts[key] for key in keys], [sound[key] for key in keys]


def extract(verifier: Verifier, problems: Sequence[Problem], texts: Sequence[str]) -> list[str | None]:
    """Returns the answer that each completion states; None if it states none, or if its verifier cannot tell.

    A longer answer than `MOST_CHARS` is cut and ends in a hash of the whole, so that different ones stay different.
    """
    if not verifier.extracts:
        return [None] * len(texts)
    rows = zip(problems, texts, strict=True)
    return [_short(_or(None, verifier, lambda row=row: verifier.extract(*row))) for row in rows]  # type: ignore[misc]


def _short(answer: str | None) -> str | None:
    if answer is None or len(answer) <= MOST_CHARS:
        return answer
    return f"{answer[: MOST_CHARS - 17]}#{content_hash(answer.encode('utf-8', 'replace').decode())}"


def _verdicts(verifier: Verifier, rows: Sequence[_Row]) -> list[Verdict]:
    problems, texts, finished = zip(*rows, strict=True) if rows else ((), (), ())
    try:
        return verifier.verify_many(problems, texts, finished)
    except Exception as error:  # noqa: BLE001  the text is untrusted: which row it was is found out here
        _raise_if_of_the_machine(verifier, error)
        return [_or(Verdict.ERROR, verifier, lambda row=row: verifier.verify(*row)) for row in rows]  # type: ignore[misc]


def _require_that_it_works(verifier: Verifier, verdicts: Mapping[_Key, Verdict], rows: Mapping[_Key, _Row]) -> None:
    """Raises Failure if a problem with an ERROR has it for its probes too: then no completion can be to blame."""
    suspects = {rows[key][0].problem_id: rows[key][0] for key, verdict in verdicts.items() if verdict is Verdict.ERROR}
    for problem in suspects.values():
        for text in probes(problem):
            reason = "it gives the verdict ERROR"
            try:
                if verifier.verify(problem, text) is not Verdict.ERROR:
                    continue
            except Exception as error:  # noqa: BLE001  a user's class may raise anything
                _raise_if_of_the_machine(verifier, error)
                reason = one_line(error)
            asked = f"on {text!r} for problem '{problem.problem_id}'"
            raise Failure(f"verifier '{verifier.name}' does not work: {asked}, {reason}.")


def _chains(verifier: Verifier, rows: Mapping[_Key, _Row]) -> dict[_Key, bool | None]:
    """Whether each row's chain holds; None where the check crashed on it, and Failure if it crashes on nothing too."""
    crashed: list[Exception] = []
    sound = {
        key: _or(None, verifier, lambda row=row: verifier.check_chain(row[0], row[1]), crashed)  # type: ignore[misc]
        for key, row in rows.items()
    }
    if crashed:
        problem = next(iter(rows.values()))[0]
        try:
            verifier.check_chain(problem, "")
        except Exception as error:
            raise Failure(f"verifier '{verifier.name}' cannot check chains: {one_line(error)}.") from error
    return sound


def _or(default: _T, verifier: Verifier, ask: Callable[[], _T], crashed: list[Exception] | None = None) -> _T:
    """Returns what the verifier says, or `default` if this completion makes it crash."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001
        _raise_if_of_the_machine(verifier, error)
        if crashed is not None:
            crashed.append(error)
        return default


def _raise_if_of_the_machine(verifier: Verifier, error: Exception) -> None:
    if isinstance(error, Failure | UsageError):
        raise error
    if is_of_the_machine(error):
        raise Failure(f"verifier '{verifier.name}' does not work: {one_line(error)}.") from error
