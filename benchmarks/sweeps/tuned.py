"""Makes a preset of what studies found: `rlvr-gap sweep export`."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.errors import UsageError
from benchmarks.records.study import Setting, Span, StudySummary
from benchmarks.suites.preset import TUNED, Fresh, Preset, Tuned


def tuned_preset(summaries: Sequence[StudySummary], name: str = TUNED) -> Preset:
    """Returns the preset with an entry for the algorithm of each study.

    UsageError for studies of different suites, two of one algorithm, a study that fresh seeds have not decided, and
    one of two objectives, which has no single best setting.
    """
    first = summaries[0]
    algorithms: dict[str, Tuned] = {}
    for one in summaries:
        if (one.suite, one.suite_hash) != (first.suite, first.suite_hash):
            raise UsageError(
                f"study {one.study} is of suite {one.suite} ({one.suite_hash}) and {first.study} of {first.suite} "
                f"({first.suite_hash}): a preset belongs to one suite."
            )
        if one.algorithm in algorithms:
            other = algorithms[one.algorithm].study
            raise UsageError(f"studies {other} and {one.study} are both of {one.algorithm}: name one of them.")
        algorithms[one.algorithm] = tuned(one)
    return Preset(name=name, suite=first.suite, suite_hash=first.suite_hash, algorithms=algorithms)


def tuned(summary: StudySummary) -> Tuned:
    """What fresh seeds chose: the best finalist if it beats the default there, and the default if not."""
    if summary.objective == "pareto":
        raise UsageError(
            f"study {summary.study} has two objectives and so a front of settings, none of which is the best: "
            "take one of them with --set."
        )
    if not summary.decided:
        raise UsageError(
            f"study {summary.study} has no fresh seeds of the default and of a finalist that could be compared: "
            "the best trial alone may be a lucky one. Let the sweep run to its end."
        )
    if any(trial.state in ("running", "waiting") for trial in summary.trials):
        raise UsageError(f"study {summary.study} still has running or waiting trials: export it when it is complete.")
    chosen = next((one for one in summary.finalists if summary.best is not None and one.trial == summary.best), None)
    return Tuned(
        changes=_searched(summary, chosen.changes) if chosen else (),
        study=summary.study,
        objective=summary.objective,
        trials=len(summary.trials),
        tokens=summary.spent.trials + summary.spent.repeats,
        validation=_fresh(chosen or summary.default),
        default=_fresh(summary.default),
        why=why(summary),
    )


def why(summary: StudySummary) -> str:
    """Says in a sentence why the default was replaced or kept."""
    led = [one for one in summary.finalists if one.lead is not None]
    if not led:
        return "No finalist could be compared with the default on fresh seeds, so the default stays."
    best = max(led, key=lambda one: one.lead.value if one.lead else 0.0)
    lead = _points(best.lead) if best.lead else ""
    runs = f"{len(best.repeats)} fresh seed{'' if len(best.repeats) == 1 else 's'}"
    if summary.best is None:
        return f"The default was not beaten: the best finalist, trial {best.trial}, leads it by {lead} on {runs}."
    return f"Trial {best.trial} leads the default by {lead} in pass@1 on {runs} of the validation split."


def _points(lead: Span) -> str:
    known = lead.low is not None and lead.high is not None
    ends = f"{100 * (lead.low or 0):+.1f} to {100 * (lead.high or 0):+.1f}" if known else "no interval"
    return f"{100 * lead.value:+.1f} points ({ends})"


def _searched(summary: StudySummary, changes: Sequence[str]) -> tuple[str, ...]:
    """The changes of searched keys. What a trial changed besides them, such as its budget, is not part of a preset."""
    names = {parameter.name for parameter in summary.parameters}
    return tuple(change for change in changes if change.partition("=")[0] in names)


def _fresh(setting: Setting | None) -> Fresh | None:
    if setting is None or setting.objective is None:
        return None
    counting = sum(repeat.score is not None for repeat in setting.repeats)
    return Fresh(**setting.objective.model_dump(), seeds=counting)
