"""Tidy tables of runs: what notebooks get (`rlvr_gap`), what `rlvr-gap export` writes, and what figures are drawn from.

    table          a row for each algorithm, dataset and verdict: means over seeds, as on the page
    cells          a row for each run and dataset: its gap, what it cost, and the settings that matter
    curves         pass@k: a row for each algorithm, dataset and k
    log            the training logs: a row for each run and step
    points         a row for each model that was evaluated along a training: the base, checkpoints, the trained policy
    equal_tokens   the algorithms at equal generated tokens (`equal_cost.py`)
    problems       a row for each run and problem: counts, and the estimates of pass@k
    completions    a row for each stored completion, with the question and the gold answer (`completion_tables.py`)

A quantity x with an interval has the columns x, x_low and x_high; `long` turns them into rows. Shares are fractions.
Numbers come from `sections.py`, as those of the page do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.records.schema import BASE, Record
from benchmarks.records.training_log import HEADLINES, read_training_log
from benchmarks.statistics.comparison import BaseStanding, Standing
from benchmarks.statistics.designs import VERDICTS, JudgedBy
from benchmarks.statistics.gap import COVER_AT, Gap
from leaderboards import equal_cost, plots, summary
from leaderboards.load import Entry, counts_of
from leaderboards.sections import CellRow, Section, known

NOT_CORRECT = ("wrong", "truncated", "error")
GROUP = ("suite", "dataset", "verdict", "label", "algorithm", "variant", "seeds")
NAMES = ("suite", "dataset", "verdict", "label", "algorithm", "variant", "seed", "seeds", "cell")
"""The columns that say what a row is about, as far as a table has them. `label` is the algorithm with its variant."""
MEASURES = (
    "gap", "pass_at_1", "pass_at_k", "gain_at_1", "change_at_k", "closed", "headroom",
    *(f"cover_{100 * tau:.0f}" for tau in COVER_AT),
)  # fmt: skip
"""The quantities with an interval; a base's gap is its own, pass@k - pass@1. docs/statistics.md defines all of them."""


_BASE = {"label": BASE, "algorithm": BASE, "variant": None, "seeds": None}


def table(sections: Sequence[Section]) -> pd.DataFrame:
    """The algorithms by every verdict, in the order of the page: means over seeds, with intervals over both."""
    rows = []
    for section in sections:
        for verdict, comparison in section.comparisons.items():
            common = {"suite": _suite(section), "dataset": section.key.dataset, "verdict": verdict}
            more = {"k": section.k, "n_problems": section.rows[0].evaluation.n_problems, "section": section.number}
            if comparison.base is not None:
                rows.append({**common, **_BASE, **_of_base(comparison.base), **more})
            for standing in comparison.standings:
                rows.append({**common, **_who(section, standing.name), **_of_standing(standing), **more})
    measures = [column for name in MEASURES for column in _columns(name)]
    return framed(rows, [*GROUP, "place_first", "place_last", "group", *measures, "k", "n_problems", "section"])


def group(section: Section, verdict: JudgedBy, label: str) -> dict[str, Any]:
    """What a row about an algorithm, or the base, says in the columns `GROUP`."""
    who = _BASE if label == BASE else _who(section, label)
    return {"suite": _suite(section), "dataset": section.key.dataset, "verdict": verdict, **who}


def _who(section: Section, label: str) -> dict[str, Any]:
    rows = section.groups[label]
    cell = rows[0].entry.record.cell
    return {"label": label, "algorithm": cell.algorithm, "variant": cell.variant, "seeds": len(known(rows))}


def _of_base(base: BaseStanding) -> dict[str, Any]:
    found = {"gap": base.own_gap, "pass_at_1": base.pass_at_1, "pass_at_k": base.pass_at_k}
    return _intervals({**found, **_covers(base.cover)})


