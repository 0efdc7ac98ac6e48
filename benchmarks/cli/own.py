"""The commands for algorithms, tasks and verifiers of one's own.

`new-algorithm`, `new-task` and `new-verifier` write a file to start from; `check-...` says what is wrong with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import QuietOption
from benchmarks.errors import Failure

NameArgument = Annotated[str, typer.Argument(help="Name of the file to write, without .py: small letters and _.")]
FolderOption = Annotated[Path, typer.Option("--folder", help="Where to write it; default: here.")]


def new_algorithm(name: NameArgument, folder: FolderOption = Path()) -> None:
    """Write NAME.py, a commented algorithm to start from. It works as it is."""
    _write("algorithm", name, folder)


def new_task(name: NameArgument, folder: FolderOption = Path()) -> None:
    """Write NAME.py, a commented task to start from. It works as it is."""
    _write("task", name, folder)


def new_verifier(name: NameArgument, folder: FolderOption = Path()) -> None:
    """Write NAME.py, a commented verifier to start from. It works as it is."""
    _write("verifier", name, folder)


def _write(kind: str, name: str, folder: Path) -> None:
    from benchmarks.outside.new_file import write_template

    path = write_template(kind, name, folder)
    print(f"{path} is written; next: rlvr-gap check-{kind} {path}")


def check_algorithm(
    reference: Annotated[str, typer.Argument(help="my_algorithm.py, package.module:Class, or a name.")],
    learning: Annotated[
        bool, typer.Option("--learning/--no-learning", help="Whether to train briefly and see if it learns.")
    ] = True,
    quiet: QuietOption = False,
) -> None:
    """Say what an algorithm breaks of the contract, in a sentence each.

    If nothing is wrong, the algorithm is trained for a short while on the embedded suite, which must raise its accuracy
    on other problems. An algorithm that learns nothing passes this last check in 1 of 1,000 cases.

    The exit code is 0 if nothing is wrong, 1 if something is, and 2 if there is no such algorithm.
    """
    import algorithms
    from algorithms.conformance import CHECKS, findings
    from benchmarks.progress import Progress
    from benchmarks.runs.learning_check import check_learning

    found = algorithms.find(reference)
    print(f"{found.name}: {found.made_by.__name__}, {found.origin}")
    _report(found.name, [f"{one.sentence} [{one.check}]" for one in findings(algorithms.make(found))])
    print(f"contract: {len(CHECKS)} checks, nothing is wrong")
    if not learning:
        return
    with Progress(quiet) as progress:
        result = check_learning(found, progress)
    _report(found.name, [] if result.learns else [f"it does not learn: {result}"])
    print(f"learning: {result}")


def check_task(
    reference: Annotated[str, typer.Argument(help="my_task.py, package.module:Class, or a name.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the task, such as path=mine.jsonl; repeatable.")
    ] = None,
) -> None:
    """Say what is wrong with a task: its splits, its ids, and whether its verifier accepts its reference answers."""
    from benchmarks import tasks, verifiers
    from benchmarks.verifiers.conformance import task_findings

    found, chosen = tasks.find(reference), _settings(settings or [])
    task = tasks.get(reference, **chosen)
    verifier = verifiers.get(task.verifier, found.folder)
    print(f"{found.name}: {found.made_by.__name__}, {found.origin}, judged by '{verifier.name}'")
    try:
        _report(found.name, task_findings(lambda: tasks.get(reference, **chosen), verifier))
    finally:
        verifier.close()
    print("nothing is wrong")


def check_verifier(
    reference: Annotated[str, typer.Argument(help="my_verifier.py, package.module:Class, or a name.")],
    task: Annotated[str, typer.Option("--task", help="A task whose first problems are judged.")] = "",
) -> None:
    """Say what is wrong with a verifier: what it raises on, and whether its verdicts are always the same."""
    from benchmarks import tasks, verifiers
    from benchmarks.verifiers.conformance import PROBLEM, verifier_findings

    found = verifiers.find(reference)
    verifier = verifiers.get(reference)
    made = tasks.get(task) if task else None
    problems = made.load(made.splits[0])[:3] if made else [PROBLEM]
    print(f"{found.name}: {found.made_by.__name__}, {found.origin}")
    try:
        _report(found.name, verifier_findings(verifier, problems))
    finally:
        verifier.close()
    print("nothing is wrong")


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def _report(name: str, sentences: Sequence[str]) -> None:
    """Prints what was found. Failure if there is anything."""
    for sentence in sentences:
        print(f"- {sentence}")
    if sentences:
        raise Failure(f"{name}: {len(sentences)} {'thing is' if len(sentences) == 1 else 'things are'} wrong.")
