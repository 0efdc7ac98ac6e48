"""Decides by fresh seeds, and by nothing else, whether a finalist replaces the default."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.records.study import Objective, Selected, Setting, Span, Trial
from benchmarks.statistics.intervals import Estimate, t_quantile
from benchmarks.statistics.selection import Noise, noise_sd, selection

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Judged:
    """The settings with intervals, what of the lead was selection, and the trial that replaces the default."""

    default: Setting | None
    finalists: tuple[Setting, ...]
    selected: Selected | None
    best: int | None


def judge(
    objective: Objective, default: Setting | None, finalists: Sequence[Setting], trials: Mapping[int, Trial]
) -> Judged:
    """Compares the finalists with the default.

    A finalist of which a fresh run diverged, or whose own trial has no score, is shown but cannot be chosen. The best
    one replaces the default if its lead's simultaneous interval lies above zero. A study of two objectives has no best.
    """
    settings = [one for one in (default, *finalists) if one]
    noise = noise_sd(rows) if (rows := [_scores(one) for one in settings if _scores(one)]) else Noise(math.nan, 0)
    shown = {one.trial: _with_objective(one, objective, noise) for one in settings}
    able = [one for one in finalists if _is_able(one, trials)]
    if default is None or not _scores(default) or not able:
        return Judged(shown.get(None), tuple(shown[one.trial] for one in finalists), None, None)
    firsts = [score for one in able if (score := _own_score(one, trials)) is not None]
    found = selection(firsts, [_scores(one) for one in able], _scores(default), CONFIDENCE)
    for one, lead in zip(able, found.leads_M, strict=True):
        shown[one.trial] = shown[one.trial].model_copy(update={"lead": span(lead)})
    winner, best = able[found.winner].trial, able[found.best].trial
    assert winner is not None
    selected = Selected(
        winner=winner, seen=found.seen, fresh=span(found.fresh), luck=span(found.luck),
        noise=found.noise.sd if found.noise.df else None, noise_df=found.noise.df,
    )  # fmt: skip
    chosen = best if found.beaten and objective != "pareto" else None
    return Judged(shown.get(None), tuple(shown[one.trial] for one in finalists), selected, chosen)


def span(estimate: Estimate) -> Span:
    """In the form of summary.json, where an end that is not known is null."""
    ends = (end if math.isfinite(end) else None for end in (estimate.low, estimate.high))
    return Span(value=estimate.value, low=next(ends), high=next(ends))


def _scores(setting: Setting) -> list[float]:
    return [repeat.score for repeat in setting.repeats if repeat.score is not None]


def _is_able(setting: Setting, trials: Mapping[int, Trial]) -> bool:
    return _own_score(setting, trials) is not None and not setting.diverged and bool(_scores(setting))


def _own_score(setting: Setting, trials: Mapping[int, Trial]) -> float | None:
    """What the setting's own trial came to."""
    return trials[setting.trial].score if setting.trial is not None and setting.trial in trials else None


def _with_objective(setting: Setting, objective: Objective, noise: Noise) -> Setting:
    """The mean over fresh seeds of the gap, or of pass@1, with the t interval of the pooled noise."""
    of = [repeat.gap if objective == "gap" else repeat.score for repeat in setting.repeats]
    values = [value for value in of if value is not None]
    if not values:
        return setting
    mean = sum(values) / len(values)
    reach = math.inf
    if noise.df and noise.sd > 0:
        reach = t_quantile(0.5 + CONFIDENCE / 2, noise.df) * noise.sd / math.sqrt(len(values))
    return setting.model_copy(update={"objective": span(Estimate(mean, mean - reach, mean + reach))})
