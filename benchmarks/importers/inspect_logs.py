"""Format `inspect`: logs of inspect-ai (`.eval` or `.json`), read by inspect-ai's own reader.

It needs an extra: `pip install 'rlvr-gap[inspect]'`. A log has one sample for each problem and epoch, with a score for
each scorer. Epochs are the samples of pass@k; a reduction that the log also holds (a mean, pass_at_k) is not read. A
score of "C" or 1 is CORRECT and one of "I", "N" or 0 is WRONG, or TRUNCATED if the model stopped at its token limit. A
sample that ended with an error, or has no score, is an ERROR. "P", a partial score, is refused, and so is a log that
was not finished, because the samples that it lacks are not a random choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import UsageError
from benchmarks.files import content_hash
from benchmarks.importers.problem_verdicts import Choices, Scored, choose_metric, read_files, verdict
from benchmarks.statistics.counts import Counts
from benchmarks.verifiers import Verdict

INSTALL = "format 'inspect' needs inspect-ai: pip install 'rlvr-gap[inspect]'."
_LETTERS = {"C": 1, "I": 0, "N": 0}
_TOKEN_LIMITS = ("max_tokens", "model_length")


def read(paths: Sequence[Path], choices: Choices) -> Counts:
    """Returns the counts of all logs. UsageError if a scorer must be chosen, otherwise as in `read_files`."""
    choices.refuse("inspect", "filter")
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise UsageError(INSTALL) from error
    return read_files(paths, lambda path: _problems(_log(path, read_eval_log), choices.metric))


def _log(path: Path, reader: Any) -> Any:
    """Returns a finished log. ValueError for one that is not finished, or is no log."""
    try:
        log = reader(str(path))
    except Exception as error:  # the reader raises dozens of unrelated types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"inspect-ai cannot read it ({reason})") from error
    if log.status != "success":
        raise ValueError(f"its status is '{log.status}', expected 'success': finish it with inspect eval-retry")
    return log


def _problems(log: Any, asked: str | None) -> Iterator[Scored]:
    """Yields each problem with its verdicts in the order of the epochs."""
    samples = sorted(log.samples or [], key=lambda sample: sample.epoch)
    names = dict.fromkeys(name for sample in samples for name in _values(sample))
    metric = choose_metric(list(names), asked)
    problems: dict[str, list[Any]] = {}
    for sample in samples:
        problems.setdefault(str(sample.id), []).append(sample)
    for problem_id, of_it in problems.items():
        epochs = [sample.epoch for sample in of_it]
        if len(set(epochs)) < len(epochs):
            raise ValueError(f"problem '{problem_id}' has an epoch twice")
        marks = {content_hash(str(sample.input)) for sample in of_it}
        if len(marks) > 1:
            raise ValueError(f"problem '{problem_id}' has different inputs in different epochs")
        yield Scored(problem_id, [_verdict(problem_id, sample, metric) for sample in of_it], marks.pop())


def _values(sample: Any) -> dict[str, Any]:
    """Returns the sample's scores by scorer; those of a scorer with several are `scorer/name`."""
    found: dict[str, Any] = {}
    for scorer, score in (sample.scores or {}).items():
        parts = score.value.items() if isinstance(score.value, Mapping) else [("", score.value)]
        found |= {f"{scorer}/{name}" if name else scorer: value for name, value in parts}
    return found


def _verdict(problem_id: str, sample: Any, metric: str) -> Verdict:
    if sample.error is not None:
        return Verdict.ERROR
    value = _values(sample).get(metric)
    found = verdict(problem_id, _LETTERS.get(value, value) if isinstance(value, str) else value)
    return Verdict.TRUNCATED if found is Verdict.WRONG and _was_cut_off(sample) else found


def _was_cut_off(sample: Any) -> bool:
    """Whether the model stopped at its token limit."""
    choices = sample.output.choices
    return bool(choices) and choices[0].stop_reason in _TOKEN_LIMITS
