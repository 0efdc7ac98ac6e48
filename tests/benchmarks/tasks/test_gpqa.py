"""GPQA's options are shuffled in a fixed way, its gold is a letter, and an error says that it is gated. Also AIME 2025.

The problems here are made up; none of the set's own may be published.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import tasks, verifiers
from benchmarks.errors import Failure, UsageError
from benchmarks.verifiers.conformance import task_findings


def rows(n: int) -> list[dict]:
    return [
        {
            "Question": f"What is {i} + 1?", "Correct Answer": f" {i + 1}\n", "Incorrect Answer 1": str(i),
            "Incorrect Answer 2": str(i + 2), "Incorrect Answer 3": str(i + 3), "Subdomain": "Sums",
            "Record ID": f"r{i}",
        }
        for i in range(n)
    ]  # fmt: skip


def folder(path: Path, name: str, found: list[dict]) -> str:
    (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def test_the_gold_is_the_letter_of_the_right_option(tmp_path: Path) -> None:
    problems = tasks.get("gpqa-diamond", data_dir=folder(tmp_path, "gpqa_diamond", rows(200))).load("test")
    assert len(problems) == 200
    for i, problem in enumerate(problems):
        lines = problem.prompt.splitlines()
        assert lines[0] == f"What is {i} + 1?" and f"{problem.answer}) {i + 1}" in lines
        assert [line[:2] for line in lines[2:6]] == ["A)", "B)", "C)", "D)"]
        assert sorted(line[3:] for line in lines[2:6]) == sorted(map(str, (i, i + 1, i + 2, i + 3)))
    counts = Counter(problem.answer for problem in problems)
    assert set(counts) == set("ABCD") and max(counts.values()) < 75  # 50 each; a fair shuffle passes all but 1 in 10^4
    assert problems[3].data == {"letters": "ABCD", "Subdomain": "Sums", "Record ID": "r3"}


def test_the_order_of_options_depends_on_the_question_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = tasks.get("gpqa-diamond", data_dir=folder(tmp_path / "a", "gpqa_diamond", rows(9))).load("test")
    second = tasks.get("gpqa-diamond", data_dir=folder(tmp_path / "b", "gpqa_diamond", rows(9)[::-1])).load("test")
    assert first == second[::-1]


def test_it_conforms(tmp_path: Path) -> None:
    where = folder(tmp_path, "gpqa_diamond", rows(5))
    assert task_findings(lambda: tasks.get("gpqa-diamond", data_dir=where), verifiers.get("choice")) == []


def test_a_row_without_an_option_is_left_out_and_reported(tmp_path: Path) -> None:
    found = rows(3)
    found[1]["Incorrect Answer 3"] = ""
    task = tasks.get("gpqa-diamond", data_dir=folder(tmp_path, "gpqa_diamond", found))
    assert len(task.load("test")) == 2 and task.report["test"].empty == (1,)  # type: ignore[attr-defined]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    found = [{name: value for name, value in row.items() if name != "Incorrect Answer 2"} for row in rows(3)]
    with pytest.raises(UsageError, match=r"unknown column .* 'Incorrect Answer 2'"):
        tasks.get("gpqa-diamond", data_dir=folder(tmp_path, "gpqa_diamond", found)).load("test")


def test_without_access_the_terms_are_named() -> None:
    with pytest.raises(
        Failure, match=r"gpqa_diamond\.jsonl in it; the set is gated: accept its terms at https://"
    ) as error:
        tasks.get("gpqa-diamond").load("test")
    assert "\n" not in str(error.value) and "hf auth login" in str(error.value)


def test_aime_2025(tmp_path: Path) -> None:
    found = [{"id": str(i), "problem": f"Find {i} + 2.", "answer": str(i + 2)} for i in range(30)]
    problems = tasks.get("aime25", data_dir=folder(tmp_path, "aime25", found)).load("test")
    assert (len(problems), problems[4].answer, problems[4].data) == (30, "6", {"id": "4"})
    with pytest.raises(Failure, match=r"task 'aime25': 'math-ai/aime25' could not be loaded .* aime25\.jsonl"):
        tasks.get("aime25").load("test")
