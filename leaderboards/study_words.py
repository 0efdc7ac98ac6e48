"""Says what a study found, in the same words on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.records.study import STATES, Setting, Span, StudySummary
from benchmarks.statistics.selection import expected_luck
from leaderboards.summary import NONE, percent, points, short

OBJECTIVES = {"gap": "sampling efficiency gap", "pass_at_1": "pass@1", "pareto": "pass@1 and pass@k"}
FEW_TRIALS_A_PARAMETER = 10
"""With fewer complete trials for each parameter, importances are a hint at most."""


def with_span(found: Span | None, show: Callable[[float], str] = percent) -> str:
    """ "29.6 [27.1, 32.0]"; without the brackets where the ends are not known."""
    if found is None:
        return NONE
    if found.low is None or found.high is None:
        return show(found.value)
    return f"{show(found.value)} [{show(found.low)}, {show(found.high)}]"


def setting_name(setting: Setting) -> str:
    """ "default" or "trial 7"."""
    return "default" if setting.trial is None else f"trial {setting.trial}"


def changes(found: tuple[str, ...]) -> str:
    """`training.learning_rate=5e-5, ...` without the section that all of them share."""
    return ", ".join(_rounded(change.removeprefix("training.")) for change in found) or "the suite's own settings"


def _rounded(change: str) -> str:
    """`learning_rate=0.00018789852661499484` -> `learning_rate=0.0001879`, for reading; the preset has all digits."""
    key, equals, value = change.partition("=")
    try:
        return f"{key}{equals}{float(value):.4g}"
    except ValueError:
        return change


def decision(summary: StudySummary) -> str:
    """Which settings the study ends with, and why."""
    if summary.objective == "pareto":
        return "The study has two objectives, so it has a front of settings and none that is the best."
    if summary.selected is None:
        return (
            "No setting is chosen yet: the default and at least one finalist must be run with fresh seeds, because the "
            "best trial may only have been lucky."
        )
    leading = next((one for one in summary.finalists if one.trial == summary.best), None)
    if summary.best is None or leading is None:
        return (
            "The default stays: on fresh seeds no finalist leads it by more than the simultaneous intervals leave open."
        )
    lead = with_span(leading.lead, points)
    return f"Trial {summary.best} replaces the default. On fresh seeds its lead is {lead} points of pass@1."


def luck(summary: StudySummary) -> str:
    """How much of the winner's lead was selection; or how much one must expect."""
    found = summary.selected
    if found is None:
        trials = max(1, len(summary.complete))
        return (
            f"The best of {trials} equally good settings looks {expected_luck(trials):.2f} standard deviations of the "
            "noise better than it is. Only fresh seeds can say how much of a lead that was."
        )
    noise = "is not known" if found.noise is None else f"has a standard deviation of {100 * found.noise:.1f} points"
    return (
        f"In its own run, trial {found.winner} led the default by {points(found.seen)} points. On fresh seeds it leads "
        f"by {with_span(found.fresh, points)} points. The rest, {with_span(found.luck, points)} points, was selection. "
        f"The noise of one run {noise}."
    )


def cost(summary: StudySummary) -> str:
    """What tuning generated, and what pruning saved."""
    spent = summary.spent
    share = f" ({100 * spent.saved / (spent.trials + spent.saved):.0f} %)" if spent.saved else ""
    return (
        f"{short(spent.trials + spent.repeats)} tokens: {short(spent.trials)} in trials and {short(spent.repeats)} in "
        f"runs with fresh seeds. Stopping trials early saved {short(spent.saved)} tokens{share}."
    )


def states(summary: StudySummary) -> str:
    """ "12 trials: 9 complete, 2 pruned, 1 diverged"."""
    found = [f"{summary.count(state)} {state}" for state in STATES if summary.count(state)]
    asked = "" if len(summary.trials) == summary.asked_trials else f" of {summary.asked_trials}"
    return f"{len(summary.trials)}{asked} trials: {', '.join(found) or 'none has begun'}"


def warning(summary: StudySummary) -> str:
    """Why importances mean little here; empty where there is no such reason."""
    complete, parameters = len(summary.complete), len(summary.parameters)
    if summary.importance_quantile is None:
        return f"{complete} complete trials are too few for importances."
    quiet = [one.name for one in summary.parameters if (one.importance or 0) <= (one.by_chance or 0)]
    said = []
    if complete < FEW_TRIALS_A_PARAMETER * parameters:
        said.append(f"{complete} complete trials for {parameters} parameters are few: take importances as a hint.")
    if len(quiet) == parameters:
        said.append("No parameter has more importance than chance gives one.")
    elif quiet:
        said.append(f"No more than chance gives: {', '.join(one.removeprefix('training.') for one in quiet)}.")
    return " ".join(said)
