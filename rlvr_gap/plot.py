"""Figures of runs. Each function returns a matplotlib figure, which a notebook shows and `savefig` writes.

    curves      pass@k of the base and of the algorithms
    forest      the sampling efficiency gap of each algorithm with its interval
    training    reward, accuracy, entropy and completion length over the steps of training
    accuracy    pass@1 of the base against that of the trained models, problem by problem

An algorithm has the same colour in all figures of the same runs, also after `Runs.select`, and on the page.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.errors import UsageError, unknown
from benchmarks.records.schema import BASE
from benchmarks.statistics.designs import JudgedBy
from leaderboards import frames, plots
from leaderboards.sections import Section
from leaderboards.style import INK, Picture, brief, legend, legend_columns, look, mark, styled
from leaderboards.summary import cell_name, label
from rlvr_gap.runs import Runs

PANELS_IN_A_ROW = 4


def curves(runs: Runs, dataset: str | None = None, verdict: JudgedBy = "answer", bands: bool = True) -> Figure:
    """pass@k over k, one panel for each dataset (or for `dataset`), with pointwise 95 % bands.

    Raises UsageError for a dataset or verdict that is not known of the runs.
    """
    found = [(section, lines) for section in _sections(runs, dataset) if (lines := frames.lines(section, verdict))]
    if not found:
        raise UsageError(f"there are no curves by the verdict '{verdict}' here.")
    shown = {name: one for _, lines in found for name, one in plots.handles(lines).items()}
    with styled():
        figure, panels, columns = _panels(len(found), 4.8, 3.35, list(shown))
        for axes, (section, lines) in zip(panels, found, strict=True):
            plots.draw_curves(axes, lines, _title(section, found), bands)
        legend(figure, shown, columns)
    return figure


def forest(runs: Runs, dataset: str | None = None, verdict: JudgedBy = "answer") -> Figure:
    """The gap of each algorithm with its interval, smallest first; the dashed line is the base's own gap.

    Intervals are over problems and seeds. Raises UsageError as `curves`.
    """
    table = runs.table()
    table = table[table["verdict"] == verdict]
    found = [(one, part) for one in _sections(runs, dataset) if len(part := table[table["section"] == one.number]) > 1]
    if not found:
        raise UsageError(f"there is no gap by the verdict '{verdict}' here: a gap needs a base and a trained model.")
    with styled():
        figure, panels, _ = _panels(len(found), 4.8, 1.1 + 0.27 * max(len(part) for _, part in found), [])
        for axes, (section, part) in zip(panels, found, strict=True):
            _draw_forest(axes, part, runs)
            xlabel = f"gap at k = {section.k} (points)\nlower is better; in brackets: seeds"
            axes.set(title=_title(section, found), xlabel=xlabel, ylabel="")
    return figure


def _draw_forest(axes: Axes, table: pd.DataFrame, runs: Runs) -> None:
    base = table[table["label"] == BASE]
    trained = table[table["label"] != BASE].dropna(subset="gap").sort_values("gap", ascending=False)
    for place, (_, row) in enumerate(trained.iterrows()):
        style = {"color": look(runs.colours[row["label"]])["color"]}
        axes.plot([100 * row["gap_low"], 100 * row["gap_high"]], [place, place], linewidth=2, **style)
        marker = {"marker": mark(runs.colours[row["label"]]), "s": 55, "legend": False, "zorder": 3}
        sns.scatterplot(x=[100 * row["gap"]], y=[place], ax=axes, **marker, **style)
    names = [f"{brief(row['label'], 30)} ({row['seeds']})" for _, row in trained.iterrows()]
    axes.set_yticks(range(len(trained)), names)
    axes.set_ylim(-0.6, len(trained) - 0.4)
    if len(base):
        axes.axvline(100 * float(base["gap"].iloc[0]), **look(None))
        low, high = (100 * float(base[f"gap_{side}"].iloc[0]) for side in ("low", "high"))
        axes.axvspan(low, high, color=INK, alpha=0.08, linewidth=0)
    sns.despine(ax=axes, left=True)
    axes.tick_params(axis="y", length=0)


def training(runs: Runs, metrics: Sequence[str] = tuple(plots.TRAINING_AXES)) -> Figure:
    """Metrics over the steps of training, one line for each seed.

    A line of more than 60 steps shows means over windows. UsageError for an unknown metric, or if there is no log.
    """
    for metric in metrics:
        if metric not in plots.TRAINING_AXES:
            raise unknown("metric", metric, plots.TRAINING_AXES)
    logs = [
        plots.Training(name, log, runs.colours[name])
        for entry in runs.entries
        if (name := label(entry.record.cell)) != BASE and (log := frames.training_log(entry)) is not None
    ]
    if not logs:
        raise UsageError("no run here has a training log, train/log.jsonl.")
    return plots.training(logs, metrics)


def accuracy(runs: Runs, dataset: str | None = None) -> Figure:
    """pass@1 of each problem, base against trained model: one panel for each algorithm, means over its seeds.

    A problem above the diagonal is one that training made easier. `dataset` is the first one where none is named.
    Raises UsageError for an unknown dataset, or if there is no base.
    """
    section = _sections(runs, dataset or (runs.datasets or [""])[0])[0]
    problems = runs.problems()
    problems = problems[(problems["dataset"] == section.key.dataset) & problems["cell"].isin(_cells(section))]
    means = problems.groupby(["label", "problem_id"])["pass_at_1"].mean().unstack("label")
    if BASE not in means or len(means.columns) < 2:
        raise UsageError(f"'{section.key.dataset}' has no base, or nothing to compare with it.")
    names = [name for name in means.columns if name != BASE]
    with styled():
        figure, panels, _ = _panels(len(names), 2.7, 2.75, [])
        for axes, name in zip(panels, names, strict=True):
            axes.plot([0, 100], [0, 100], color=INK, linewidth=1, alpha=0.5)
            style = {"color": look(runs.colours[name])["color"], "s": 16, "alpha": 0.45, "linewidth": 0}
            sns.scatterplot(x=100 * means[BASE], y=100 * means[name], ax=axes, legend=False, **style)
            axes.set(title=brief(name, 26), xlabel="base, pass@1 (%)", ylabel="trained, pass@1 (%)", aspect="equal")
            sns.despine(ax=axes)
    return figure


def _cells(section: Section) -> list[str]:
    rows = [*([section.base] if section.base else []), *section.counting]
    return [cell_name(row.entry.record.cell) for row in rows]


def _sections(runs: Runs, dataset: str | None) -> list[Section]:
    if dataset is not None and dataset not in runs.datasets:
        raise unknown("dataset", dataset, runs.datasets)
    return [section for section in runs.sections if dataset is None or section.key.dataset == dataset]


def _title(section: Section, among: Sequence[tuple[Section, object]]) -> str:
    """The dataset, and the suite where there are several."""
    suites = {one.rows[0].entry.record.suite.name for one, _ in among}
    suite = section.rows[0].entry.record.suite.name
    return section.key.dataset if len(suites) == 1 else f"{suite}: {section.key.dataset}"


def _panels(count: int, width: float, height: float, names: Sequence[str]) -> tuple[Figure, list[Axes], int]:
    """A figure of `count` panels of that size in inches, and the number of columns of a legend with those names."""
    across = min(count, PANELS_IN_A_ROW if width < 4 else 2)
    down = -(-count // across)
    columns = legend_columns(names, round(13.3 * width * across)) if names else 0
    size = (width * across, height * down + 0.21 * (-(-len(names) // columns) if columns else 0))
    figure = Picture(figsize=size, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flatten())
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count], columns
