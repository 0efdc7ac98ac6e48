"""Logs of inspect-ai: made and read by itself where it is installed, and by stand-ins for its objects elsewhere.

It is no development dependency, because it brings some sixty packages. To run these tests too, install the extra
`inspect` into an environment of its own.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from benchmarks.errors import Failure, UsageError
from benchmarks.importers import Choices, get

INSTALLED = importlib.util.find_spec("inspect_ai") is not None
read = get("inspect")


def sample(problem_id: object, epoch: int, value: object = "C", *, stop: str = "stop", error: object = None, **scores):
    scored = {"match": value, **scores}
    return types.SimpleNamespace(
        id=problem_id, epoch=epoch, input=f"What is {problem_id}?", error=error,
        scores=None if error else {name: types.SimpleNamespace(value=one) for name, one in scored.items()},
        output=types.SimpleNamespace(choices=[] if error else [types.SimpleNamespace(stop_reason=stop)]),
    )  # fmt: skip


@pytest.fixture
def log(monkeypatch, tmp_path):
    """Writes files whose content a stand-in for inspect-ai's reader returns."""
    logs: dict[str, object] = {}

    def read_eval_log(path: str) -> object:
        if path not in logs:
            raise ValueError("Unable to read log\nand more lines")
        return logs[path]

    module = types.ModuleType("inspect_ai.log")
    module.read_eval_log = read_eval_log  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "inspect_ai", types.ModuleType("inspect_ai"))
    monkeypatch.setitem(sys.modules, "inspect_ai.log", module)

    def write(samples: list, status: str = "success") -> Path:
        path = tmp_path / f"{len(logs)}.eval"
        path.write_text(str(len(logs)))
        logs[str(path)] = types.SimpleNamespace(status=status, samples=samples)
        return path

    return write


def test_epochs_are_samples(log):
    path = log([
        sample("a", 2, "I"), sample("a", 1, "C"), sample(7, 1, 1.0), sample(7, 2, False),
        sample("c", 1, "I", stop="max_tokens"), sample("c", 2, error="boom"),
    ])  # fmt: skip
    counts = read([path], Choices())
    assert counts.problem_ids == ("a", "7", "c") and counts.n_N.tolist() == [2, 2, 2]
    assert counts.c_N.tolist() == [1, 1, 0]
    assert [counts.verdicts(name).tolist() for name in ("wrong", "truncated", "error")] == [
        [1, 1, 0],
        [0, 0, 1],
        [0, 0, 1],
    ]


def test_the_right_answer_before_the_limit_is_right(log):
    assert read([log([sample("a", 1, "C", stop="max_tokens")])], Choices()).c_N.tolist() == [1]


def test_files_are_joined(log):
    first, second = log([sample("a", 1, "C")]), log([sample("a", 1, "I")])
    counts = read([first, second], Choices())
    assert (counts.n_N.tolist(), counts.c_N.tolist()) == ([2], [1])


def test_one_of_several_scorers_is_chosen(log):
    path = log([sample("a", 1, "C", judge={"style": 0, "truth": 1})])
    with pytest.raises(UsageError, match=r"3 metrics \(match, judge/style, judge/truth\): choose one with --metric"):
        read([path], Choices())
    assert read([path], Choices(metric="judge/style")).c_N.tolist() == [0]
    with pytest.raises(UsageError, match=r"unknown metric 'mach'.*Did you mean 'match'"):
        read([path], Choices(metric="mach"))
    with pytest.raises(UsageError, match="--filter is not for format 'inspect'"):
        read([path], Choices(filter="none"))


@pytest.mark.parametrize(
    "samples, status, words",
    [
        ([sample("a", 1)], "error", "its status is 'error', expected 'success'"),
        ([sample("a", 1)], "cancelled", "its status is 'cancelled'"),
        ([sample("a", 1, "P")], "success", "a score must be true or false"),
        ([sample("a", 1, 0.5)], "success", "a score must be true or false"),
        ([sample("a", 1), sample("a", 1)], "success", "problem 'a' has an epoch twice"),
        ([sample("a", 1), sample("b", 1), sample("b", 2)], "success", "problem 'b' has 2 verdicts, but 'a' has 1"),
    ],
)
def test_what_would_be_a_guess_is_refused(log, samples, status, words):
    with pytest.raises(Failure, match=words):
        read([log(samples, status)], Choices())


def test_a_file_that_is_no_log_is_refused(log, tmp_path):
    (tmp_path / "x.eval").write_text("no log")
    with pytest.raises(Failure, match=r"x\.eval: inspect-ai cannot read it \(Unable to read log\)\.$"):
        read([tmp_path / "x.eval"], Choices())


def test_without_inspect_ai_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    with pytest.raises(UsageError, match=r"pip install 'rlvr-gap\[inspect\]'"):
        read([tmp_path / "x.eval"], Choices())


@pytest.mark.skipif(not INSTALLED, reason="inspect-ai is not installed here: pip install 'rlvr-gap[inspect]'")
@pytest.mark.parametrize("log_format", ["eval", "json"])
def test_a_real_log(tmp_path, monkeypatch, log_format):
    """Eight answers in a fixed order: two problems, four epochs, and one that the token limit cut off."""
    import inspect_ai
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.scorer import includes, match
    from inspect_ai.solver import generate

    counter = types.SimpleNamespace(encode=lambda text, **_: list(text))  # tiktoken would load its table from a server
    monkeypatch.setattr("tiktoken.get_encoding", lambda _: counter)
    monkeypatch.setattr("tiktoken.encoding_for_model", lambda _: counter)

    def answer(messages, tools, tool_choice, config):
        asked = messages[-1].text
        if len(seen := told.setdefault(asked, [])) == 3:
            return ModelOutput.from_content("mockllm/model", "so", stop_reason="max_tokens")
        seen.append(1)
        return ModelOutput.from_content("mockllm/model", {"2+2?": "4", "3+3?": "5"}[asked] if len(seen) > 1 else "6")

    told: dict[str, list[int]] = {}
    data = MemoryDataset([Sample(id="a", input="2+2?", target="4"), Sample(id=2, input="3+3?", target="6")])
    (log,) = inspect_ai.eval(
        Task(dataset=data, solver=generate(), scorer=[match(), includes()], epochs=4), display="none",
        model=get_model("mockllm/model", custom_outputs=answer), log_dir=str(tmp_path), log_format=log_format,
        max_connections=1, max_samples=1,
    )  # fmt: skip
    assert log.status == "success", log.error
    (path,) = tmp_path.glob(f"*.{log_format}")
    with pytest.raises(UsageError, match=r"2 metrics \(match, includes\)"):
        read([path], Choices())
    counts = read([path], Choices(metric="match"))
    columns = (counts.problem_ids, counts.n_N, counts.c_N, counts.verdicts("truncated"))
    assert set(zip(*columns, strict=True)) == {("a", 4, 2, 1), ("2", 4, 1, 1)}
