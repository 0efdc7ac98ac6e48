"""Named variants of a suite: `--set training.learning_rate=5e-5` makes another cell, beside that of the suite itself.

A variant is a list of changes, and its name says what they are: `learning_rate-5e-5`. Variants that change how a policy
is trained, and nothing else, share the suite's base and stand in its tables. A variant that changes anything else has a
base of its own, `base-<variant>`, and stands apart, because its numbers answer another question.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import algorithms
from benchmarks.errors import UsageError
from benchmarks.files import content_hash
from benchmarks.records.schema import BASE
from benchmarks.suites.preset import Preset
from benchmarks.suites.schema import Suite, with_changes

_OPEN, _CLOSE, _QUOTES = "[{(", "]})", "\"'"
_TRAINING = "training."
_LONGEST = 60
_LABEL = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST - 1}}}")


@dataclass(frozen=True)
class Variant:
    """The changes that make one variant, and the suite that they are changes of."""

    of: Suite
    changes: tuple[str, ...]
    """Such as `training.learning_rate=5e-5`, in their order."""
    label: str = ""
    """A name of the user's own."""

    @property
    def name(self) -> str:
        """What the cell's folder ends in: the last part of each key with its value, or the hash of a long value."""
        if self.label:
            return self.label
        name = "-".join(_word(change, self.changes) for change in self.changes)
        return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 9]}-{content_hash(list(self.changes))[:8]}"

    @property
    def shares_base(self) -> bool:
        """Whether it is measured from the suite's own base: it is, if nothing but the training is changed."""
        return all(change.startswith(_TRAINING) for change in self.changes)


def variant_of(suite: Suite, changes: Sequence[str], label: str = "") -> tuple[Suite, Variant | None]:
    """Returns the suite with the changes, and what it is a variant by: None where no result depends on any of them.

    UsageError if a change is not valid, or the label cannot be part of a folder's name.
    """
    if label and not _LABEL.fullmatch(label):
        raise UsageError(f"--name '{label}': expected letters, digits, '.', '_' and '-': folders are called after it.")
    changed = with_changes(suite, changes)
    decisive = tuple(change for change in changes if _matters(suite, change)) if changed.hash != suite.hash else ()
    return changed, Variant(suite, decisive, label) if decisive or label else None


def tuned_cell(suite: Suite, preset: Preset, reference: str) -> tuple[Suite, Variant | None]:
    """Returns the suite with the preset's settings of an algorithm, and the variant that is called like the preset.

    It is the suite itself, and no variant, for the base and where the preset keeps the default. UsageError if the
    preset has no entry for the algorithm, or its settings are not valid in this suite.
    """
    if reference == BASE:
        return suite, None
    changed, variant = variant_of(suite, preset.changes_of(algorithms.find(reference).name), preset.name)
    return (suite, None) if changed.hash == suite.hash else (changed, variant)


def without_effect(suite: Suite, variants: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the changes that all variants have and no result depends on, such as `training.keep_steps=[20]`.

    They are part of no variant's name, and the command of each cell still needs them.
    """
    first, *others = variants
    return tuple(one for one in first if all(one in other for other in others) and not _matters(suite, one))


def _matters(suite: Suite, change: str) -> bool:
    """Whether a result depends on the change. One that is valid only beside others counts as one that matters."""
    try:
        return with_changes(suite, [change]).hash != suite.hash
    except UsageError:
        return True


def expand(changes: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns all combinations of the values between commas: one list of changes for each variant.

    >>> expand(["training.group_size=4", "training.learning_rate=1e-5,5e-5"])
    [('training.group_size=4', 'training.learning_rate=1e-5'), ('training.group_size=4', 'training.learning_rate=5e-5')]
    """
    choices = []
    for change in changes:
        key, equals, value = change.partition("=")
        values = split_values(value)
        if len(values) > 1 and (len(set(values)) < len(values) or not all(values)):
            raise UsageError(f"--set '{change}': expected different values between the commas, as 1e-5,5e-5.")
        choices.append([f"{key}{equals}{one}" for one in values])
    return list(itertools.product(*choices))


def split_values(text: str) -> list[str]:
    """Splits at commas that stand in no brackets and no quotes: `[1, 2],[3]` has two values."""
    parts, depth, quote, start = [], 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        elif sign == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
        else:
            depth += (sign in _OPEN) - (sign in _CLOSE)
    return [*parts, text[start:].strip()]


def _word(change: str, among: Sequence[str]) -> str:
    key, _, value = change.partition("=")
    last = key.rpartition(".")[2]
    if sum(one.partition("=")[0].rpartition(".")[2] == last for one in among) > 1:
        last = key
    said = re.sub(r"[^A-Za-z0-9._+-]+", "_", value).strip("_.")
    return f"{last}-{said}" if said and len(said) <= 30 else f"{last}-{content_hash(value)[:8]}"