def _of_standing(standing: Standing) -> dict[str, Any]:
    place, from_base = standing.place, standing.from_base
    found: dict[str, Any] = {"pass_at_1": standing.pass_at_1, "pass_at_k": standing.pass_at_k}
    if from_base is not None:
        names = ("gap", "gain_at_1", "change_at_k", "closed", "headroom")
        found |= {name: getattr(from_base, name) for name in names}
    places = {"place_first": place.first, "place_last": place.last, "group": place.group} if place else {}
    return {**places, **_intervals({**found, **_covers(standing.cover)})}


def _covers(cover: Sequence[Any]) -> dict[str, Any]:
    return {f"cover_{100 * tau:.0f}": found for tau, found in zip(COVER_AT, cover, strict=True)}


def _intervals(found: Mapping[str, Any]) -> dict[str, float | None]:
    """Estimates, intervals and ratios as three columns each."""
    columns: dict[str, float | None] = {}
    for name, one in found.items():
        if one is not None:
            columns |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return columns


# ------------------------------------------------------------------------------------------------ runs


def cells(sections: Sequence[Section], entries: Sequence[Entry] = ()) -> pd.DataFrame:
    """The runs. Those of `entries` that are in no section, because their training diverged, come last."""
    rows = [_cell(section, row) for section in sections for row in section.rows]
    rows += [_not_scored(entry) for entry in entries if entry.record.diverged]
    measured = ("gain_at_1", "change_at_k", "closed", "headroom", "sound_gap")
    order = [
        "suite", "dataset", "label", "algorithm", "variant", "seed", "cell", "status", "k", "n_problems",
        *_columns("gap"), "pass_at_1", "pass_at_k", *(column for name in measured for column in _columns(name)),
        "sound_pass_at_1", "sound_pass_at_k", *_columns("k_equivalent"), "gained", "lost",
        "sound_chains", "verifier_errors",
        "steps", "updates", "group_size", "prompts_per_step", "learning_rate", "kl_coefficient",
        "training_completions", "training_tokens", "training_seconds",
        "evaluation_completions", "evaluation_tokens", "evaluation_seconds", "engine",
        "base_model", "base_hash", "suite_hash", "commit", "dirty", "finished", "imported_from", "remarks", "record",
        "section",
    ]  # fmt: skip
    return framed(rows, order)


def _cell(section: Section, row: CellRow) -> dict[str, Any]:
    evaluation, k = row.evaluation, section.k
    at = {kk: value if row.counts else None for kk, value in evaluation.pass_at_k.items()}
    sound = evaluation.sound.pass_at_k if evaluation.sound and row.counts else {}
    chains = evaluation.chains
    return {
        **_names(row.entry, section.key.dataset), "status": row.status, "k": k, "n_problems": evaluation.n_problems,
        "pass_at_1": at.get(1), "pass_at_k": at.get(k),
        "sound_pass_at_1": sound.get(1), "sound_pass_at_k": sound.get(k),
        **_of_gap(row.gap), **_sound(row.gaps.get("sound")),
        "sound_chains": chains.correct_sound / chains.correct_checked if chains and chains.correct_checked else None,
        "verifier_errors": evaluation.verdicts.error,
        **_of_training(row.entry.record),
        "evaluation_completions": evaluation.completions, "evaluation_tokens": evaluation.tokens,
        "evaluation_seconds": evaluation.seconds, "engine": evaluation.engine,
        **_of_record(row.entry), "remarks": "; ".join(row.remarks) or None, "section": section.number,
    }  # fmt: skip


def _not_scored(entry: Entry) -> dict[str, Any]:
    """A run whose training diverged."""
    training = entry.record.training
    why = training.diverged_because if training else None
    more = {"status": "diverged", "remarks": why}
    return {**_names(entry, None), **more, **_of_training(entry.record), **_of_record(entry)}


