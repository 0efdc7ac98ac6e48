"""The tasks whose problems come from data: the published sets, and a user's own file. Nothing here uses a network."""

from __future__ import annotations

import io
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import tasks
from benchmarks.errors import Failure, UsageError
from benchmarks.tasks import math_sets, published
from benchmarks.tasks.problem_files import as_text, content_id

FIXTURES = Path(__file__).parents[2] / "fixtures" / "math"
PROBLEMS = [json.loads(line) for line in (FIXTURES / "problems.jsonl").read_text().splitlines()]
SETS = ["math500", "omni-math-rule", "aime24", "gsm8k", "amc23", "minerva", "olympiadbench"]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        from pyarrow import Table, parquet

        parquet.write_table(Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def worked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the layout of gsm8k."""
    return [{"question": row["problem"], "answer": f"Think.\n#### {row['answer']}"} for row in rows]


class Small(math_sets.OmniMathRule):
    """omni-math-rule with a cut that a fixture can have."""

    train_rows = 10


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


# ------------------------------------------------------------------------------------------- local files


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_published_set_from_a_local_file(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"math500{suffix}", PROBLEMS)
    task = tasks.get("math500", data_dir=str(tmp_path))
    problems = task.load("test")
    assert [problem.prompt for problem in problems] == [row["problem"] for row in PROBLEMS]
    assert [problem.answer for problem in problems] == [row["answer"] for row in PROBLEMS]
    assert problems[0].problem_id == content_id(PROBLEMS[0]["problem"])
    assert problems[0].data == {"level": 1}
    assert task.verifier == "math"


@pytest.mark.parametrize("name", SETS)
def test_every_set_loads_its_test_split(tmp_path: Path, name: str) -> None:
    source = tasks.get(name).source  # type: ignore[attr-defined]
    rows = [{source.problem[0]: row["problem"], source.answer[0]: f"#### {row['answer']}"} for row in PROBLEMS]
    if name == "olympiadbench":
        rows = [row | {"final_answer": [row["final_answer"]]} for row in rows]
    write(tmp_path / f"{name.replace('-', '_')}.jsonl", rows)
    task = Small(data_dir=str(tmp_path)) if name == "omni-math-rule" else tasks.get(name, data_dir=str(tmp_path))
    problems = task.load("test")
    assert len(problems) == (len(PROBLEMS) - 10 if name == "omni-math-rule" else len(PROBLEMS))
    assert len({problem.problem_id for problem in problems}) == len(problems)


def test_gsm8k_takes_what_follows_the_hashes(tmp_path: Path) -> None:
    write(tmp_path / "gsm8k.jsonl", [*worked(PROBLEMS), {"question": "No final line?", "answer": "None."}])
    task = tasks.get("gsm8k", data_dir=str(tmp_path))
    assert [problem.answer for problem in task.load("test")] == [row["answer"] for row in PROBLEMS]
    assert task.report["test"].empty == (len(PROBLEMS),)  # type: ignore[attr-defined]


def test_several_answers_and_whole_floats_are_one_text() -> None:
    assert as_text(["$3$", "$-1$"]) == "$3$, $-1$"
    assert as_text(204.0) == "204"
    assert as_text(2.5) == "2.5"
    assert as_text(None) == ""


def test_ids_do_not_depend_on_order_or_white_space(tmp_path: Path) -> None:
    spaced = [row | {"problem": row["problem"].replace(" ", "\n ")} for row in reversed(PROBLEMS)]
    one = tasks.get("math500", data_dir=str(write(tmp_path / "a/math500.jsonl", PROBLEMS).parent)).load("test")
    two = tasks.get("math500", data_dir=str(write(tmp_path / "b/math500.jsonl", spaced).parent)).load("test")
    assert [p.problem_id for p in one] == [p.problem_id for p in reversed(two)]


# ------------------------------------------------------------------------------------------------ splits


def test_the_split_by_hash_is_disjoint_and_does_not_depend_on_order(tmp_path: Path) -> None:
    parts = []
    for folder, rows in [("a", PROBLEMS), ("b", PROBLEMS[::-1])]:
        write(tmp_path / folder / "omni-math-rule.jsonl", rows)
        task = Small(data_dir=str(tmp_path / folder), validation_size=3)
        parts.append({split: [p.problem_id for p in task.load(split)] for split in task.splits})
    assert parts[0] == parts[1]
    assert {split: len(ids) for split, ids in parts[0].items()} == {"train": 7, "test": 6, "validation": 3}
    assert len({one for ids in parts[0].values() for one in ids}) == len(PROBLEMS)


def test_the_test_split_does_not_depend_on_the_validation_size(tmp_path: Path) -> None:
    write(tmp_path / "omni-math-rule.jsonl", PROBLEMS)
    plain = Small(data_dir=str(tmp_path))
    assert plain.load("test") == Small(data_dir=str(tmp_path), validation_size=3).load("test")
    assert len(plain.load("train")) == 10
    assert plain.splits == ("train", "test")


def test_copies_of_a_problem_never_lie_on_both_sides(tmp_path: Path) -> None:
    for cut in range(1, 2 * len(PROBLEMS) - 1):
        write(tmp_path / "omni_math_rule.jsonl", PROBLEMS + PROBLEMS)
        task = type("Cut", (math_sets.OmniMathRule,), {"train_rows": cut})(data_dir=str(tmp_path))
        train, test = ({p.prompt for p in task.load(split)} for split in ("train", "test"))
        assert not train & test
        assert len(task.load("train")) == cut


def test_gsm8k_sets_validation_problems_aside(tmp_path: Path) -> None:
    write(tmp_path / "gsm8k_train.jsonl", worked(PROBLEMS))
    task = tasks.get("gsm8k", data_dir=str(tmp_path), validation_size=4)
    train, validation = (task.load(split) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (len(PROBLEMS) - 4, 4)
    assert not {p.problem_id for p in train} & {p.problem_id for p in validation}
    with pytest.raises(UsageError, match="validation_size=256 leaves nothing of 16"):
        tasks.get("gsm8k", data_dir=str(tmp_path)).load("validation")


def test_validation_without_a_size_says_which_setting_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="validation_size=N"):
        tasks.get("omni-math-rule", data_dir=str(tmp_path)).load("validation")
    with pytest.raises(UsageError, match="needs a split 'train'"):
        tasks.get("math500", validation_size=5)


# ------------------------------------------------------------------------------------------ what was odd


def test_a_published_set_keeps_duplicates_and_reports_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "math500.jsonl", [*PROBLEMS, PROBLEMS[2], PROBLEMS[2] | {"answer": " "}])
    task = tasks.get("math500", data_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        problems = task.load("test")
    first = content_id(PROBLEMS[2]["problem"])
    assert len(problems) == len(PROBLEMS) + 1
    assert [p.problem_id for p in problems].count(first) == 1
    assert problems[-1].problem_id == f"{first}-2"
    report = task.report["test"]  # type: ignore[attr-defined]
    assert (report.duplicates, report.empty, report.rows) == ((first,), (len(PROBLEMS) + 1,), len(PROBLEMS) + 2)
    assert "1 duplicated problems, 1 rows without" in caplog.text


def test_the_report_identifies_the_problems(tmp_path: Path) -> None:
    digests = []
    for folder, rows in [("a", PROBLEMS), ("b", PROBLEMS), ("c", [PROBLEMS[0] | {"answer": "22"}, *PROBLEMS[1:]])]:
        write(tmp_path / folder / "math500.jsonl", rows)
        task = tasks.get("math500", data_dir=str(tmp_path / folder))
        task.load("test")
        digests.append(task.report["test"].sha256)  # type: ignore[attr-defined]
    assert digests[0] == digests[1] != digests[2]


# ---------------------------------------------------------------------------------------- the hub's layout


def test_a_local_folder_in_the_hubs_layout(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: test.jsonl\n---\n"
    write(tmp_path / "HuggingFaceH4/MATH-500/test.jsonl", PROBLEMS)
    (tmp_path / "HuggingFaceH4/MATH-500/README.md").write_text(card)
    for folder in (tmp_path, tmp_path / "HuggingFaceH4", tmp_path / "HuggingFaceH4/MATH-500"):
        task = tasks.get("math500", data_dir=str(folder))
        assert [p.answer for p in task.load("test")] == [row["answer"] for row in PROBLEMS]


def test_a_folder_with_parquet_shards(tmp_path: Path) -> None:
    for i, rows in enumerate([PROBLEMS[:9], PROBLEMS[9:]]):
        write(tmp_path / f"aime_2024/data/train-0000{i}-of-00002.parquet", rows)
    problems = tasks.get("aime24", data_dir=str(tmp_path)).load("test")
    assert [p.prompt for p in problems] == [row["problem"] for row in PROBLEMS]


@pytest.mark.parametrize("with_card", [True, False])
def test_a_dataset_with_a_configuration(tmp_path: Path, with_card: bool) -> None:
    folder = tmp_path / "gsm8k"
    write(folder / "main/train-00000-of-00001.parquet", worked(PROBLEMS[:12]))
    write(folder / "main/test-00000-of-00001.parquet", worked(PROBLEMS[12:]))
    if with_card:
        lines = [f"  - split: {split}\n    path: main/{split}-*\n" for split in ("train", "test")]
        (folder / "README.md").write_text(
            "---\nconfigs:\n- config_name: main\n  data_files:\n" + "".join(lines) + "---\n"
        )
    task = tasks.get("gsm8k", data_dir=str(tmp_path), validation_size=2)
    assert {split: len(task.load(split)) for split in task.splits} == {"train": 10, "test": 4, "validation": 2}


# ------------------------------------------------------------------------------------------------ the hub


PIN = "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """A hub that is asked and not reached: what it was asked for, over a network that is there."""
    asked: list[tuple[Any, ...]] = []
    write(tmp_path / "snapshot" / "test.jsonl", PROBLEMS)

    def info(self: Any, dataset: str, *, revision: str | None) -> SimpleNamespace:
        asked.append(("resolve", dataset, revision))
        return SimpleNamespace(sha=f"{len(asked):040x}")

    def download(dataset: str, *, repo_type: str, revision: str, local_files_only: bool) -> str:
        assert repo_type == "dataset"
        asked.append(("cache" if local_files_only else "download", dataset, revision))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: False)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


def test_the_pinned_commit_is_loaded_and_recorded_and_then_read_from_the_cache(hub: list[tuple[Any, ...]]) -> None:
    name = "HuggingFaceH4/MATH-500"
    for _ in range(2):
        task = tasks.get("math500")
        assert len(task.load("test")) == len(PROBLEMS)
        assert task.report["test"].revision == task.data_revision == PIN  # type: ignore[attr-defined]
    assert hub == [("download", name, PIN), ("cache", name, PIN)]


def test_a_branch_is_resolved_once_and_stays_that_commit(hub: list[tuple[Any, ...]]) -> None:
    """Nothing follows a moving branch: the second task gets what the first one got, without a network."""
    first, second = (tasks.get("math500", revision="main").data_revision for _ in range(2))
    assert first == second == f"{1:040x}"
    assert hub == [("resolve", "HuggingFaceH4/MATH-500", "main")]


def test_a_branch_that_nobody_resolved_is_not_loaded_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    with pytest.raises(Failure, match=r"revision 'main' of HuggingFaceH4/MATH-500 could not be resolved"):
        tasks.get("math500", revision="main").load("test")


def test_every_published_set_is_pinned() -> None:
    sets = [task for name in tasks.TASKS if isinstance(task := tasks.find(name).made_by, type)]
    pinned = [task for task in sets if issubclass(task, math_sets.MathSet)]
    assert len(pinned) >= 7
    assert all(published.is_commit(task.source.revision) for task in pinned)
    assert tasks.get("math500", data_dir=".").data_revision is None


def test_a_snapshot_in_the_hubs_cache_is_used_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real client, offline, on a cache in the hub's layout."""
    folder = tmp_path / "hub" / "datasets--HuggingFaceH4--MATH-500"
    write(folder / "snapshots" / PIN / "test.jsonl", PROBLEMS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert len(tasks.get("math500").load("test")) == len(PROBLEMS)


def test_offline_says_how_to_give_a_local_copy() -> None:
    with pytest.raises(Failure, match=r"'HuggingFaceH4/MATH-500' could not be loaded .*data_dir=FOLDER.*math500.jsonl"):
        tasks.get("math500").load("test")
    with pytest.raises(Failure, match=r"could not be loaded \(offline mode\).*omni_math_rule.jsonl"):
        tasks.get("omni-math-rule").load("train")


def test_a_file_that_is_not_on_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    body = "".join(
        json.dumps(row | {"problem": row["problem"] + "\u2028"}, ensure_ascii=False) + "\n" for row in PROBLEMS
    )

    def open_url(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(body.encode())

    commit = "4793415ef37d31c9cdb4e5b82dbe172f76f8cf08"
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: False)
    monkeypatch.setattr("urllib.request.urlopen", open_url)
    for _ in range(2):  # the second one from the cache
        assert len(Small().load("test")) == len(PROBLEMS) - 10
    assert asked == [f"https://raw.githubusercontent.com/KbsdJames/omni-math-rule/{commit}/omni_math_rule.jsonl"]
    with pytest.raises(UsageError, match="revision='HEAD' must be a commit"):
        Small(revision="HEAD").load("test")


# ------------------------------------------------------------------------------------------------- errors


def test_what_is_missing_is_named_in_one_line(tmp_path: Path) -> None:
    write(tmp_path / "aime24.jsonl", PROBLEMS)
    with pytest.raises(UsageError, match=r"expected math500.jsonl .*data_dir=.*found: aime24.jsonl") as caught:
        tasks.get("math500", data_dir=str(tmp_path)).load("test")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="is not a folder"):
        tasks.get("math500", data_dir=str(tmp_path / "none")).load("test")
    with pytest.raises(UsageError, match=r"unknown split.*Known: test"):
        tasks.get("math500", data_dir=str(tmp_path)).load("train")
    with pytest.raises(UsageError, match="revision='x' is for the hub"):
        tasks.get("math500", data_dir=str(tmp_path), revision="x")


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "math500.jsonl", [{"problem": "1 + 1", "answers": "2"}])
    with pytest.raises(UsageError, match=r"'answer'. Did you mean 'answers'"):
        tasks.get("math500", data_dir=str(tmp_path)).load("test")


@pytest.mark.parametrize(("content", "message"), [("{bad\n", ":1: not JSON"), ('{"a": 1}\n[1]\n', ":2: a JSON object")])
def test_a_broken_line_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "math500.jsonl").write_text(content)
    with pytest.raises(Failure, match=message):
        tasks.get("math500", data_dir=str(tmp_path)).load("test")


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "math500.parquet").write_bytes(b"no parquet")
    with pytest.raises(Failure, match=r"math500.parquet: cannot be read as parquet"):
        tasks.get("math500", data_dir=str(tmp_path)).load("test")


def test_an_empty_file_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "math500.jsonl").write_text("")
    with pytest.raises(Failure, match="no problem with an answer"):
        tasks.get("math500", data_dir=str(tmp_path)).load("test")


# --------------------------------------------------------------------------------------- a user's own file


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


def test_a_single_file_is_one_split_and_never_two(tmp_path: Path) -> None:
    path = str(write(tmp_path / "mine.jsonl", PROBLEMS))
    with pytest.raises(UsageError, match="the split 'test'; for 'train' give a folder"):
        tasks.get("jsonl", path=path).load("train")
    assert len(tasks.get("jsonl", path=path, split="train").load("train")) == len(PROBLEMS)


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
