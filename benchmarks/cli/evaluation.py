"""The commands that measure a model: `evaluate`, `unsolved` for problems it lost, and `gap` for existing counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from benchmarks.cli.options import (
    EngineOption,
    OutOption,
    QuietOption,
    SuiteOption,
    VerdictOption,
    WorkersOption,
    load_suite,
    read_verdict,
    say_home,
)
from benchmarks.errors import UsageError

KOption = Annotated[
    int | None, typer.Option("--k", min=1, help="The k of the gap and the largest of pass@k; default: the suite's.")
]
GreedyOption = Annotated[
    bool, typer.Option("--greedy", help="One sample of each problem at temperature 0; then only pass@1 is known.")
]
DrawOption = Annotated[int, typer.Option("--seed", min=0, help="Draws other samples, in a folder of their own.")]
EvaluationChangesOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting, such as evaluation.sampling.temperature=0.6; repeatable."),
]
StopOption = Annotated[
    list[str] | None, typer.Option("--stop", help="With --regrade: cut completions before this text; repeatable.")
]
StopAfterOption = Annotated[
    list[str] | None, typer.Option("--stop-after", help="With --regrade: cut them behind this text; repeatable.")
]
SampledOption = Annotated[
    str | None, typer.Option("--model", help="Model for samples that a re-grade lacks; default: the run's.")
]


def evaluate(
    model: Annotated[str, typer.Argument(help="Folder or hub id of a model; with --regrade, the folder of a run.")],
    suite: SuiteOption = "countdown",
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="Dataset, repeatable; default: all.")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Largest number of samples per problem.")] = None,
    design: Annotated[str | None, typer.Option("--design", help="sequential or fixed; default: the suite's.")] = None,
    name: Annotated[str, typer.Option("--name", help="Names the run's folder, OUT/SUITE/model-NAME.")] = "",
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of a hub model.")] = None,
    regrade: Annotated[bool, typer.Option("--regrade", help="Grade the stored completions of a run again.")] = False,
    sampled: SampledOption = None,
    k: KOption = None,
    greedy: GreedyOption = False,
    seed: DrawOption = 0,
    changes: EvaluationChangesOption = None,
    stop: StopOption = None,
    stop_after: StopAfterOption = None,
    engine: EngineOption = "auto",
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Evaluate any model in the same way as the suite's own models.

    It prints pass@k and other estimates with 95 % intervals, and the gap if OUT holds the base's record of the same
    suite. A changed setting (--set, --n, --k, --greedy) makes another suite, whose runs go to a folder of their own.

    With --regrade, MODEL is the folder of a finished run, OUT/SUITE/CELL: today's verifier grades its stored
    completions again, and the record is rewritten. Re-grade the base of a suite first, and then the runs that are
    measured from it. With --stop or --stop-after, the completions are cut anew at these texts, in place of the stops
    that they were sampled with.
    """
    from benchmarks.cli.results import show, show_estimates
    from benchmarks.progress import Progress
    from benchmarks.runs.home import settle
    from benchmarks.runs.model_run import ModelRun, adapted
    from benchmarks.runs.run_folder import Place

    if regrade:
        if n or design or k or greedy or seed or changes:
            raise UsageError(
                "--n, --design, --k, --greedy, --seed and --set do not go with --regrade: "
                "stored samples keep their design and their settings."
            )
        _regrade(Path(model), dataset or [], sampled, (stop or [], stop_after or []), workers, quiet)
        return
    if stop or stop_after:
        raise UsageError("--stop and --stop-after are for --regrade; a suite's stops are set in its file (stops:).")
    if sampled:
        raise UsageError("--model is only for --regrade: give the model to evaluate as the argument.")
    own = load_suite(suite, "")
    asked = adapted(own, changes or [], n, design, k, greedy)
    tag = "" if asked.hash == own.hash else f"{'greedy-' * greedy}{asked.hash[:8]}"
    with Progress(quiet) as progress:
        place = settle(Place(out, engine, workers, progress=progress), asked)
        run = ModelRun(asked, model, place, revision, name, tuple(dataset or ()), seed, tag)
        say_home(run.folder.parent, asked.name, progress)
        record = run.run()
    show_estimates(record, run.folder)
    show([record, *filter(None, [run.base()])] if record.gap else [], run.folder.parent, run.folder)


