"""Makes the table that a terminal shows of one model: pass@k, Cover@tau, maj@k and others, each with its interval."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.evaluation.stored import read_votes
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import Record
from benchmarks.statistics.estimates import Line, estimates
from leaderboards.summary import NONE, cell_name, invalid, number, percent, short, span
from leaderboards.terminal import DATASETS_SIDE_BY_SIDE, plain_table


def estimate_tables(record: Record, folder: Path) -> list[RenderableType]:
    """Returns one table for each pair of datasets. `folder` holds the record. Raises Failure for damaged files."""
    names = list(record.evaluations)
    pairs = [names[i : i + DATASETS_SIDE_BY_SIDE] for i in range(0, len(names), DATASETS_SIDE_BY_SIDE)]
    title = Text(f"{record.suite.name}: {cell_name(record.cell)}", style="bold")
    return [title, *(part for pair in pairs for part in (_table(record, folder, pair), Text("")))]


def _table(record: Record, folder: Path, datasets: list[str]) -> Table:
    columns = [_column(record, folder, name) for name in datasets]
    table = plain_table("", "in % [95 % interval over problems]")
    table.add_column("")
    for name in datasets:
        table.add_column(Text(name), justify="right", overflow="fold")
    for row in dict.fromkeys(row for column in columns for row in column):
        table.add_row(row, *(Text(column.get(row, NONE)) for column in columns))
    return table


def _column(record: Record, folder: Path, dataset: str) -> dict[str, str]:
    """The rows of one dataset: name -> text."""
    evaluation = record.evaluations[dataset]
    counts = read_evaluated(evaluation, folder)
    k = min(_largest_k(record, dataset), counts.design.max_k)
    votes = None if evaluation.completions_file is None else read_votes(folder / evaluation.completions_file.path)
    ordered = None if votes is None else [votes[problem_id] for problem_id in counts.problem_ids]
    rows = _texts(estimates(counts, k, ordered))
    if counts.has_sound:
        sound = estimates(counts.judged_by("sound"), k)
        rows |= {f"{name}, sound chain": text for name, text in _texts(sound).items() if name.startswith("pass@")}
    verdicts = evaluation.verdicts
    shares = {name: getattr(verdicts, name) for name in ("wrong", "truncated", "error")}
    rows |= {name: percent(share / verdicts.total) for name, share in shares.items() if share}
    rows |= {"problems": number(evaluation.n_problems), "completions": number(verdicts.total)}
    rows["tokens"] = short(evaluation.tokens)
    return rows if evaluation.valid else {**rows, "invalid": invalid(evaluation) or ""}


def _largest_k(record: Record, dataset: str) -> int:
    """The suite's k, or the largest one of a record that does not hold its suite."""
    suite = record.settings.get("suite")
    evaluation = suite.get("evaluation") if isinstance(suite, dict) else None
    asked = evaluation.get("k") if isinstance(evaluation, dict) else None
    return asked if isinstance(asked, int) else max(record.evaluations[dataset].pass_at_k)


def _texts(lines: list[Line]) -> dict[str, str]:
    shown = {line.name: line.estimate for line in lines}
    return {name: f"{percent(one.value)} {span(one.low, one.high, percent)}" for name, one in shown.items()}
