"""The command line, `rlvr-gap`. Exit codes: 0 done, 1 could not be done, 2 wrong input, 130 interrupted."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import Abort, TyperException

from benchmarks.errors import Failure, UsageError

INTERRUPTED = 130

if TYPE_CHECKING:
    from benchmarks.suites.schema import Suite

app = typer.Typer(
    help="How much of what a base model can reach do RLVR algorithms turn into first-try accuracy?",
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip

SuiteName = Annotated[str, typer.Option("--suite", help="Name of a suite (rlvr-gap list), or a YAML file.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the training; evaluation seeds are derived from it.")]
Model = Annotated[str, typer.Option("--model", help="Another base model: a folder or a hub id.")]
EngineName = Annotated[str, typer.Option("--engine", help="What evaluates: auto, transformers or vllm.")]
Out = Annotated[Path, typer.Option("--out", help="Folder of all runs.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes that sample; default: all cores.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change the suite, repeatable: training.learning_rate=1e-4.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]
Processes = Annotated[int, typer.Option("--processes", min=1, help="Training processes (torchrun).")]


@app.command()
def bench(
    algo: Annotated[str, typer.Option("--algo", help="The algorithm, or `base` (rlvr-gap list).")],
    suite: SuiteName = "countdown", seed: Seed = 0, model: Model = "", engine: EngineName = "auto",
    out: Out = Path("runs"), workers: Workers = None, processes: Processes = 1, changes: Changes = None,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Train one algorithm, evaluate it and the base, print the sampling efficiency gap.

    Finished parts are kept: interrupt it at any moment, and the same command goes on. Writes
    OUT/SUITE/ALGO-sSEED/record.json and a page, OUT/SUITE/index.html.
    """
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import CellRun, Place

    with Progress(quiet) as progress:
        place = Place(out, engine, workers, processes, progress)
        cell = CellRun(_load_suite(suite, model, changes), algo, seed, place)
        record = cell.run()
    show([record], out / cell.suite.name, cell.folder)


