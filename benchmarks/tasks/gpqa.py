"""GPQA-diamond: graduate-level multiple choice (Rein et al. 2023, 2311.12022).

    benchmarks.tasks.get("gpqa-diamond").load("test")                         # the hub, after accepting its terms
    benchmarks.tasks.get("gpqa-diamond", data_dir="~/problems").load("test")  # gpqa_diamond.jsonl, the hub's columns

The source lists the right option first. Here the four options of a problem are shuffled by a seed that is hashed from
its question, so that they stand in the same order for every model and on every machine. The gold answer is a letter.

The authors ask that no problem is published in plain text, so that it does not end up in training data. A page that
`rlvr-gap show --html` writes of this task is therefore not one to publish.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from benchmarks.errors import Failure
from benchmarks.seeds import derive
from benchmarks.tasks import problem_files as data
from benchmarks.tasks.math_sets import MathSet, Source

LETTERS = "ABCD"
TERMS = "https://huggingface.co/datasets/Idavidrein/gpqa"
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


class GpqaDiamond(MathSet):
    """The 198 problems of GPQA whose answer both experts agree on and most non-experts miss."""

    name = "gpqa-diamond"
    verifier = "choice"
    source = Source(
        dataset="Idavidrein/gpqa",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        config="gpqa_diamond",
        parts={"test": "train"},
        problem=("Question",),
        answer=("Correct Answer",),
        keep=("Subdomain", "High-level domain", "Record ID"),
    )

    def _entries(self, rows: Sequence[data.FileRow], where: str) -> list[tuple[str, str, dict[str, Any]]]:
        for name in ("Question", "Correct Answer", *_WRONG):
            data.pick_column(rows, (name,), where)
        return [self._entry(row) for row in rows]

    def _entry(self, row: data.FileRow) -> tuple[str, str, dict[str, Any]]:
        """Returns the problem with its options, the gold letter, and the letters; "" and "" if a part is missing."""
        question, *options = (data.as_text(row.get(name)) for name in ("Question", "Correct Answer", *_WRONG))
        if not question or not all(options):
            return "", "", {}
        order = list(range(len(options)))
        random.Random(derive("gpqa", data.content_id(question))).shuffle(order)
        lines = [f"{letter}) {options[i]}" for letter, i in zip(LETTERS, order, strict=True)]
        prompt = "\n".join([question, "", *lines, "", "Answer with the letter of the right option."])
        kept = {name: row[name] for name in self.source.keep if row.get(name) is not None}
        return prompt, LETTERS[order.index(0)], {"letters": LETTERS, **kept}

    def _no_data(self, where: str, part: str, error: Exception) -> Failure:
        plain = super()._no_data(where, part, error)
        return Failure(f"{plain}; the set is gated: accept its terms at {TERMS} and log in with 'hf auth login'")
