"""Measures what the sequential design saves and costs in precision against a fixed design of as many samples.

    python -m benchmarks.perf.sequential [--problems 48] [--runs runs/countdown]

For each model the same stage and pool evaluate the same problems twice, under both designs. The completions and the
wall time come from there. The Monte-Carlo standard errors of both come from the same samples: those of the fixed
design, and the ones among them that the sequential design would have drawn, taken in their order.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.errors import UsageError
from benchmarks.perf._stage import Setting, Timed, busy, evaluate, program, setting, warm_pool
from benchmarks.records.schema import BASE, read_record
from benchmarks.runs.run_folder import RECORD, TRAIN
from benchmarks.statistics.passk import Design, sampling_error
from benchmarks.suites.schema import Suite


@dataclass(frozen=True)
class MeasuredModel:
    """A model to evaluate."""

    name: str
    path: str
    revision: str | None = None


@dataclass(frozen=True)
class BothDesigns:
    """The results of both designs on one model."""

    name: str
    fixed: Timed
    sequential: Timed
    fixed_errors: tuple[float, float]
    """Monte-Carlo standard error of pass@1, and of pass@k at the largest k, in points."""
    sequential_errors: tuple[float, float]


def measure(asked: Setting, model: MeasuredModel) -> BothDesigns:
    """Evaluates the model under both designs."""
    with warm_pool(asked, model.path, model.revision) as pool:
        fixed = evaluate(asked, pool, asked.fixed, verdicts=True)
        sequential = evaluate(asked, pool, asked.sequential)
    stopped = [replay(samples, asked.sequential) for samples in fixed.verdicts.values()]
    counts = fixed.result.counts
    return BothDesigns(
        model.name,
        fixed,
        sequential,
        _errors([(n, c, 0) for n, c in zip(counts.n_N.tolist(), counts.c_N.tolist(), strict=True)], asked.fixed),
        _errors(stopped, asked.sequential),
    )


def replay(samples: Sequence[tuple[bool, bool]], design: Design) -> tuple[int, int, int]:
    """(n, c, s) in which the design would have stopped on these samples, taken in order: correct; and sound."""
    n = c = s = 0
    while (to := design.next_round(n, s if design.stop_on == "sound" else c)) is not None:
        c += sum(correct for correct, _ in samples[n:to])
        s += sum(sound for _, sound in samples[n:to])
        n = to
    return n, c, s


def _errors(states: Sequence[tuple[int, int, int]], design: Design) -> tuple[float, float]:
    n_N, c_N, s_N = zip(*states, strict=True)
    at_1, at_k = 100 * sampling_error(n_N, c_N, design, [1, design.max_k], s_N)
    return float(at_1), float(at_k)


# ------------------------------------------------------------------------------------------------ models


def models(suite: Suite, runs: Path | None) -> tuple[list[MeasuredModel], list[str]]:
    """Returns the suite's base model, or all finished cells under `runs` (a suite's or one), and what was left out."""
    if runs is None:
        return [MeasuredModel(BASE, suite.base_path, suite.base_revision)], []
    found: list[MeasuredModel] = []
    left_out: list[str] = []
    for path in sorted([*runs.glob(RECORD), *runs.glob(f"*/{RECORD}")]):
        folder, record = path.parent, read_record(path)
        if record.cell.algorithm == BASE and record.imported is None:
            found.insert(0, MeasuredModel(folder.name, suite.base_path, suite.base_revision))
        elif (policy := _policy(folder)) is not None:
            found.append(MeasuredModel(folder.name, str(policy)))
        else:
            left_out.append(folder.name)
    if not found:
        raise UsageError(f"--runs {runs}: there is no finished cell with its policy in it.")
    return found, left_out


def _policy(folder: Path) -> Path | None:
    """Returns the trained policy of a cell, or None if there is none (a model from elsewhere, imported counts)."""
    if not (folder / TRAIN).is_dir():
        return None
    from algorithms.train import FINAL

    return folder / TRAIN / FINAL if (folder / TRAIN / FINAL).is_dir() else None


# ------------------------------------------------------------------------------------------------ what is shown


def table(asked: Setting, rows: Sequence[BothDesigns]) -> Table:
    """Returns a table of shares and ratios, sequential over fixed, with errors in points."""
    k = asked.sequential.max_k
    shown = Table("model")
    for name in ("completions", "wall time", "s.e. pass@1", "ratio", f"s.e. pass@{k}", "ratio"):
        shown.add_column(name, justify="right")
    for row in rows:
        ratios = (share(_completions([row])), share(_seconds([row])))
        shown.add_row(row.name, *ratios, *_error_columns(row, 0), *_error_columns(row, 1))
    if len(rows) > 1:
        shown.add_section()
        shown.add_row(f"all {len(rows)}", share(_completions(rows)), share(_seconds(rows)), "", "", "", "")
    return shown


def _completions(rows: Sequence[BothDesigns]) -> tuple[float, float]:
    return sum(row.sequential.completions for row in rows), sum(row.fixed.completions for row in rows)


def _seconds(rows: Sequence[BothDesigns]) -> tuple[float, float]:
    return sum(row.sequential.seconds for row in rows), sum(row.fixed.seconds for row in rows)


def share(pair: tuple[float, float]) -> str:
    """Formats (part, whole) as "49 %"."""
    return f"{100 * pair[0] / pair[1]:.0f} %" if pair[1] else "-"


def _error_columns(row: BothDesigns, which: int) -> tuple[str, str]:
    sequential, fixed = row.sequential_errors[which], row.fixed_errors[which]
    return f"{fixed:.2f} -> {sequential:.2f}", f"{sequential / fixed:.2f}" if fixed else "-"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.sequential", description="Sequential over fixed.")
    parser.add_argument("--suite", default="countdown")
    parser.add_argument("--dataset", default=None, help="of the suite; default: its first")
    parser.add_argument("--problems", type=int, default=48, help="the first so many of the dataset")
    parser.add_argument("--runs", type=Path, default=None, help="a suite's runs: all cells, not the base alone")
    parser.add_argument("--workers", type=int, default=None, help="processes that sample; default: all cores")
    given = parser.parse_args(arguments)
    asked = setting(given.suite, given.problems, given.dataset, given.workers)
    found, left_out = models(asked.suite, given.runs)
    left_out, remark = [f"left out: {name} has no policy in it" for name in left_out], busy()
    console = Console(width=None if Console().is_terminal else 100)
    rows = [measure(asked, model) for model in found]
    console.print(f"{asked.sequential} over {asked.fixed}, {len(asked.problems)} problems of {asked.dataset}")
    console.print(table(asked, rows))
    console.print("s.e.: Monte-Carlo standard error given the problems, in points; ratio: sequential / fixed")
    for line in [*left_out, *filter(None, [remark])]:
        console.print(line, markup=False)


if __name__ == "__main__":
    program(main)
