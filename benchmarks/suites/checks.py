"""What a suite must not ask for, although each of its keys is valid by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.suites.datasets import Dataset
    from benchmarks.suites.schema import Suite


def two_splits(suite: Suite) -> Iterator[str]:
    """One file is one split: by two names, a policy would be measured on what it was trained on."""
    called: dict[str, tuple[str, str]] = {}
    for key, dataset in suite.datasets.items():
        path = dataset.settings.get("path")
        if dataset.task != "jsonl" or not isinstance(path, str) or not Path(path).is_file():
            continue
        other, split = called.setdefault(path, (key, dataset.split))
        if split != dataset.split:
            yield (
                f"{path} is one file and so one split, but it is '{split}' in {other} and '{dataset.split}' in {key}: "
                f"give a folder with {split}.jsonl and {dataset.split}.jsonl, or the same split."
            )


def no_chains(suite: Suite) -> Iterator[str]:
    """Where the suite asks for sound chains of a task whose verifier cannot check them."""
    asked: list[tuple[str, Dataset]] = []
    if suite.training is not None and suite.training.reward == "sound":
        asked.append(("training.reward", suite.training.dataset))
    for name, design in suite.evaluation.designs.items():
        if design.stop_on == "sound":
            asked += [(f"evaluation.{name}.stop_on", dataset) for dataset in suite.evaluation.datasets.values()]
    for key, dataset in asked:
        try:
            verifier = dataset.make_verifier()
        except UsageError as error:
            yield str(error)
            continue
        if not verifier.checks_chains:
            yield (
                f"{key}: expected answer, got 'sound': verifier '{verifier.name}' of task '{dataset.task}' does not "
                "check chains of thought."
            )
