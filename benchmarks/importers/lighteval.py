"""Format `lighteval`: its details (`--save-details`), a parquet file with one row per document.

    doc {id, query, ...}, model_response {text: [...], ...}, metric {"pass@k:k=1&n=4": 0.75, ...}

In older files the columns are `__doc__`, `__model_response__` and `__metric__`, and before that `example`,
`predictions` and `metrics`. A metric is one number for all completions of a document. If it is their mean (`pass@1` or
`avg@n`, with the n in its name or else as many as there are completions), it says exactly how many were right. Any
other metric of several completions (a vote, pass@8) is refused, and so is a mean that is no whole number of
completions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.files import content_hash
from benchmarks.importers.problem_verdicts import (
    Choices,
    Scored,
    choose_metric,
    read_files,
    verdict,
    verdicts_of_scores,
)
from benchmarks.statistics.counts import Counts
from benchmarks.verifiers import Verdict

_DOC = ("doc", "__doc__", "example", "full_prompt")
_RESPONSE = ("model_response", "__model_response__", "predictions")
_METRIC = ("metric", "__metric__", "metrics")
_PARTS = {"doc": ("id", "query"), "response": ("text",)}
"""The parts that are read of a column that is an object."""
_MEAN = re.compile(r"pass@1(?!\d)|pass@k:k=1(?!\d)|avg@")
_N = re.compile(r"\bn=(\d+)|:(\d+)_samples|avg@(\d+)(?![\d.])")
_WHOLE = 1e-4


def read(paths: Sequence[Path], choices: Choices) -> Counts:
    """Returns the counts of all files. UsageError if a metric must be chosen, otherwise as in `read_files`."""
    choices.refuse("lighteval", "filter")
    return read_files(paths, lambda path: _problems(path, choices.metric))


def _problems(path: Path, asked: str | None) -> Iterator[Scored]:
    for number, (doc, response, metrics) in enumerate(_details(path), start=1):
        problem_id = _problem_id(number, doc)
        name = choose_metric(list(metrics), asked)
        texts = response["text"] if isinstance(response, dict) else response
        if not isinstance(texts, list) or not texts:
            raise ValueError(f"problem '{problem_id}' has no completion")
        yield Scored(problem_id, _verdicts(problem_id, name, metrics[name], len(texts)))


def _details(path: Path) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Yields (doc, model's response, metrics) of each row as Python objects."""
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            doc, response, metric = (_column(schema, names) for names in (_DOC, _RESPONSE, _METRIC))
            if not pa.types.is_struct(schema.field(metric).type):
                raise ValueError(f"column '{metric}' holds {schema.field(metric).type}, expected an object of scores")
            wanted = [*_parts(schema, doc, "doc"), *_parts(schema, response, "response"), metric]
            for batch in file.iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    yield row[doc], row[response], row[metric] or {}
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"damaged, or not parquet: {reason}") from error


def _column(schema: pa.Schema, names: Sequence[str]) -> str:
    name = next((name for name in names if name in schema.names), None)
    if name is None:
        raise ValueError(f"it has no column '{names[0]}' (or {', '.join(names[1:])}), so it is not lighteval's details")
    return name


def _parts(schema: pa.Schema, name: str, kind: str) -> list[str]:
    """Returns the parts of a column that are needed. Token ids and log-probabilities are never read."""
    found = schema.field(name).type
    if not pa.types.is_struct(found):
        return [name]
    parts = [f"{name}.{part}" for part in _PARTS[kind] if found.get_field_index(part) >= 0]
    if not parts:
        raise ValueError(f"column '{name}' has none of: {', '.join(_PARTS[kind])}")
    return parts


def _problem_id(number: int, doc: Any) -> str:
    """Returns lighteval's id of the document, or the hash of the question if it has none."""
    known, text = (doc.get("id"), doc.get("query")) if isinstance(doc, dict) else (None, doc)
    if known not in (None, ""):
        return str(known)
    if not isinstance(text, str) or not text:
        raise ValueError(f"row {number}: the document has neither an id nor a question")
    return content_hash(text)


def _verdicts(problem_id: str, metric: str, score: Any, completions: int) -> list[Verdict]:
    """Returns the verdicts that the score stands for. A mean fixes their number but not their order."""
    if isinstance(score, list):
        return verdicts_of_scores(problem_id, score, completions)
    named = _N.search(metric)
    n = int(next(filter(None, named.groups()))) if named else completions
    if not 1 <= n <= completions:
        raise ValueError(f"problem '{problem_id}' has {completions} completions, but '{metric}' is of {n}")
    if n == 1:
        return [verdict(problem_id, score)]
    if not _MEAN.search(metric):
        raise ValueError(f"'{metric}' is one number for {n} completions, and not their mean (pass@1 or avg@n)")
    return _of_mean(problem_id, metric, score, n)


def _of_mean(problem_id: str, metric: str, mean: Any, n: int) -> list[Verdict]:
    known = isinstance(mean, int | float) and math.isfinite(mean) and 0 <= mean <= 1
    correct = round(mean * n) if known else -1
    if correct < 0 or abs(mean * n - correct) > _WHOLE:
        raise ValueError(f"problem '{problem_id}': {metric} = {mean} is not a whole number of {n} completions")
    return [Verdict.CORRECT] * correct + [Verdict.WRONG] * (n - correct)