def _of_gap(gap: Gap | None) -> dict[str, Any]:
    if gap is None:
        return {}
    names, equal = ("gain_at_1", "change_at_k", "closed", "headroom"), gap.k_equivalent
    return {
        "gap": gap.gap, "gap_low": gap.low, "gap_high": gap.high,
        **_intervals({name: getattr(gap, name) for name in names}),
        "k_equivalent": equal.k, "k_equivalent_low": equal.low, "k_equivalent_high": equal.high,
        "gained": gap.gained, "lost": gap.lost,
    }  # fmt: skip


def _sound(gap: Gap | None) -> dict[str, Any]:
    return {} if gap is None else {"sound_gap": gap.gap, "sound_gap_low": gap.low, "sound_gap_high": gap.high}


def _of_training(record: Record) -> dict[str, Any]:
    """What training cost, and the settings that a comparison is mostly about."""
    training, suite = record.training, record.settings.get("suite")
    if training is None:
        return {}
    asked = suite.get("training") if isinstance(suite, dict) else None
    settings = asked if isinstance(asked, dict) else {}
    names = ("group_size", "prompts_per_step", "learning_rate", "kl_coefficient")
    completions, tokens = summary.generated(training)
    return {
        "steps": training.steps, "updates": training.updates, **{name: settings.get(name) for name in names},
        "training_completions": completions, "training_tokens": tokens,
        "training_seconds": sum(training.seconds.values()),
    }  # fmt: skip


