"""Format `lm-eval`: the sample logs of lm-evaluation-harness (`--log_samples`), one JSON line per document and filter.

    {"doc_id": 0, "doc_hash": "...", "filter": "none", "metrics": ["exact_match"], "exact_match": 1.0,
     "resps": [["the response"]], "filtered_resps": ["42"], ...}

With `repeats: K` a line has K responses in `resps`, but the harness's own metrics give only one score for them, either
of the first or of a vote. Such lines are refused, because one score cannot give K verdicts. Two things can be imported:
one file for each repetition (with a seed each), or a custom metric of a task that is a list of K scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError, unknown
from benchmarks.importers.problem_verdicts import (
    Choices,
    Scored,
    choose_metric,
    json_lines,
    problem_name,
    read_files,
    verdict,
    verdicts_of_scores,
)
from benchmarks.statistics.counts import Counts
from benchmarks.verifiers import Verdict

_NOT_METRICS = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
    "target_hash",
}  # fmt: skip
"""Keys of a line that are not scores, because older versions do not list the metrics."""


def read(paths: Sequence[Path], choices: Choices) -> Counts:
    """Returns the counts of all files. UsageError if a filter or metric must be chosen, else as `read_files`."""
    return read_files(paths, lambda path: _problems(path, choices))


def _problems(path: Path, choices: Choices) -> Iterator[Scored]:
    found: dict[str, None] = {}
    for number, sample in json_lines(path):
        problem_id = problem_name(number, sample, "doc_id")
        name = str(sample.get("filter", "none"))
        found[name] = None
        if choices.filter is None and len(found) > 1:
            raise UsageError(f"{path} has scores of several filters ({', '.join(found)}): choose one with --filter.")
        if choices.filter in (None, name):
            metric = choose_metric(_metrics(sample), choices.metric)
            yield Scored(problem_id, _verdicts(problem_id, sample, metric), sample.get("doc_hash"))
    if found and choices.filter is not None and choices.filter not in found:
        raise unknown(f"filter of {path}", choices.filter, found)


def _metrics(sample: dict[str, Any]) -> list[str]:
    """Returns the names of the sample's scores."""
    listed = sample.get("metrics")
    names = [str(n) for n in listed] if isinstance(listed, list) else [n for n in sample if n not in _NOT_METRICS]
    return [name for name in names if name in sample]


def _verdicts(problem_id: str, sample: dict[str, Any], metric: str) -> list[Verdict]:
    score, responses = sample[metric], _responses(sample)
    if isinstance(score, list):
        return verdicts_of_scores(problem_id, score, responses)
    if responses is not None and responses > 1:
        raise ValueError(
            f"problem '{problem_id}' has {responses} responses, but one score ({metric}): that of the first or of a "
            "vote. Log one file for each repetition, or a metric that scores all of them"
        )
    return [verdict(problem_id, score)]


def _responses(sample: dict[str, Any]) -> int | None:
    """Returns how often the model was asked: `resps` has a list for each request. None if it was left out."""
    requests = sample.get("resps")
    if not isinstance(requests, list) or not requests or not isinstance(requests[0], list):
        return None
    return len(requests[0])
