"""The task that reads a user's own file of problems."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from benchmarks import tasks
from benchmarks.errors import UsageError
from tests.benchmarks.tasks.test_problem_files import FIXTURES, PROBLEMS, write


def test_a_users_own_file_is_a_task() -> None:
    task = tasks.get("jsonl", path=str(FIXTURES / "problems.jsonl"))
    problems = task.load("test")
    assert [(p.prompt, p.answer) for p in problems] == [(row["problem"], row["answer"]) for row in PROBLEMS]
    assert task.verifier == "math"
    assert task.load("test") == problems


def test_own_columns_ids_and_verifier() -> None:
    settings = {"problem_column": "question", "answer_column": "solution", "id_column": "id", "data_columns": ["id"]}
    task = tasks.get("jsonl", path=str(FIXTURES / "odd.jsonl"), verifier="countdown", **settings)
    problems = task.load("test")
    assert [p.problem_id for p in problems] == ["a", "e"]
    assert problems[0].data == {"id": "a"}
    assert task.verifier == "countdown"
    report = task.report["test"]  # type: ignore[attr-defined]
    assert (report.rows, report.duplicates, report.empty) == (5, ("a",), (2, 3))


def test_a_folder_holds_a_file_for_each_split(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", PROBLEMS[:10])
    write(tmp_path / "test.parquet", PROBLEMS[10:])
    task = tasks.get("jsonl", path=str(tmp_path))
    assert (len(task.load("train")), len(task.load("test"))) == (10, 6)
    with pytest.raises(UsageError, match=r"'validation.jsonl'.*Known: test.parquet, train.jsonl"):
        task.load("validation")


def test_what_is_odd_about_a_file_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(write(tmp_path / "mine.jsonl", [*PROBLEMS, PROBLEMS[0]]))
    with caplog.at_level(logging.WARNING):
        assert tasks.get("jsonl", path=path).load("test") == tasks.get("jsonl", path=path).load("test")
    assert caplog.text.count("1 duplicated problems") == 1


def test_a_single_file_is_the_split_that_is_asked_for(tmp_path: Path) -> None:
    path = str(write(tmp_path / "mine.jsonl", PROBLEMS))
    assert tasks.get("jsonl", path=path).load("train") == tasks.get("jsonl", path=path).load("test")
    assert len(tasks.get("jsonl", path=path, split="train").load("train")) == len(PROBLEMS)
    with pytest.raises(UsageError, match="the split 'train'; for 'test' give a folder"):
        tasks.get("jsonl", path=path, split="train").load("test")


def test_mistakes_in_the_settings_of_an_own_file_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", PROBLEMS)
    shutil.copy(path, tmp_path / "mine.txt")
    for settings, message in [
        ({"path": str(tmp_path / "mime.jsonl")}, "Did you mean 'mine.jsonl'"),
        ({"path": str(tmp_path / "mine.txt")}, "expected .jsonl or .parquet"),
        ({"path": str(path), "answer_column": "anwser"}, "Did you mean 'answer'"),
        ({"path": str(path), "id_column": "level"}, "holds '1' 4 times; problem ids must be unique"),
        ({"path": str(path), "split": "tets"}, "Did you mean 'test'"),
    ]:
        with pytest.raises(UsageError, match=message):
            tasks.get("jsonl", **settings).load("test")
