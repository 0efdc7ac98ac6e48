"""Draws the figures of a study's page: history, slices, importances, rungs, the front, and the finalists.

Everything is pass@1 on the validation split in percent, whatever the objective: the base's pass@k is the same for all
trials, so a higher pass@1 is a lower gap. `style.py` has the looks. None of these figures shows a test split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from benchmarks.records.study import Parameter, Setting, State, StudySummary, Trial
from leaderboards.style import COLOURS, INK, Picture, brief, legend, legend_columns, styled

MARKS: dict[State, str] = {"complete": "o", "pruned": "x", "diverged": "P", "failed": "v"}
"""State of a trial that has ended -> its marker."""
_COLOUR: dict[State, str] = {"complete": COLOURS[0], "pruned": COLOURS[1], "diverged": COLOURS[3], "failed": INK}
_FINALIST = COLOURS[2]
_BELOW = 0.03
"""Height at which trials without a score stand, as a share of the axis."""
_MARGIN = 0.14
"""Room for them below the lowest score."""


def short_name(parameter: str) -> str:
    """`training.algorithms.dapo.clip_high` -> `clip_high`."""
    return parameter.rpartition(".")[2]


def history(summary: StudySummary) -> Figure:
    """The score of every trial in order, with the best so far."""
    with styled():
        figure, axes = _figure(4.8, 3.5)
        best, steps = 0.0, list[tuple[int, float]]()
        for trial in summary.complete:
            best = max(best, trial.score or 0.0)
            steps.append((trial.number, 100 * best))
        if steps:
            axes.step(*zip(*steps, strict=True), where="post", color=INK, linewidth=1.2, alpha=0.6)
        for trial in summary.trials:
            _mark(axes, trial, trial.number)
        axes.set(xlabel="trial", ylabel="pass@1 (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=_MARGIN)
        shown = _shown(summary) | {"best so far": Line2D([], [], color=INK, linewidth=1.2, alpha=0.6)}
        _finish(figure, axes, shown)
    return figure


def slice_of(summary: StudySummary, parameter: Parameter) -> Figure:
    """The score over one parameter, with the default as a dashed line. The legend is that of `history`."""
    with styled():
        figure, axes = _figure(4.8, 2.9)
        _slice(axes, summary.trials, parameter)
        axes.set_ylabel("pass@1 (%)")
        axes.margins(y=_MARGIN)
    return figure


def _slice(axes: Axes, trials: Sequence[Trial], parameter: Parameter) -> None:
    if parameter.choices is None:
        values = [*(trial.params.get(parameter.name) for trial in trials), parameter.default]
        place = {str(value): float(str(value)) for value in values if value is not None}
        if parameter.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        names = parameter.choices
        place = {name: float(position) for position, name in enumerate(names)}
        axes.set_xticks(range(len(names)), [brief(name, 12) for name in names])
        axes.set_xlim(-0.6, len(names) - 0.4)
    for trial in trials:
        if (value := trial.params.get(parameter.name)) is not None and str(value) in place:
            _mark(axes, trial, place[str(value)])
    if parameter.default is not None and str(parameter.default) in place:
        axes.axvline(place[str(parameter.default)], color=INK, linestyle=(0, (4, 2)), linewidth=1.2)
    axes.set_xlabel(brief(short_name(parameter.name), 32))
    sns.despine(ax=axes)


def importances(summary: StudySummary) -> Figure:
    """The share of each parameter, with what it has by chance."""
    known = [one for one in summary.parameters if one.importance is not None][::-1]
    with styled():
        figure, axes = _figure(4.8, 1.2 + 0.36 * len(known))
        names = [brief(short_name(one.name), 26) for one in known]
        axes.barh(range(len(known)), [100 * (one.importance or 0.0) for one in known], height=0.6, color=COLOURS[0])
        chance = [100 * (one.by_chance or 0.0) for one in known]
        axes.scatter(chance, range(len(known)), marker="|", s=220, linewidths=2.2, color=COLOURS[1], zorder=3)
        axes.set_yticks(range(len(known)), names)
        axes.set(xlabel="importance (%)", xlim=(0, 105))
        axes.grid(visible=False, axis="y")
        mark = Line2D([], [], color=COLOURS[1], marker="|", markersize=13, markeredgewidth=2.2, linestyle="none")
        _finish(figure, axes, {"by chance in 1 of 20 studies": mark}, 56)
    return figure


def rungs(summary: StudySummary) -> Figure:
    """pass@1 over the share of the budget: where trials were pruned."""
    with styled():
        figure, axes = _figure(4.8, 3.5)
        for trial in (one for one in summary.trials if one.rungs):
            points = dict(trial.rungs) | ({100: trial.score} if trial.score is not None else {})
            xs, ys = sorted(points), [100 * points[x] for x in sorted(points)]
            colour = _COLOUR.get(trial.state, INK)
            axes.plot(xs, ys, color=colour, linewidth=1.1, alpha=0.75)
            axes.plot(
                xs[-1:], ys[-1:], color=colour, marker=MARKS.get(trial.state, "."), markersize=6, linestyle="none"
            )
        axes.set(xlabel="share of the budget (%)", ylabel="pass@1 (%)", xlim=(0, 104))
        _finish(figure, axes, _shown(summary))
    return figure


def front(summary: StudySummary) -> Figure:
    """pass@k over pass@1, with the trials that no other one beats in both."""
    with styled():
        figure, axes = _figure(4.8, 3.5)
        points = {
            t.number: (100 * (t.score or 0), 100 * t.pass_at_k) for t in summary.complete if t.pass_at_k is not None
        }
        best = sorted(points[number] for number in summary.front if number in points)
        if best:
            axes.plot(*zip(*best, strict=True), color=_FINALIST, linewidth=1.4)
        for number, (x, y) in points.items():
            on = number in summary.front
            axes.plot(x, y, marker="D" if on else "o", color=_FINALIST if on else COLOURS[0], markersize=6)
            if on:
                axes.annotate(str(number), (x, y), textcoords="offset points", xytext=(5, 5), fontsize="small")
        axes.set(xlabel="pass@1 (%)", ylabel=f"pass@{summary.k} (%)")
        axes.margins(0.12)
        shown = {
            "on the front": Line2D([], [], color=_FINALIST, marker="D", linewidth=1.4),
            "beaten in both": Line2D([], [], color=COLOURS[0], marker="o", linestyle="none"),
        }
        _finish(figure, axes, shown)
    return figure


def finalists(summary: StudySummary) -> Figure:
    """Fresh runs of the default and of the finalists, their means, and what the finalists' own trials showed."""
    settings = [one for one in (summary.default, *summary.finalists) if one]
    scores = {trial.number: trial.score for trial in summary.trials}
    with styled():
        figure, axes = _figure(4.8, 1.5 + 0.45 * len(settings))
        for row, setting in enumerate(settings):
            _setting(axes, -row, setting, scores.get(setting.trial) if setting.trial is not None else None)
        names = ["default" if one.trial is None else f"trial {one.trial}" for one in settings]
        axes.set_yticks([-row for row in range(len(settings))], names)
        axes.set_ylim(0.6 - len(settings), 0.6)
        axes.set_xlabel("pass@1 (%)")
        axes.grid(visible=False, axis="y")
        shown = {
            "run with a fresh seed": _point(COLOURS[0], "o"),
            "mean of fresh runs": _point(INK, "|"),
            "own trial": _point(COLOURS[1], "D", hollow=True),
        }
        _finish(figure, axes, shown)
    return figure


