"""The program `rlvr-gap`, assembled from its commands in `benchmarks/cli/`.

The exit code is 0 for success, 1 for a failure, 2 for wrong input, and 130 for an interrupt.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException

from benchmarks.cli import evaluation, exchange, grid, names, own, publishing, samples, training
from benchmarks.errors import Failure, UsageError

INTERRUPTED = 130

app = typer.Typer(
    help="Measure how much of what a base model can reach RLVR algorithms turn into first-try accuracy.",
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
app.command()(training.bench)
app.command()(grid.grid)
app.command()(grid.status)
app.command("train-cell", hidden=True)(training.train_cell)
app.command()(evaluation.evaluate)
app.command()(samples.show)
app.command()(evaluation.gap)
app.command()(evaluation.unsolved)
app.command("import")(exchange.import_)
app.command()(exchange.export)
app.command()(publishing.leaderboard)
app.command("list")(names.list_)
for command in (
    own.new_algorithm, own.check_algorithm, own.new_task, own.check_task, own.new_verifier, own.check_verifier,
):  # fmt: skip
    app.command()(command)


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
        code = app(list(arguments), standalone_mode=False)  # typer turns a Ctrl-C into an exit code
    except TyperException as error:
        raise UsageError(error.format_message()) from error
    except Abort as error:
        raise KeyboardInterrupt from error
    if code == INTERRUPTED:
        raise KeyboardInterrupt


def _say(message: str, code: int) -> int:
    print(f"rlvr-gap: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