def _of_record(entry: Entry) -> dict[str, Any]:
    record, made = entry.record, entry.record.provenance
    return {
        "base_model": record.cell.base_model, "base_hash": record.cell.base_hash, "suite_hash": record.suite.hash,
        "commit": made.commit, "dirty": made.dirty, "finished": made.finished,
        "imported_from": record.imported.source if record.imported else None, "record": entry.where,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ other tables


def curves(sections: Sequence[Section]) -> pd.DataFrame:
    """pass@k for k = 1, 2, 4, ... by every verdict that is known of all runs of a section, with pointwise bands."""
    rows: list[dict[str, Any]] = []
    for section in sections:
        for verdict in VERDICTS:
            common = {"suite": _suite(section), "dataset": section.key.dataset, "verdict": verdict}
            for line in lines(section, verdict):
                who = _BASE if line.colour is None else _who(section, line.name)
                bands = [line.mean if side is None else side for side in (line.low, line.high)]
                points = zip(line.ks, line.mean, *bands, strict=True)
                rows += [
                    {**common, **who, "k": k, "pass_at_k": m, "pass_at_k_low": low, "pass_at_k_high": high}
                    for k, m, low, high in points
                ]
    return framed(rows, [*GROUP, "k", *_columns("pass_at_k")])


def lines(section: Section, verdict: JudgedBy = "answer") -> list[plots.Line]:
    """The curves of a section by one verdict; none where it is not known of all of its runs."""
    return section.once(f"lines by {verdict}", lambda: _lines(section, verdict))


def _lines(section: Section, verdict: JudgedBy) -> list[plots.Line]:
    base = known([section.base] if section.base else [])
    groups = {label: known(rows) for label, rows in section.groups.items()}
    sides = [*base, *(counts for group in groups.values() for counts in group)]
    if verdict == "sound" and not all(counts.has_sound for counts in sides):
        return []
    judged = {label: [counts.judged_by(verdict) for counts in group] for label, group in groups.items()}
    return plots.make_lines([counts.judged_by(verdict) for counts in base], judged, section.colours)


def log(entries: Iterable[Entry]) -> pd.DataFrame:
    """The training logs of all runs that have one. What TRL logged beside the headlines has TRL's names."""
    logs = [(entry, found) for entry in entries if (found := training_log(entry)) is not None]
    frames = []
    for entry, found in logs:
        named = pd.DataFrame([_names(entry, None)] * len(found)).drop(columns="dataset")
        frames.append(named.join(found))
    first = ["suite", "label", "algorithm", "variant", "seed", "cell", "step", "update", *HEADLINES]
    if not frames:
        return framed([], first)
    joined = pd.concat(frames, ignore_index=True)
    return _typed(joined[[*first, *(column for column in joined.columns if column not in first)]])


def training_log(entry: Entry) -> pd.DataFrame | None:
    """The log of one run: step, update, reward, accuracy, entropy, length, and then what else was logged."""
    return entry.once("training log", lambda: _training_log(entry))


def _training_log(entry: Entry) -> pd.DataFrame | None:
    rows = read_training_log(entry.path.parent)
    if not rows:
        return None
    found = pd.DataFrame(rows).rename(columns={key: name for name, key in HEADLINES.items()})
    first = ["step", "update", *HEADLINES]
    found = found.reindex(columns=[*first, *sorted(name for name in found.columns if name not in first)])
    return found.astype({name: float for name in HEADLINES})


def points(sections: Sequence[Section]) -> pd.DataFrame:
    """What was evaluated along each training, by tokens generated so far: the base (step 0), checkpoints, the end."""
    rows: list[dict[str, Any]] = []
    for section, verdict in itertools.product(sections, VERDICTS):
        base = equal_cost.judged(section.base, verdict)
        at_k = float(base.pass_at_k(section.k).mean()) if base else None
        for row in section.counting:
            for one in equal_cost.evaluated(section, row, verdict, []):
                first, last = (float(x) for x in one.counts.curve([1, section.k]).mean(axis=0))
                rows.append({
                    **_names(row.entry, section.key.dataset), "verdict": verdict, "step": one.step,
                    "tokens": one.tokens, "completions": one.completions, "pass_at_1": first, "pass_at_k": last,
                    "gap": None if at_k is None else at_k - first, "k": section.k, "section": section.number,
                })  # fmt: skip
    measures = ("step", "tokens", "completions", "pass_at_1", "pass_at_k", "gap", "k", "section")
    return framed(rows, ["suite", "dataset", "verdict", "label", "algorithm", "variant", "seed", "cell", *measures])


def equal_tokens(sections: Sequence[Section]) -> pd.DataFrame:
    """The algorithms at the tokens of the cheapest run. One that cannot be compared has a row with the reason."""
    rows: list[dict[str, Any]] = []
    for section, verdict in itertools.product(sections, VERDICTS):
        found = equal_cost.equal_tokens(section, verdict)
        if found is None:
            continue
        common = {"suite": _suite(section), "dataset": section.key.dataset, "verdict": verdict, "k": section.k,
                  "target_tokens": found.target, "section": section.number}  # fmt: skip
        standings = {one.name: one for one in found.comparison.standings}
        for label in dict.fromkeys([*standings, *section.groups]):
            read = [one for one in found.readings if one.row.label == label]
            remarks = [why for row, why in (*found.left_out, *found.unused) if row.label == label]
            rows.append({
                **common, **_who(section, label), **(_of_standing(standings[label]) if read else {}),
                "seeds": len(read), "interpolated": sum(one.is_interpolated for one in read),
                "between_low": min((one.between[0] for one in read), default=None),
                "between_high": max((one.between[1] for one in read), default=None),
                "remarks": "; ".join(remarks) or None,
            })  # fmt: skip
    measures = [column for name in MEASURES for column in _columns(name)]
    about = ["target_tokens", "interpolated", "between_low", "between_high"]
    return framed(rows, [*GROUP, *about, "place_first", "place_last", "group", *measures, "k", "remarks", "section"])


def problems(entries: Iterable[Entry]) -> pd.DataFrame:
    """The problems of all runs. Counts that are damaged or not their record's: Failure."""
    frames = []
    for entry in entries:
        for dataset, evaluation in entry.record.evaluations.items():
            counts = counts_of(entry, evaluation)
            verdicts = {name: counts.verdicts(name) for name in ("sound", *NOT_CORRECT)}
            ks = sorted(evaluation.pass_at_k)
            sound = counts.judged_by("sound") if counts.has_sound else None
            columns = {
                "problem_id": list(counts.problem_ids), "n": counts.n_N, "correct": counts.c_N,
                **{name: column for name, column in verdicts.items() if column is not None},
                **{f"pass_at_{k}": counts.pass_at_k(k) for k in ks},
                **({f"sound_pass_at_{k}": sound.pass_at_k(k) for k in ks} if sound else {}),
            }  # fmt: skip
            found = pd.DataFrame(columns)
            frames.append(pd.DataFrame([_names(entry, dataset)] * len(found)).join(found))
    return _typed(pd.concat(frames, ignore_index=True)) if frames else framed([], ["suite", "dataset", "problem_id"])


# ------------------------------------------------------------------------------------------------ shape


def long(frame: pd.DataFrame, measures: Sequence[str] = MEASURES) -> pd.DataFrame:
    """A row for each quantity: the columns `metric`, `value`, `low` and `high` in place of three for each of them."""
    names = [name for name in NAMES if name in frame.columns]
    parts = []
    for measure in (one for one in measures if one in frame.columns):
        part = frame[names].assign(metric=measure, value=frame[measure].astype(float))
        for side in ("low", "high"):
            column = frame.get(f"{measure}_{side}")
            part[side] = float("nan") if column is None else column.astype(float)
        parts.append(part)
    return pd.concat(parts, ignore_index=True).dropna(subset="value", ignore_index=True)


def of_gap(gap: Gap) -> pd.DataFrame:
    """The numbers of one gap, a row for each, by name: value, low and high."""
    ends = {name: getattr(gap, name) for name in ("base_pass_at_1", "trained_pass_at_1", "trained_pass_at_k")}
    rows: dict[str, Any] = {
        "gap": (gap.gap, gap.low, gap.high),
        "base_pass_at_k": _three(gap.base_at_k) if gap.base_at_k else (gap.base_pass_at_k, None, None),
        **{name: (value, None, None) for name, value in ends.items()},
        **{name: _three(one) for name in ("base_gap", "closed", "headroom", "gain_at_1", "change_at_k")
           if (one := getattr(gap, name)) is not None},
    }  # fmt: skip
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"], dtype=float)
    frame.index.name = "metric"
    return frame


def _three(one: Any) -> tuple[float | None, float | None, float | None]:
    return one.value, one.low, one.high


def _columns(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _suite(section: Section) -> str:
    return section.rows[0].entry.record.suite.name


def _names(entry: Entry, dataset: str | None) -> dict[str, Any]:
    cell = entry.record.cell
    return {
        "suite": entry.record.suite.name, "dataset": dataset, "label": summary.label(cell),
        "algorithm": cell.algorithm, "variant": cell.variant, "seed": cell.seed, "cell": summary.cell_name(cell),
    }  # fmt: skip


def framed(rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> pd.DataFrame:
    """The rows as a table with these columns, typed also where values are missing."""
    return _typed(pd.DataFrame(rows, columns=list(order)))


_WHOLE = (
    "seed", "seeds", "place_first", "place_last", "k", "n_problems", "gained", "lost", "verifier_errors", "steps",
    "updates", "group_size", "prompts_per_step", "training_completions", "training_tokens", "evaluation_completions",
    "evaluation_tokens", "section", "step", "tokens", "completions", "target_tokens", "interpolated", "between_low",
    "between_high",
)  # fmt: skip
_TEXT = (
    "suite", "dataset", "verdict", "label", "algorithm", "variant", "cell", "status", "group", "engine", "base_model",
    "base_hash", "suite_hash", "commit", "imported_from", "remarks", "record",
)  # fmt: skip


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Gives columns their types also where values, or all of them, are missing: whole numbers, text, else fractions."""
    whole = {name: "Int64" if frame[name].isna().any() else "int64" for name in _WHOLE if name in frame}
    text = {name: "str" for name in _TEXT if name in frame}
    empty = {name: "float64" for name in frame if frame[name].isna().all()}
    return frame.astype({**empty, **whole, **text})
