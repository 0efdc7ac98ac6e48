"""The program `rlvr-gap`, assembled from its commands in `benchmarks/cli/`.

The exit code is 0 for success, 1 for a failure, 2 for wrong input, and 130 for an interrupt.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from benchmarks.cli import (
    evaluation,
    exchange,
    grid,
    names,
    own,
    publishing,
    samples,
    submission,
    suites,
    sweep,
    training,
)
from benchmarks.errors import ITEM, Failure, UsageError

INTERRUPTED = 130


def _show_version(asked: bool) -> None:
    if not asked:
        return
    try:
        version = importlib.metadata.version("rlvr-gap")
    except importlib.metadata.PackageNotFoundError:
        version = "from a folder in which it is not installed"
    print(f"rlvr-gap {version}, Python {platform.python_version()}")
    raise typer.Exit()


_VALUES = {"int": "N", "float": "X", "Path": "PATH"}
"""Type of an option -> what its value is called in help."""


class _Commands(TyperGroup):
    """The list of commands, with the whole first sentence of each, and plain words for the values of options."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command. Where it names no value itself, typer would call it `<int range>` or `<list[str]>`."""
        command = super().get_command(ctx, cmd_name)
        for parameter in command.params if command else ():
            if parameter.metavar is None and not getattr(parameter, "is_flag", False):
                is_option = parameter.opts[0].startswith("-")
                annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
                kind = next((name for known, name in _VALUES.items() if known in str(annotation)), "TEXT")
                parameter.metavar = kind if is_option else parameter.name.upper()
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list; typer's own cuts each sentence to the rest of its line."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        shown = {name: command for name, command in commands.items() if command and not command.hidden}
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(10_000)) for name, command in shown.items()])


app = typer.Typer(
    help="Measure how much of what a base model can reach RLVR algorithms turn into first-try accuracy.",
    cls=_Commands, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
app.command()(training.bench)
app.command()(grid.grid)
app.command()(grid.status)
app.add_typer(sweep.app, name="sweep", cls=_Commands)
app.command("sweep-worker", hidden=True)(sweep.sweep_worker)
app.command("train-cell", hidden=True)(training.train_cell)
app.command()(evaluation.evaluate)
app.command()(samples.show)
app.command()(evaluation.gap)
app.command()(evaluation.unsolved)
app.command("import")(exchange.import_)
app.command()(exchange.export)
app.command()(submission.submit)
app.command()(publishing.leaderboard)
app.command()(suites.init)
app.command()(suites.config)
app.command("list")(names.list_)
for command in (
    own.new_algorithm, own.check_algorithm, own.new_task, own.check_task, own.new_verifier, own.check_verifier,
):  # fmt: skip
    app.command()(command)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the console script."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
    sys.exit(_run())


def _run() -> int:
    try:
        run(sys.argv[1:] or ["--help"])
    except UsageError as error:
        return _say(str(error), 2)
    except Failure as error:
        return _say(str(error), 1)
    except OSError as error:
        return _say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except KeyboardInterrupt:
        return _say("interrupted; the same command goes on from here.", INTERRUPTED)
    return 0


def run(arguments: Sequence[str]) -> None:
    """Runs one command in this process. Raises UsageError for wrong input, Failure, or KeyboardInterrupt for Ctrl-C."""
    try:
        code = app(
            list(arguments), prog_name="rlvr-gap", standalone_mode=False
        )  # typer turns a Ctrl-C into an exit code
    except TyperException as error:
        raise UsageError(error.format_message()) from error
    except Abort as error:
        raise KeyboardInterrupt from error
    if code == INTERRUPTED:
        raise KeyboardInterrupt


def _say(message: str, code: int) -> int:
    first, *items = (" ".join(part.split()) for part in message.split(f"\n{ITEM}"))
    print("\n".join([f"rlvr-gap: {first}", *(f"{ITEM}{item}" for item in items)]), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
