"""The commands for suites: `init` writes one to start from, and `config` prints one as it is resolved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import ChangesOption, ModelOption, complete_suite, load_suite
from benchmarks.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.suites.schema import Suite

DataOption = Annotated[
    str,
    typer.Option(
        "--data", metavar="PROBLEMS",
        help="Problems to evaluate on: a JSONL or parquet file, a folder with one for each split, the name of a task "
        "(see rlvr-gap list), or your own my_task.py.",
    ),
]  # fmt: skip
BaseOption = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="Base model: a folder, a hub id, or embedded:countdown.")
]
_EMBEDDED = "embedded:countdown"


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The suite to write; its name ends in .yaml.")],
    problems: DataOption = "",
    model: BaseOption = "",
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Split to evaluate on.")] = "test",
    size: Annotated[
        int | None, typer.Option("--problems", metavar="N", min=1, help="Number of problems; default: all.")
    ] = None,
    train: Annotated[
        str,
        typer.Option("--train-data", metavar="PROBLEMS", help="Problems to train on, named like those of --data."),
    ] = "",
    train_split: Annotated[str, typer.Option("--train-split", metavar="NAME", help="Split to train on.")] = "train",
    problem_column: Annotated[
        str, typer.Option("--problem-column", metavar="NAME", help="Column of a file that holds the problem.")
    ] = "problem",
    answer_column: Annotated[
        str, typer.Option("--answer-column", metavar="NAME", help="Column of a file that holds the answer.")
    ] = "answer",
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="Prompt template; default: one that fits the verifier.")
    ] = "",
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Largest number of samples per problem.")] = 256,
    k: Annotated[int | None, typer.Option("--k", metavar="K", min=1, help="The k of the gap; default: N.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", metavar="T", help="Temperature of evaluation.")] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", metavar="P", help="Nucleus of evaluation; 1: off.")] = 1.0,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", metavar="N", min=1, help="Longest completion.")
    ] = 1024,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Steps of training.")] = 100,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="RATE", help="Learning rate of training.")
    ] = 1e-6,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it is there.")] = False,
) -> None:
    """Write a commented suite for your own problems or a published set: for evaluation, or with training too.

    On a terminal it asks for what is not given. What it writes is checked, and nothing is written that a run would
    refuse. Paths in it are relative to FILE.
    """
    from benchmarks.suites.new_suite import Wanted, write_suite

    asks = sys.stdin.isatty() and sys.stdout.isatty()
    interactive = asks and not problems
    problems = problems or _ask(asks, "--data", "Problems to evaluate on (a file, a folder, or a task's name)", "")
    model = model or _ask(asks, "--model", "Base model (a folder, or a hub id)", _EMBEDDED)
    if interactive and not train and typer.confirm("Will you train, too?", default=False):
        train = typer.prompt("Problems to train on (a file, a folder, or a task's name)", default=problems)
    wanted = Wanted(
        file, problems, model, split, size, train or None, train_split, template or None,
        (problem_column, answer_column), n, k, temperature, top_p, max_new_tokens, steps, learning_rate,
    )  # fmt: skip
    sizes = write_suite(wanted, force)
    counted = ", ".join(f"{number:,} problems to {_USED[name]}" for name, number in sizes.items())
    print(f"{file} is written: {counted or 'its problems are not counted here'}.")
    print(f"next: rlvr-gap bench --algo base --suite {file} --dry-run")


_USED = {"test": "evaluate on", "train": "train on"}


def _ask(asks: bool, option: str, question: str, default: str) -> str:
    """Asks on a terminal. UsageError elsewhere: an option must say it."""
    if not asks:
        raise UsageError(f"{option} is missing: without a terminal nothing is asked (rlvr-gap init --help).")
    return str(typer.prompt(question, default=default or None))


def config(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", autocompletion=complete_suite, help="Name of a suite or a YAML file.")
    ],
    changes: ChangesOption = None,
    model: ModelOption = "",
) -> None:
    """Print a suite as it is resolved: with all defaults, whole paths and changes, and what it costs as comments.

    The output is itself a suite.
    """
    import yaml

    loaded = load_suite(suite, model, changes)
    print(f"# {suite}, hash {loaded.hash}")
    data = loaded.model_dump(mode="json")
    print(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110).rstrip())
    for line in _cost(loaded):
        print(f"# {line}")


def _cost(suite: Suite) -> list[str]:
    from benchmarks.runs.grid_cost import of_one, work

    asked, throughput = work(suite), suite.resources.throughput
    costs = {"the base": True} | ({"each trained model": False} if asked.training else {})
    lines = [f"{name}: {asked.line(base)}" for name, base in costs.items()]
    if throughput is None:
        return [*lines, "For the expected hours, state measured speeds as resources.throughput (docs/cluster.md)."]
    return [*lines, *(f"{name}: {of_one(suite, base, throughput, {}).line()}" for name, base in costs.items())]
