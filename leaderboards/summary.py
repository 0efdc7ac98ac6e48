"""Describes a record in a few words: what it may be compared with, its label, and its numbers as text.

The page (`build.py`) and the tables of a terminal (`terminal.py`) take their words from here. Fractions are shown in
percent, and differences in points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks.errors import unknown
from benchmarks.records.evaluation import EvaluationRecord
from benchmarks.records.schema import Cell, Record, TrainingRecord
from benchmarks.statistics.crossing import Crossing, KEquivalent
from benchmarks.statistics.gap import Gap, Ratio
from benchmarks.statistics.intervals import Estimate

NONE = "-"
"""Shown where there is no value."""


# ------------------------------------------------------------------------------------------------ what may be compared


class Key(NamedTuple):
    """What two records must share to stand in one table. A base has no `k` and `confidence`, so it fits any of them."""

    suite_hash: str
    dataset: str
    task_version: int | str | None
    verifier_version: int | str | None
    base: str
    """Hash of the base model, or "name:..." if only the name is known."""
    problems_hash: str | None
    k: int | None
    confidence: float | None

    def for_base(self) -> Key:
        """Returns the key of the base that these records are measured from."""
        return self._replace(k=None, confidence=None)

    def of_runs(self) -> Key:
        """Returns what the sections of the same runs share, whatever the dataset."""
        return self._replace(
            dataset="", task_version=None, verifier_version=None, problems_hash=None, k=None, confidence=None
        )


def key(record: Record, dataset: str) -> Key:
    """Returns what decides comparability on the dataset. UsageError if the record has no evaluation of it."""
    if dataset not in record.evaluations:
        raise unknown("dataset", dataset, record.evaluations)
    versions, gap = record.evaluations[dataset].versions, (record.gap or {}).get(dataset)
    return Key(
        suite_hash=record.suite.hash,
        dataset=dataset,
        task_version=versions.task,
        verifier_version=versions.verifier,
        base=record.cell.base_hash or f"name:{record.cell.base_model}",
        problems_hash=record.evaluations[dataset].problems_hash,
        k=gap.k if gap else None,
        confidence=gap.confidence if gap else None,
    )


_WHY = {
    "suite_hash": "the suite differs in a setting that can move a number (suite hash {there} there, {here} here)",
    "task_version": "the task's VERSION is {there} there and {here} here, so the problems may mean something else",
    "verifier_version": "the verifier's VERSION is {there} there and {here} here, so a verdict may mean something else",
    "base": "the base model is another one ({there} there, {here} here), so other problems are within reach",
    "problems_hash": "the problems are not the same ones ({there} there, {here} here)",
    "k": "the gap is measured at k = {there} there and at k = {here} here",
    "confidence": "the level of the intervals is {there} there and {here} here",
}


def difference(here: Key, there: Key) -> list[str]:
    """Returns the names of the fields in which two keys differ."""
    return [name for name, a, b in zip(Key._fields, here, there, strict=True) if a != b]


def why_apart(here: Key, there: Key) -> str:
    """Explains to a reader of the table with the key `here` why records with the key `there` are not in it."""
    names = [name for name in difference(here, there) if name in _WHY]
    return "; ".join(_WHY[name].format(here=getattr(here, name), there=getattr(there, name)) for name in names)


def cell_name(cell: Cell) -> str:
    """Returns the name of the cell's folder, such as "grpo-s0", "reinforce_pp-s0-baseline" or "base"."""
    parts = [cell.algorithm, None if cell.seed is None else f"s{cell.seed}", cell.variant]
    return "-".join(part for part in parts if part)


def label(cell: Cell) -> str:
    """Returns the algorithm and its variant, if any. Cells with the same label differ only in their seed."""
    return f"{cell.algorithm} ({cell.variant})" if cell.variant else cell.algorithm


# ------------------------------------------------------------------------------------------------ numbers as text


def percent(share: float | None) -> str:
    """Formats a fraction in percent: 0.236 -> "23.6"."""
    return NONE if share is None else f"{100 * share:.1f}"


def points(difference: float | None) -> str:
    """Formats a difference of fractions with its sign: 0.143 -> "+14.3". A value that rounds to zero has no sign."""
    if difference is None:
        return NONE
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def span(low: float, high: float, show: Callable[[float], str] = percent) -> str:
    """Formats an interval: "[66.0, 74.5]"."""
    return f"[{show(low)}, {show(high)}]"


