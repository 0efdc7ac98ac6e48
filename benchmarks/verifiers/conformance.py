"""What every task and every verifier must keep to, as checks that say in a sentence what is wrong.

    rlvr-gap check-task my_task.py
    rlvr-gap check-verifier my_verifier.py

A check yields a sentence for each thing that it finds; nothing is drawn at random.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from benchmarks.errors import Failure, UsageError
from benchmarks.outside import one_line
from benchmarks.tasks.base import Problem, Task
from benchmarks.verifiers.base import Verdict, Verifier, probes

Findings = Iterator[str]
Make = Callable[[], Task]
"""Makes the task anew, so that nothing is remembered between two loads."""

ODD_TEXTS = (
    "", " \n", "\\boxed{", "\\boxed{}", "\\boxed{{{", "</think>", "<answer>", "\x00\ud7ff\U0001f600", "9" * 5_000,
    "(" * 5_000, "\\frac{1}{0}", "\\boxed{10**10**10}", "__import__('os')", "nan", "-", "1e999",
)  # fmt: skip
"""What a policy may write: a verifier judges all of it, and raises for none."""
REFERENCES = 50
"""How many reference completions of each split are judged."""
PROBLEM = Problem("one", "What is 1 + 1?", "2")


def task_findings(make: Make, verifier: Verifier) -> list[str]:
    """Runs all checks of a task with its verifier; what raises is a finding too."""
    loaded: dict[str, list[Problem]] = {}
    found = _collect(lambda: _loads(make, loaded))
    if not found:
        found += _collect(lambda: _is_the_same_again(make, loaded))
        found += _collect(lambda: _has_ids_of_its_own(loaded))
        found += _collect(lambda: _keeps_splits_apart(loaded))
        found += _collect(lambda: _survives_json(loaded))
        found += _collect(lambda: _references_are_correct(make(), verifier, loaded))
    return found


def verifier_findings(verifier: Verifier, problems: Sequence[Problem] = (PROBLEM,)) -> list[str]:
    """Runs all checks of a verifier on some problems; what raises is a finding too."""
    found = _collect(lambda: _says_what_it_is(verifier))
    checks = (
        _judges_anything, _has_no_error_of_its_own, _extracts_from_anything, _judges_the_same_again,
        _judges_many_like_one,
    )  # fmt: skip
    for check in checks:
        found += _collect(lambda check=check: check(verifier, problems))  # type: ignore[misc]
    return found


def _collect(check: Callable[[], Findings]) -> list[str]:
    found: list[str] = []
    try:
        found.extend(check())
    except (UsageError, Failure):
        raise  # it says itself what is missing
    except Exception as error:  # noqa: BLE001  the class is a user's, and may raise anything
        found.append(f"it raises {one_line(error)}")
    return list(dict.fromkeys(found))


# ------------------------------------------------------------------------------------------------ tasks


def _loads(make: Make, loaded: dict[str, list[Problem]]) -> Findings:
    task = make()
    if not (type(task).__doc__ or "").strip():
        yield f"class {type(task).__name__} has no docstring: say in a line what a problem is"
    if not task.splits:
        yield "splits is empty: a task has at least one, such as ('test',)"
    for split in task.splits:
        problems = task.load(split)
        loaded[split] = problems
        if not isinstance(problems, list) or not all(isinstance(one, Problem) for one in problems):
            yield f"split '{split}' is no list of Problem"
        elif not problems:
            yield f"split '{split}' has no problems"


def _is_the_same_again(make: Make, loaded: dict[str, list[Problem]]) -> Findings:
    for split, problems in loaded.items():
        if make().load(split) != problems:
            yield f"split '{split}' is different when it is loaded again: seed whatever is random"


def _has_ids_of_its_own(loaded: dict[str, list[Problem]]) -> Findings:
    for split, problems in loaded.items():
        (most, times), *_ = Counter(problem.problem_id for problem in problems).most_common(1)
        if times > 1:
            yield f"split '{split}' has the problem_id '{most}' {times} times"


def _keeps_splits_apart(loaded: dict[str, list[Problem]]) -> Findings:
    splits = list(loaded)
    for number, first in enumerate(splits):
        for second in splits[number + 1 :]:
            shared = {problem.prompt for problem in loaded[first]} & {problem.prompt for problem in loaded[second]}
            if shared:
                example = min(shared)[:60]
                yield f"splits '{first}' and '{second}' share {len(shared)} prompts, such as {example!r}"


def _survives_json(loaded: dict[str, list[Problem]]) -> Findings:
    for split, problems in loaded.items():
        for problem in problems:
            kept = {"prompt": problem.prompt, "answer": problem.answer, "data": dict(problem.data)}
            try:
                survives = json.loads(json.dumps(kept, allow_nan=False)) == kept
            except (TypeError, ValueError):
                survives = False
            if not survives:
                yield f"problem '{problem.problem_id}' of split '{split}' does not survive JSON: no tuples or objects"
                break


def _references_are_correct(task: Task, verifier: Verifier, loaded: dict[str, list[Problem]]) -> Findings:
    for split, problems in loaded.items():
        pairs = [(one, text) for one in problems[:REFERENCES] if (text := task.reference(one)) is not None]
        if not pairs:
            continue
        verdicts = verifier.verify_many([problem for problem, _ in pairs], [text for _, text in pairs])
        for (problem, _), verdict in zip(pairs, verdicts, strict=True):
            if verdict != Verdict.CORRECT:
                yield (
                    f"verifier '{verifier.name}' judges the reference of problem '{problem.problem_id}' of split "
                    f"'{split}' as {verdict}, expected correct"
                )
                break


# ------------------------------------------------------------------------------------------------ verifiers


def _says_what_it_is(verifier: Verifier) -> Findings:
    if not (type(verifier).__doc__ or "").strip() or type(verifier).__doc__ == Verifier.__doc__:
        yield f"class {type(verifier).__name__} has no docstring: say in a line when a completion is right"


def _judges_anything(verifier: Verifier, problems: Sequence[Problem]) -> Findings:
    for problem in problems:
        for text in ODD_TEXTS:
            for finished in (True, False):
                try:
                    verdict: object = verifier.verify(problem, text, finished)
                except Failure:
                    raise  # the verifier cannot work here, whatever the completion is
                except Exception as error:  # noqa: BLE001  any completion may come, so none may end a run
                    yield f"verify raises on the completion {text[:40]!r}: {one_line(error)}"
                    continue
                if not isinstance(verdict, Verdict):
                    yield f"verify returns {verdict!r}, expected a Verdict"
                elif verdict == Verdict.TRUNCATED and finished:
                    yield f"verify says truncated of the finished completion {text[:40]!r}"


def _has_no_error_of_its_own(verifier: Verifier, problems: Sequence[Problem]) -> Findings:
    for problem in problems:
        for text in probes(problem):
            if verifier.verify(problem, text) == Verdict.ERROR:
                yield (
                    f"verify says error of the completion {text[:40]!r}, which cannot be to blame: raise Failure where "
                    "the verifier itself cannot work"
                )


def _extracts_from_anything(verifier: Verifier, problems: Sequence[Problem]) -> Findings:
    for problem in problems:
        for text in (*ODD_TEXTS, *probes(problem)):
            try:
                answer: object = verifier.extract(problem, text)
            except Exception as error:  # noqa: BLE001  any completion may come, so none may end a run
                yield f"extract raises on the completion {text[:40]!r}: {one_line(error)}"
                continue
            if answer is not None and not isinstance(answer, str):
                yield f"extract returns {answer!r}, expected a str or None"


def _judges_the_same_again(verifier: Verifier, problems: Sequence[Problem]) -> Findings:
    for problem in problems:
        for text in (*ODD_TEXTS, problem.answer):
            if verifier.verify(problem, text) != verifier.verify(problem, text):
                yield f"verify judges the completion {text[:40]!r} differently when it is asked again"


def _judges_many_like_one(verifier: Verifier, problems: Sequence[Problem]) -> Findings:
    asked = [(problem, text) for problem in problems for text in (*ODD_TEXTS, problem.answer)]
    many = verifier.verify_many([problem for problem, _ in asked], [text for _, text in asked])
    if many != [verifier.verify(problem, text) for problem, text in asked]:
        yield "verify_many gives other verdicts than verify, or gives them in another order"