@app.command()
def grid(
    suite: SuiteName = "countdown",
    algos: Annotated[str, typer.Option("--algos", help="Names, separated by spaces; default: all.")] = "",
    seeds: Annotated[str, typer.Option("--seeds", help="Numbers, separated by spaces.")] = "0",
    launcher: Annotated[str, typer.Option("--launcher", help="local: a process a cell; inprocess: one.")] = "local",
    model: Model = "", engine: EngineName = "auto", out: Out = Path("runs"), workers: Workers = None,
    changes: Changes = None, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Run the base and every (algorithm, seed), one after another; finished cells are skipped.

    A failing cell is listed and the others go on; the exit code is then 1.
    """
    from benchmarks.cli.results import show
    from benchmarks.runs.grid import plan, run_grid

    loaded = _load_suite(suite, model, changes)
    cells = plan(loaded, algos.split(), seeds.split())
    options = ["--suite", suite, "--engine", engine, "--out", str(out), *(["--model", model] if model else [])]
    options += [*(["--quiet"] if quiet else []), *(["--workers", str(workers)] if workers else [])]
    options += [part for change in changes or [] for part in ("--set", change)]
    records, failed = run_grid(loaded, cells, launcher, out, options)
    if records:
        show(records, out / loaded.name, out / loaded.name)
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    if failed:
        raise Failure(f"{len(failed)} of {len(cells)} cells failed.")


@app.command(name="train-cell", hidden=True)
def train_cell(folder: Path) -> None:
    """One of several training processes of a cell that `bench` has begun; torchrun starts it."""
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import CellRun, Place

    with Progress(quiet=os.environ.get("RANK", "0") != "0") as progress:
        place = Place(processes=int(os.environ.get("WORLD_SIZE", "1")), progress=progress)
        CellRun.of_folder(folder, place).train()


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A model's folder or hub id; with --regrade a run's folder.")],
    suite: SuiteName = "countdown",
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="One or more; default: all.")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Samples a problem at most.")] = None,
    design: Annotated[str | None, typer.Option("--design", help="sequential or fixed; default: the suite's.")] = None,
    name: Annotated[str, typer.Option("--name", help="Of the run's folder, OUT/SUITE/model-NAME.")] = "",
    revision: Annotated[str | None, typer.Option("--revision", help="Of a hub model.")] = None,
    regrade: Annotated[bool, typer.Option("--regrade", help="Judge the run's stored completions anew.")] = False,
    sampled: Annotated[
        str | None, typer.Option("--model", help="Where a re-grade asks for more samples; default: the run's own.")
    ] = None,
    engine: EngineName = "auto", out: Out = Path("runs"), workers: Workers = None, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Evaluate any model as the suite evaluates its own; with the gap, where OUT has the base's record.

    With --regrade MODEL is the folder of a finished run, OUT/SUITE/CELL: its stored completions are judged by today's
    verifier, and its record is made anew. The base of a suite comes first, then the runs that are measured from it.
    """
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import Place
    from benchmarks.runs.model_run import ModelRun, with_design

    if regrade:
        if n or design:
            raise UsageError("--n and --design do not go with --regrade: stored samples keep their design.")
        _regrade(Path(model), dataset or [], sampled, workers, quiet)
        return
    if sampled:
        raise UsageError("--model goes with --regrade: the model to evaluate is the argument itself.")
    asked = with_design(_load_suite(suite, ""), n, design)
    with Progress(quiet) as progress:
        place = Place(out, engine, workers, progress=progress)
        run = ModelRun(asked, model, place, revision, name, tuple(dataset or ()))
        record = run.run()
    show([record, *filter(None, [run.base()])], out / asked.name, run.folder)


def _regrade(folder: Path, datasets: list[str], model: str | None, workers: int | None, quiet: bool) -> None:
    """Judges a run's completions anew, and says what that changed."""
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.cell_run import Place
    from benchmarks.runs.regrade_run import RunFolder

    with Progress(quiet) as progress:
        done = RunFolder.read(folder).regrade(Place(workers=workers, progress=progress), datasets, model)
    for name, found in done.datasets.items():
        drawn = f", {found.result.sampled} more drawn" if found.result and found.result.sampled else ""
        print(f"{name}: {found.changed} verdicts changed{drawn}")
    if done.stale:
        print("The gaps of these runs are from the old verdicts; evaluate RUN --regrade makes each of them anew:")
        print("\n".join(f"    {path}" for path in done.stale))
    show([done.record], folder.parent, folder)


@app.command(name="import")
def import_(
    format: Annotated[str, typer.Argument(help="What wrote the files: counts, lm-eval, lighteval or passk-paper.")],
    files: Annotated[list[Path], typer.Argument(help="Of one model on one dataset.")],
    suite: Annotated[str, typer.Option("--suite-name", help="What is imported under one name is compared.")],
    dataset: Annotated[str, typer.Option("--dataset", help="A name for the problems.")],
    model: Annotated[str, typer.Option("--model", help="The model's name.")],
    source: Annotated[str, typer.Option("--source", help="Where it was published: an address or a citation.")],
    base: Annotated[Path | None, typer.Option("--base", help="Counts or record of the base, for the gap.")] = None,
    as_base: Annotated[bool, typer.Option("--as-base", help="The model is the base of others.")] = False,
    metric: Annotated[str | None, typer.Option("--metric", help="Which score, where there are several.")] = None,
    filter: Annotated[str | None, typer.Option("--filter", help="Which filter's scores (lm-eval).")] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Of the gap; default: 256, or all samples.")] = None,
    out: Out = Path("runs"),
) -> None:  # fmt: skip
    """Make a record of what another tool measured, labelled as imported (docs/import.md).

    Writes OUT/SUITE_NAME/imported-MODEL/. Files whose problems have unequal numbers of samples are refused.
    """
    from benchmarks.cli.results import show
    from benchmarks.importers import Choices
    from benchmarks.runs.import_run import Import

    choices = Choices(metric, filter)
    run = Import(format, tuple(files), suite, dataset, model, source, out, choices, base, as_base, k)
    record = run.run()
    found = record.evaluations[dataset]
    shown = ", ".join(f"pass@{k} {100 * found.pass_at_k[k]:.1f} %" for k in (1, max(found.pass_at_k)))
    print(f"{dataset}: {found.n_problems} problems, {found.completions} completions, {shown}")
    show([record], out / suite, run.folder)


@app.command()
def export(
    runs: Annotated[Path, typer.Argument(help="Of all runs, a suite's runs, or a cell.")],
    to: Annotated[Path, typer.Option("--to", help="A .csv or .parquet file.")],
    level: Annotated[str, typer.Option("--level", help="A row for each of: cells, problems or completions.")] = "cells",
) -> None:
    """Write all records under RUNS as one table."""
    from leaderboards.export import export as write

    done = write(runs, to, level)
    for reason in done.left_out:
        print(f"not exported: {reason}", file=sys.stderr)
    print(f"{to} has {done.rows} rows")


@app.command()
def gap(
    base: Annotated[Path, typer.Option("--base", help="counts.jsonl of the base.")],
    trained: Annotated[Path, typer.Option("--trained", help="counts.jsonl of the trained model.")],
    k: Annotated[int, typer.Option("--k", help="The k of pass@k(base) - pass@1(trained).")] = 256,
    confidence: Annotated[float, typer.Option("--confidence", help="Of the interval.")] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a sentence.")] = False,
) -> None:
    """The sampling efficiency gap of two counts files, wherever they came from."""
    from benchmarks.statistics.counts import read_counts
    from benchmarks.statistics.gap import sampling_efficiency_gap

    result = sampling_efficiency_gap(read_counts(base), read_counts(trained), k, confidence, seed)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
        return
    print(
        f"gap {100 * result.gap:.1f} points [{100 * result.low:.1f}, {100 * result.high:.1f}] = "
        f"pass@{k} of the base {100 * result.base_pass_at_k:.1f} % - "
        f"pass@1 of the trained model {100 * result.trained_pass_at_1:.1f} %, {result.n_problems} problems"
    )


@app.command()
def leaderboard(
    runs: Annotated[Path, typer.Option("--runs", help="Of all runs, a suite's runs, or a cell.")] = Path("runs"),
    out: Annotated[Path, typer.Option("--out", help="The page.")] = Path("leaderboards/site/index.html"),
) -> None:
    """Build one self-contained HTML page from all records under RUNS."""
    from leaderboards.build import build

    page = build(runs, out)
    for broken in page.broken:
        print(f"not shown: {broken}", file=sys.stderr)
    print(f"{page} shows {page.n_records} records")


@app.command(name="list")
def list_() -> None:
    """Everything that has a name: algorithms, suites, tasks, verifiers, engines, prompt templates, import formats."""
    from algorithms import ALGORITHMS
    from benchmarks.engines import ENGINES
    from benchmarks.importers import IMPORTERS
    from benchmarks.launchers import LAUNCHERS
    from benchmarks.suites import schema as suite
    from benchmarks.tasks import TASKS
    from benchmarks.tasks.prompts import CHAT, TEMPLATES
    from benchmarks.verifiers import VERIFIERS

    tables: dict[str, Iterable[str]] = {
        "algorithms": ALGORITHMS, "suites": suite.known(), "tasks": TASKS, "verifiers": VERIFIERS,
        "engines": ENGINES, "prompt templates": [*TEMPLATES, CHAT], "launchers": LAUNCHERS, "import formats": IMPORTERS,
    }  # fmt: skip
    for kind, table in tables.items():
        print(f"{kind}: {' '.join(sorted(table))}")


def _load_suite(name: str, model: str, changes: list[str] | None = None) -> Suite:
    from benchmarks.suites import schema as suite

    loaded = suite.with_changes(suite.load(name), changes or [])
    return loaded.model_copy(update={"base_model": model, "base_revision": None}) if model else loaded


def main() -> None:
    """The console script."""
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
    """One command in this process. Wrong input: UsageError; could not be done: Failure; Ctrl-C: KeyboardInterrupt."""
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
