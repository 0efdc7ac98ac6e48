"""Makes the tables that `rlvr-gap sweep show` prints."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.records.study import StudySummary
from leaderboards import study_words as words
from leaderboards.summary import NONE, number, percent, points, short
from leaderboards.terminal import plain_table

BEST_TRIALS = 5


def study_tables(summary: StudySummary) -> list[RenderableType]:
    """The facts, the finalists on fresh seeds, the best trials of their own runs, importances, and what ended early."""
    tables = [_facts(summary), _finalists(summary), _trials(summary), _importances(summary), _early(summary)]
    return [table for table in tables if table is not None]


def _facts(summary: StudySummary) -> Table:
    table = plain_table(f"{summary.suite}: {summary.study}", "")
    table.add_column("")
    table.add_column("", overflow="fold")
    rows = {
        "algorithm": summary.algorithm,
        "objective": f"{words.OBJECTIVES[summary.objective]} on the validation split",
        "trials": words.states(summary),
        "cost": words.cost(summary),
        "settings": words.decision(summary),
        "selection": words.luck(summary),
    }
    for name, text in rows.items():
        table.add_row(name, Text(text))
    return table


def _finalists(summary: StudySummary) -> Table | None:
    settings = [one for one in (summary.default, *summary.finalists) if one]
    if not settings:
        return None
    table = plain_table("fresh seeds", "in %, the lead in points of pass@1; all leads hold at once")
    for name in ("setting", "seeds", words.OBJECTIVES[summary.objective], "lead over the default", "changes"):
        table.add_column(name, overflow="fold")
    for one in settings:
        diverged = f" ({one.diverged} diverged)" if one.diverged else ""
        cells = [
            words.setting_name(one), f"{len(one.repeats)}{diverged}", words.with_span(one.objective),
            words.with_span(one.lead, points) if one.trial is not None else NONE, words.changes(one.changes),
        ]  # fmt: skip
        table.add_row(*map(Text, cells))
    return table


def _trials(summary: StudySummary) -> Table | None:
    best = sorted(summary.complete, key=lambda trial: -(trial.score or 0.0))[:BEST_TRIALS]
    if not best:
        return None
    caption = "in % [95 % interval over problems]; a trial is one run, so the first of these was probably lucky too"
    table = plain_table("best trials of their own runs", caption)
    for name in ("trial", words.OBJECTIVES[summary.objective], "pass@1", f"pass@{summary.k}", "changes"):
        table.add_column(name, overflow="fold")
    for trial in best:
        cells = [str(trial.number), words.with_span(trial.objective), percent(trial.score), percent(trial.pass_at_k)]
        table.add_row(*map(Text, [*cells, words.changes(trial.changes)]))
    return table


def _importances(summary: StudySummary) -> Table:
    table = plain_table("parameters", words.warning(summary))
    for name in ("parameter", "range", "default", "importance", "by chance up to"):
        table.add_column(name, overflow="fold")
    for one in summary.parameters:
        default = NONE if one.default is None else str(one.default)
        table.add_row(*map(Text, [one.name, one.range, default, percent(one.importance), percent(one.by_chance)]))
    return table


def _early(summary: StudySummary) -> Table | None:
    early = [trial for trial in summary.trials if trial.state in ("pruned", "diverged", "failed")]
    if not early:
        return None
    table = plain_table("trials without a score", "")
    for name in ("trial", "state", "tokens", "reason"):
        table.add_column(name, overflow="fold")
    for trial in early:
        reason = trial.reason or "no reason is given"
        table.add_row(*map(Text, [number(trial.number), trial.state, short(trial.tokens), reason]))
    return table
