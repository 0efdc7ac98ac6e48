"""Other tools' files: what is taken, what is refused and how it is said, and the record that comes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import importers
from benchmarks.errors import Failure, UsageError
from benchmarks.importers import Choices
from benchmarks.statistics.counts import Counts

NAN = float("nan")


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(format: str, *files: Path, **choices: str) -> Counts:
    return importers.get(format)(files, Choices(**choices))


def found(counts: Counts) -> dict[str, tuple[int, int]]:
    return {p: (int(n), int(c)) for p, n, c in zip(counts.problem_ids, counts.n_N, counts.c_N, strict=True)}


def test_unknown_format():
    with pytest.raises(UsageError, match=r"unknown format 'lm_eval'. Did you mean 'lm-eval'\? Known: counts, inspect"):
        importers.get("lm_eval")


@pytest.mark.parametrize("format", importers.IMPORTERS)
def test_every_format_refuses_what_it_has_none_of(format, tmp_path):
    if format == "inspect":
        pytest.importorskip("inspect_ai", reason="the extra 'inspect' is not installed here")
    with pytest.raises(UsageError, match="file"):
        read(format)
    with pytest.raises(Failure, match=r"none\.jsonl"):
        read(format, tmp_path / "none.jsonl")
    (tmp_path / "empty").write_text("")
    with pytest.raises(Failure, match="empty: "):
        read(format, tmp_path / "empty")
    (tmp_path / "binary").write_bytes(b"\xff\x00\xfe" * 50)
    with pytest.raises(Failure, match="binary"):
        read(format, tmp_path / "binary")


# ------------------------------------------------------------------------------------------------ counts


def test_counts_keep_their_design(tmp_path):
    header = {"schema": 1, "design": {"rounds": [4, 8], "stop_after": 2}}
    rows = [{"problem_id": "a", "n": 4, "correct": 3}, {"problem_id": "b", "n": 8, "correct": 1}]
    counts = read("counts", lines(tmp_path / "c.jsonl", [header, *rows]))
    assert counts.design.to_json() == header["design"] and found(counts) == {"a": (4, 3), "b": (8, 1)}
    with pytest.raises(Failure, match="problem 'b' has n = 8, but 'a' has 4"):
        read("counts", lines(tmp_path / "d.jsonl", rows))
    with pytest.raises(UsageError, match="takes one file, got 2"):
        read("counts", tmp_path / "c.jsonl", tmp_path / "d.jsonl")
    with pytest.raises(UsageError, match="--metric is not for format 'counts'"):
        read("counts", tmp_path / "c.jsonl", metric="acc")


# ------------------------------------------------------------------------------------------------ passk-paper


def paper(idx: object, *scores: object, **more: object) -> dict[str, object]:
    return {"idx": idx, "code": [f"c{i}" for i in range(len(scores))], "score": list(scores), "gt": "7"} | more


def test_paper(tmp_path):
    rows = [
        paper(0, True, False, False, finish_reason=["length", "length", "stop"]),
        paper("x", None, True, True),
        paper(2, 0, 1.0, NAN),
    ]
    counts = read("passk-paper", lines(tmp_path / "p.jsonl", rows))
    assert found(counts) == {"0": (3, 1), "x": (3, 2), "2": (3, 1)}
    assert counts.design.rounds == (3,) and counts.design.stop_after is None
    assert counts.extra == {"wrong": [1, 0, 1], "truncated": [1, 0, 0], "error": [0, 1, 1]}


def test_paper_shards_and_seeds(tmp_path):
    """Shards hold other problems, seeds the same ones: here two of problem 0 and 1, in two shards each."""
    files = [
        lines(tmp_path / f"seed{seed}_s{idx}.jsonl", [paper(idx, True, False, pred=seed)])
        for seed in (0, 1)
        for idx in (0, 1)
    ]
    assert found(read("passk-paper", *files)) == {"0": (4, 2), "1": (4, 2)}
    with pytest.raises(Failure, match=r"2 more: problem '1' has 2 verdicts, but '0' has 4: they must be equal"):
        read("passk-paper", *files[:3])
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(files[0].read_bytes())
    with pytest.raises(UsageError, match="the same file"):
        read("passk-paper", files[0], copy)


@pytest.mark.parametrize(
    "rows, words",
    [
        ([paper(0, True, False), paper(1, True, True), paper(2, True), paper(3, True)], "problem '2' has 1 verdicts"),
        ([paper(0, True), paper("0", False)], "problem '0' comes twice"),
        ([paper(0, True, code=["a", "b"])], "problem '0' has 2 completions, but 1 scores"),
        ([paper(0, True, finish_reason=[])], "problem '0' has 0 finish reasons"),
        ([paper(0)], "problem '0' has no verdict"),
        ([paper(0, 0.5)], "problem '0': a score must be true or false"),
        ([paper(0, "True")], "problem '0': a score must be true or false"),
        ([{"idx": 0, "code": ["a"]}], "problem '0': 'score' must be a list"),
        ([{"code": ["a"], "score": [True]}], "line 1: 'idx' must be"),
        ([paper(True, True)], "line 1: 'idx' must be"),
        ([[1]], "line 1: expected an object"),
    ],
)
def test_paper_refuses(tmp_path, rows, words):
    with pytest.raises(Failure, match=rf"^{re.escape(str(tmp_path))}/p.jsonl: .*{re.escape(words)}") as said:
        read("passk-paper", lines(tmp_path / "p.jsonl", rows))
    assert "\n" not in str(said.value)


def test_a_line_cut_off(tmp_path):
    (tmp_path / "p.jsonl").write_text(json.dumps(paper(0, True)) + '\n\n{"idx": 1, "sco')
    with pytest.raises(Failure, match=r"line 3 is not JSON"):
        read("passk-paper", tmp_path / "p.jsonl")
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    with pytest.raises(Failure, match=r"line 1 is not JSON"):
        read("passk-paper", tmp_path / "deep.jsonl")


# ------------------------------------------------------------------------------------------------ lm-eval


def sample(doc_id: object, score: object, responses: int = 1, **more: object) -> dict[str, object]:
    return {
        "doc_id": doc_id, "doc": {"q": "?"}, "target": "7", "arguments": {}, "resps": [["7"] * responses],
        "filtered_resps": ["7"], "filter": "none", "metrics": ["exact_match"], "doc_hash": f"h{doc_id}",
        "prompt_hash": "p", "target_hash": "t", "exact_match": score,
    } | more  # fmt: skip


def test_lm_eval_one_file_a_repetition(tmp_path):
    first = lines(tmp_path / "a.jsonl", [sample(0, 1.0), sample(1, 0.0)])
    second = lines(tmp_path / "b.jsonl", [sample(1, NAN), sample(0, 0)])
    counts = read("lm-eval", first, second)
    assert found(counts) == {"0": (2, 1), "1": (2, 0)} and counts.extra["error"] == [0, 1]
    other = lines(tmp_path / "c.jsonl", [sample(0, 1, doc_hash="else"), sample(1, 1)])
    with pytest.raises(Failure, match=r"c.jsonl: problem '0' is another one here than in an earlier file"):
        read("lm-eval", first, other)


def test_lm_eval_a_score_for_each_response(tmp_path):
    rows = [sample(0, [1, 0, None], 3), sample(1, [True, True, True], 3)]
    counts = read("lm-eval", lines(tmp_path / "a.jsonl", rows))
    assert found(counts) == {"0": (3, 1), "1": (3, 3)} and counts.extra["error"] == [1, 0]


def test_lm_eval_filters_and_metrics(tmp_path):
    both = [
        sample(i, i, filter=name, acc=1, metrics=["exact_match", "acc"]) for i in (0, 1) for name in ("strict", "flex")
    ]
    path = lines(tmp_path / "a.jsonl", both)
    assert found(read("lm-eval", path, filter="flex", metric="exact_match")) == {"0": (1, 0), "1": (1, 1)}
    assert found(read("lm-eval", path, filter="flex", metric="acc")) == {"0": (1, 1), "1": (1, 1)}
    for choices, words in [
        ({"metric": "acc"}, r"several filters \(strict, flex\): choose one with --filter"),
        ({"filter": "strict"}, r"2 metrics \(exact_match, acc\): choose one with --metric"),
        ({"filter": "strct"}, "unknown filter of .* Did you mean 'strict'"),
        ({"filter": "flex", "metric": "exact"}, "unknown metric 'exact'. Did you mean 'exact_match'"),
    ]:
        with pytest.raises(UsageError, match=words):
            read("lm-eval", path, **choices)


def test_lm_eval_older_logs_do_not_list_metrics(tmp_path):
    old = [{k: v for k, v in sample(i, 1).items() if k not in ("metrics", "filter", "doc_hash")} for i in (0, 1)]
    assert found(read("lm-eval", lines(tmp_path / "a.jsonl", old))) == {"0": (1, 1), "1": (1, 1)}


@pytest.mark.parametrize(
    "rows, words",
    [
        ([sample(0, 1.0, 8)], "problem '0' has 8 responses, but one score (exact_match)"),
        ([sample(0, [1, 0], 3)], "problem '0' has 3 completions, but 2 scores"),
        ([sample(0, [1, 0], 2), sample(1, [1], 1)], "problem '1' has 1 verdicts, but '0' has 2"),
        ([sample(0, 1), sample(0, 1)], "problem '0' comes twice"),
        ([sample(0, 0.25)], "problem '0': a score must be"),
        ([sample(None, 1)], "line 1: 'doc_id' must be"),
    ],
)
def test_lm_eval_refuses(tmp_path, rows, words):
    with pytest.raises(Failure, match=re.escape(words)):
        read("lm-eval", lines(tmp_path / "a.jsonl", rows))


# ------------------------------------------------------------------------------------------------ lighteval


def details(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def row(i: int, texts: int = 4, prefix: str = "", **metric: object) -> dict[str, Any]:
    return {
        f"{prefix}doc{prefix}": {"id": str(i), "query": f"q{i}", "choices": ["7"]},
        f"{prefix}model_response{prefix}": {"text": [f"t{j}" for j in range(texts)], "output_tokens": [[1]] * texts},
        f"{prefix}metric{prefix}": metric,
    }


MEAN = "pass@k:k=1&n=4"


def test_lighteval_a_mean_says_how_many(tmp_path):
    path = details(tmp_path / "d.parquet", [row(0, **{MEAN: 0.75}), row(1, **{MEAN: 0.0})])
    counts = read("lighteval", path)
    assert found(counts) == {"0": (4, 3), "1": (4, 0)} and counts.extra["wrong"] == [1, 4]
    dunder = details(tmp_path / "e.parquet", [row(0, prefix="__", **{MEAN: 0.75}), row(1, prefix="__", **{MEAN: 0.0})])
    assert found(read("lighteval", dunder)) == found(counts)


@pytest.mark.parametrize(
    "metric, score, expected",
    [
        ("avg@n:n=4", 0.5, (4, 2)),
        ("avg@4", 0.25, (4, 1)),
        ("math_pass@1:4_samples", 1.0, (4, 4)),
        ("math_pass@1:1_samples", 1.0, (1, 1)),
        ("extractive", [1.0, 0.0, 1.0, 0.0], (4, 2)),
    ],
)
def test_lighteval_names_of_means(tmp_path, metric, score, expected):
    assert found(read("lighteval", details(tmp_path / "d.parquet", [row(0, **{metric: score})]))) == {"0": expected}


def test_lighteval_one_completion(tmp_path):
    rows = [row(0, 1, em=1.0), row(1, 1, em=0.0), row(2, 1, em=NAN), row(3, 1, em=None)]
    counts = read("lighteval", details(tmp_path / "d.parquet", rows))
    assert found(counts) == {"0": (1, 1), "1": (1, 0), "2": (1, 0), "3": (1, 0)}
    assert counts.extra["error"] == [0, 0, 1, 1]


def test_lighteval_oldest_columns(tmp_path):
    rows = [{"example": f"q{i}", "predictions": ["a", "b"], "metrics": {"pass@1:2_samples": i / 2}} for i in (0, 1, 2)]
    counts = read("lighteval", details(tmp_path / "d.parquet", rows))
    assert [pair for _, pair in found(counts).items()] == [(2, 0), (2, 1), (2, 2)]
    assert len(set(counts.problem_ids)) == 3


@pytest.mark.parametrize(
    "rows, words",
    [
        ([row(0, **{MEAN: 0.7})], "problem '0': pass@k:k=1&n=4 = 0.7 is not a whole number of 4 completions"),
        ([row(0, **{MEAN: NAN})], "problem '0': pass@k:k=1&n=4 = nan is not"),
        ([row(0, **{"pass@k:k=4&n=4": 1.0})], "is one number for 4 completions, and not their mean"),
        ([row(0, **{"maj@4": 1.0})], "is one number for 4 completions, and not their mean"),
        ([row(0, **{"pass@k:k=1&n=16": 1.0})], "problem '0' has 4 completions, but 'pass@k:k=1&n=16' is of 16"),
        ([row(0, em=[1.0, 0.0])], "problem '0' has 4 completions, but 2 scores"),
        ([row(0, **{"avg@n": 1.0}), row(1, 2, **{"avg@n": 1.0})], "problem '1' has 2 verdicts, but '0' has 4"),
        ([row(0, **{MEAN: 1.0})] * 2, "problem '0' comes twice"),
        ([row(0, 0, em=1.0)], "problem '0' has no completion"),
        ([{"doc": "x", "model_response": "y", "metric": "{'em': 1.0}"}], "column 'metric' holds string"),
        ([{"doc": "x", "metric": {"em": 1.0}}], "no column 'model_response'"),
        ([{"a": 1}], "no column 'doc'"),
    ],
)
def test_lighteval_refuses(tmp_path, rows, words):
    with pytest.raises(Failure, match=re.escape(words)):
        read("lighteval", details(tmp_path / "d.parquet", rows))


def test_lighteval_several_metrics(tmp_path):
    path = details(tmp_path / "d.parquet", [row(0, **{MEAN: 0.5, "avg@2": 1.0})])
    assert found(read("lighteval", path, metric="avg@2")) == {"0": (2, 2)}
    with pytest.raises(UsageError, match="2 metrics"):
        read("lighteval", path)
    with pytest.raises(UsageError, match="unknown metric"):
        read("lighteval", path, metric="em")
    with pytest.raises(UsageError, match="--filter is not for"):
        read("lighteval", path, filter="none")