def _setting(axes: Axes, y: float, setting: Setting, own: float | None) -> None:
    scores = [100 * repeat.score for repeat in setting.repeats if repeat.score is not None]
    axes.plot(scores, [y] * len(scores), marker="o", color=COLOURS[0], markersize=5, linestyle="none", alpha=0.8)
    if scores:
        axes.plot([sum(scores) / len(scores)], [y], marker="|", color=INK, markersize=16, markeredgewidth=2)
    if own is not None:
        axes.plot([100 * own], [y], marker="D", color=COLOURS[1], markersize=7, markerfacecolor="none")


# ------------------------------------------------------------------------------------------------ parts


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Picture(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _mark(axes: Axes, trial: Trial, x: float) -> None:
    """The trial's score, or, for one that ended without a score, a mark at the bottom of the axes."""
    if trial.state not in MARKS or (trial.state == "complete" and trial.score is None):
        return
    style: dict[str, Any] = {"marker": MARKS[trial.state], "color": _COLOUR[trial.state], "markersize": 6}
    if trial.score is not None:
        axes.plot([x], [100 * trial.score], linestyle="none", **style)
    else:
        axes.plot([x], [_BELOW], transform=axes.get_xaxis_transform(), linestyle="none", clip_on=False, **style)


def _point(colour: str, marker: str, hollow: bool = False) -> Line2D:
    face = "none" if hollow else colour
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=7, markerfacecolor=face)


def _shown(summary: StudySummary) -> dict[str, Line2D]:
    """What a legend shows of the states that there are."""
    return {state: _point(_COLOUR[state], marker) for state, marker in MARKS.items() if summary.count(state)}


def _finish(figure: Figure, axes: Axes, shown: dict[str, Line2D], width: int = 64) -> None:
    sns.despine(ax=axes)
    legend(figure, shown, legend_columns(list(shown), width))