def _regrade(
    folder: Path, datasets: list[str], model: str | None, stops: tuple[list[str], list[str]], workers: int | None,
    quiet: bool,
) -> None:  # fmt: skip
    """Grades a run's completions again and prints what changed."""
    from benchmarks.cli.results import show
    from benchmarks.progress import Progress
    from benchmarks.runs.regrade_run import RunFolder
    from benchmarks.runs.run_folder import Place
    from benchmarks.settings import Stops, explain

    other = None
    if any(stops):
        try:
            other = Stops.model_validate({"before": tuple(stops[0]), "after": tuple(stops[1])})
        except ValidationError as error:
            raise UsageError(f"--stop: {explain(Stops, error)}") from error
    with Progress(quiet) as progress:
        done = RunFolder.read(folder).regrade(Place(workers=workers, progress=progress), datasets, model, other)
    for name, found in done.datasets.items():
        drawn = f", {found.result.sampled} more drawn" if found.result and found.result.sampled else ""
        print(f"{name}: {found.changed} verdicts changed{drawn}")
    if done.stale:
        print("The gaps of these runs come from the old verdicts; renew each of them with evaluate RUN --regrade:")
        print("\n".join(f"    {path}" for path in done.stale))
    show([done.record], folder.parent, folder)


def unsolved(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run of a trained model, OUT/SUITE/CELL.")],
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="Dataset; repeatable; default: all.")] = None,
    up_to: Annotated[int, typer.Option("--up-to", min=1, help="Most samples per problem, with the run's own.")] = 4096,
    verdict: VerdictOption = "answer",
    model: Annotated[str | None, typer.Option("--model", help="Model to sample from; default: the run's own.")] = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Draw more samples for the problems that the base solved and this model did not, to see which are really lost.

    A problem stops after the round with its first correct sample. All samples are stored under RUN/unsolved and are
    never mixed into the run's own counts. You can interrupt the command and repeat it, or repeat it with a larger
    --up-to: it keeps what it has drawn.
    """
    from benchmarks.progress import Progress
    from benchmarks.runs.regrade_run import RunFolder
    from benchmarks.runs.run_folder import Place
    from benchmarks.runs.unsolved_run import Unsolved, checkpoints, draw_for_unsolved

    def show(found: Unsolved) -> None:
        total = len(found.solved) + len(found.unsolved)
        print(f"{found.dataset}: {total} problems solved by the base and not in {found.n:,} samples of {run.name}")
        for _, at in checkpoints(found.n, found.up_to):
            print(f"  solved within {at:,} samples: {found.solved_within(at)}")
        limit = "" if found.upper_limit is None else f", each p below {100 * found.upper_limit:.2g} %"
        level = "" if found.upper_limit is None else f" ({100 * found.confidence:g} % upper limit, new samples alone)"
        print(f"  still unsolved after {found.up_to:,}: {len(found.unsolved)}{limit}{level}")

    judge, folder = read_verdict(verdict), RunFolder.read(run)
    with Progress(quiet) as progress:
        place = Place(workers=workers, progress=progress)
        names = dataset or list(folder.record.evaluations)
        found = [draw_for_unsolved(folder, name, up_to, place, judge, model) for name in names]
    for one in found:
        show(one)


def gap(
    base: Annotated[Path, typer.Option("--base", help="The counts.jsonl of the base.")],
    trained: Annotated[Path, typer.Option("--trained", help="The counts.jsonl of the trained model.")],
    k: Annotated[int, typer.Option("--k", help="The k of pass@k(base) - pass@1(trained).")] = 256,
    confidence: Annotated[float, typer.Option("--confidence", help="Of the interval.")] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    verdict: VerdictOption = "answer",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a sentence.")] = False,
) -> None:
    """The sampling efficiency gap of two counts files, wherever they came from.

    `--verdict sound` needs files that count sound answers and whose sampling did not stop on answers alone.
    """
    from benchmarks.statistics.counts import Counts, read_counts
    from benchmarks.statistics.gap import sampling_efficiency_gap

    judge = read_verdict(verdict)

    def read(path: Path) -> Counts:
        try:
            return read_counts(path).judged_by(judge)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error

    result = sampling_efficiency_gap(read(base), read(trained), k, confidence, seed)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
        return
    print(
        f"gap {100 * result.gap:.1f} points [{100 * result.low:.1f}, {100 * result.high:.1f}] = "
        f"pass@{k} of the base {100 * result.base_pass_at_k:.1f} % - "
        f"pass@1 of the trained model {100 * result.trained_pass_at_1:.1f} %, {result.n_problems} problems"
    )