def number(value: float | None) -> str:
    """Formats a count, 8412345 -> "8,412,345", or seconds and k, with one decimal below 100."""
    if value is None:
        return NONE
    return f"{value:,.1f}" if value < 100 and value != int(value) else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Formats a large count briefly: 8412345 -> "8.41 M"."""
    if value is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def utc(moment: datetime | None) -> str:
    """Formats date and minute in UTC, whatever the record's time zone."""
    return "not known" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def bounds(low: float | None, high: float | None, show: Callable[[float], str] = number) -> str:
    """Formats an interval that may be open: "[3.3, 24.5]", "[below 1, 2.0]", "[3.3, no bound]"."""
    left = "no bound" if low is None or math.isinf(low) else "below 1" if low == 0 and show is number else show(low)
    return f"[{left}, {'no bound' if high is None or math.isinf(high) else show(high)}]"


def percent_bounds(found: Ratio | Estimate | None) -> str:
    """Formats a ratio in percent with its interval: "26.1 [21.3, 31.4]". It may have no bounds, or no value."""
    if found is None or found.value is None:
        return NONE
    return f"{percent(found.value)} {bounds(found.low, found.high, percent)}"


def crossing(place: Crossing) -> str:
    """Says who overtakes where: "base ahead from 6.1 [5.0, 7.2]", or "none to 256 (trained leads)"."""
    if place.kind == "none":
        leads = "" if place.leads_at_1 == "neither" else f" ({place.leads_at_1} leads)"
        return f"none to {place.k_max}{leads}"
    if place.low is None or place.high is None or place.overtakes is None:  # an older record
        return ", ".join(number(k) for k in place.k)
    rows = zip(place.overtakes, place.k, place.low, place.high, strict=True)
    return "; ".join(f"{side} ahead from {number(k)} {bounds(low, high)}" for side, k, low, high in rows)


def k_equivalent(place: KEquivalent) -> str:
    """Says how many samples of the base the training is worth: "3.2 [2.5, 4.1]", "< 1", "> 256"."""
    text = {"below_1": "< 1", "above_k_max": f"> {place.k_max}"}.get(place.kind, number(place.k))
    if place.low is None and place.high is None:
        return text
    return f"{text} {bounds(place.low, math.inf if place.high is None else place.high)}"


def solved_by_one(gap: Gap) -> str:
    """Counts problems that only the trained model solved, and only the base: "5 / 39"."""
    return f"{gap.gained} / {gap.lost}"


def by_chance(gap: Gap) -> str:
    """Counts how many of each a repetition of the same model would give: "6 / 8"."""
    found = gap.solved
    return NONE if found is None else f"{found.trained_repetition:.0f} / {found.base_repetition:.0f}"


def beyond_doubt(gap: Gap) -> str:
    """Counts those of the above on which the two chances differ beyond doubt: "0 / 8"."""
    found = gap.solved
    if found is None or found.gained_beyond_doubt is None:
        return NONE
    return f"{found.gained_beyond_doubt} / {found.lost_beyond_doubt}"


def chains(evaluation: EvaluationRecord) -> str:
    """Counts sound chains among the correct completions whose chain could be checked: "91.2 of 1,204"."""
    checked = evaluation.chains
    if checked is None or not checked.correct_checked:
        return NONE
    return f"{percent(checked.correct_sound / checked.correct_checked)} of {number(checked.correct_checked)}"


def generated(training: TrainingRecord) -> tuple[int, int]:
    """Returns all completions and all tokens that training sampled: for the loss, discarded, and greedy."""
    parts = (training, training.discarded, training.greedy)
    return sum(part.completions for part in parts), sum(part.tokens for part in parts)


def training_tokens(record: Record) -> int | None:
    """Returns all tokens that training sampled, or None if that is unknown or there was no training."""
    return generated(record.training)[1] if record.training else None


def invalid(evaluation: EvaluationRecord) -> str | None:
    """Returns the reason why the numbers do not count, or None if they do."""
    if evaluation.valid:
        return None
    return f"invalid: {percent(evaluation.error_share)} % of the verdicts are errors of the verifier"


def remarks(gap: Gap) -> list[str]:
    """Returns what a reader must know beside the gap, such as verifier errors or another kind of interval."""
    found = [f"interval of the gap: {gap.method}"] if gap.n_problems == 1 else []
    if gap.errors:
        counted = number(gap.errors.base_errors + gap.errors.trained_errors)
        bounds = f"{percent(gap.errors.gap_low)} and {percent(gap.errors.gap_high)}"
        found.append(f"the verifier failed on {counted} completions: the gap lies between {bounds}")
    return found


def typeset(show: Callable[..., str]) -> Callable[..., str]:
    """Adapts a formatter to the page: a hyphen becomes a minus sign, or a dash where it stands alone."""

    def typeset_text(*args: object, **options: object) -> str:
        text = show(*args, **options)
        return "–" if text == NONE else text.replace("-", "−")

    return typeset_text
