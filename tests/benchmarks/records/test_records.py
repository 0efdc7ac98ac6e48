"""record.json: what is written can be read, what is broken is named, a full disk costs nothing."""

from __future__ import annotations

import copy
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import Failure
from benchmarks.files import content_hash, file_sha256, write_json_atomic, write_text_atomic
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import Record, read_record, write_record
from benchmarks.statistics.counts import Counts, write_counts
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.statistics.passk import FixedDesign


def evaluation() -> dict:
    """Two problems, four samples of each; 3 of 8 correct."""
    return {
        "design": {"rounds": [4], "stop_after": None},
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": None, "max_new_tokens": 64, "seed": 0},
        "n_problems": 2,
        "problems_hash": "0123456789abcdef",
        "verdicts": {"correct": 3, "wrong": 4, "truncated": 1, "error": 0},
        "pass_at_k": {"1": 0.375, "4": 1.0},
        "standard_error": {"1": {"total": 0.1, "sampling": 0.05}, "4": {"total": None, "sampling": 0.0}},
        "tokens": 100,
        "completions": 8,
        "seconds": 1.5,
        "chains": {"checked": 8, "sound": 4, "correct_checked": 3, "correct_sound": 2},
        "counts": {"path": "eval/countdown/counts.jsonl", "sha256": "0" * 64},
        "completions_file": None,
        "versions": {"task": 1, "verifier": 2},
        "engine": "scripted",
    }


def trained() -> dict:
    """A valid record of a trained cell, as JSON."""
    gap = sampling_efficiency_gap({"a": (4, 1), "b": (4, 2)}, {"a": (4, 3), "b": (4, 0)}, k=4)
    spent = {"completions": 0, "tokens": 0}
    return {
        "schema": 1,
        "suite": {"name": "countdown", "hash": "00ff"},
        "cell": {"algorithm": "grpo", "seed": 0, "variant": None, "base_model": "tiny", "base_hash": "aa"},
        "settings": {"lr": 1e-6, "betas": [0.9, 0.99]},
        "provenance": {
            "commit": "abc",
            "dirty": False,
            "versions": {"numpy": "2"},
            "command": "make bench ALGO=grpo",
            "started": "2025-01-01T00:00:00Z",
            "finished": "2025-01-01T00:10:00+00:00",
            "machine": {"accelerator": None, "cores": 2},
        },
        "training": {
            "steps": 10,
            "updates": 20,
            "completions": 640,
            "tokens": 9000,
            "discarded": spent,
            "greedy": spent,
            "seconds": {"generate": 3.0, "verify": 0.5, "train": 2.5},
            "peak_memory_bytes": None,
            "diverged": False,
            "stopped_by": "updates",
            "metrics": {"kl": 0.1, "entropy": None},
        },
        "evaluations": {"countdown": evaluation()},
        "gap": {"countdown": gap.to_json()},
    }


def base() -> dict:
    data = trained()
    data["cell"]["algorithm"] = "base"
    return data | {"training": None, "gap": None}


def changed(data: dict, path: str, value: object) -> dict:
    """A deep copy with the key at the dotted path set; with `...`, removed."""
    data = copy.deepcopy(data)
    *parents, key = path.split(".")
    here = data
    for parent in parents:
        here = here[parent]
    if value is ...:
        del here[key]
    else:
        here[key] = value
    return data


def failure(tmp_path, data: object) -> str:
    """What reading this JSON says; one line that names the file."""
    path = tmp_path / "record.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(Failure) as caught:
        read_record(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


# ---------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize("make", [trained, base])
def test_round_trip(tmp_path, make):
    record = Record.model_validate(make())
    path = tmp_path / "deep" / "record.json"
    write_record(path, record)
    assert read_record(path) == record
    write_record(tmp_path / "again.json", read_record(path))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_written_keys_are_the_contract(tmp_path):
    write_record(tmp_path / "r.json", Record.model_validate(trained()))
    data = json.loads((tmp_path / "r.json").read_text())
    contract = ["schema", "suite", "cell", "settings", "provenance", "training", "evaluations", "gap"]
    assert [key for key in data if key in contract] == contract
    assert set(data) - set(contract) == {"spec_hash", "imported", "sound_gap", "points"}
    assert data["evaluations"]["countdown"]["pass_at_k"] == {"1": 0.375, "4": 1.0}
    assert data["evaluations"]["countdown"]["sampling"]["seed"] == 0  # an engine's own key survives


def test_imported_record_may_lack_what_its_source_does_not_say(tmp_path):
    data = changed(trained(), "training", None) | {"imported": {"source": "2501.00001", "format": "counts"}}
    for path in ("tokens", "seconds", "engine", "problems_hash", "versions.task", "sampling.top_p"):
        data = changed(data, f"evaluations.countdown.{path}", None)
    write_record(tmp_path / "r.json", Record.model_validate(data))
    assert read_record(tmp_path / "r.json").imported.format == "counts"


def test_every_half_written_record_is_refused(tmp_path):
    text = json.dumps(trained())
    for length in range(0, len(text) - 1, 97):
        assert "not a whole JSON file" in failure(tmp_path, text[:length])


@pytest.mark.parametrize(
    ("path", "key", "hint"),
    [
        ("", "evalutions", "'evaluations'"),
        ("", "shcema", "'schema'"),
        ("cell", "algorithim", "'algorithm'"),
        ("evaluations.countdown", "verdict", "'verdicts'"),
        ("evaluations.countdown.verdicts", "truncate", "'truncated'"),
        ("gap.countdown", "hihg", "'high'"),
        ("gap.countdown.crossing", "kmax", "'k_max'"),
        ("training.discarded", "token", "'tokens'"),
    ],
)
def test_unknown_key_names_the_nearest(tmp_path, path, key, hint):
    where = f"{path}.{key}".lstrip(".")
    message = failure(tmp_path, changed(trained(), where, 1))
    assert f"{where}: unknown key '{key}'. Did you mean {hint}?" in message


def test_hint_is_of_the_right_model_where_a_dataset_is_called_like_a_key(tmp_path):
    data = base()
    data["evaluations"] = {"verdicts": evaluation() | {"enigne": 1}}
    assert "evaluations.verdicts.enigne: unknown key 'enigne'. Did you mean 'engine'?" in failure(tmp_path, data)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schema", 2, "schema is 2, expected 1"),
        ("schema", ..., "schema is None, expected 1"),
        ("suite", ..., "suite: this key is missing"),
        ("training.diverged", ..., "training.diverged: this key is missing"),
        ("training.steps", "17", "training.steps: expected a valid integer, got '17'"),
        ("training.steps", -1, "training.steps: .*greater than or equal to 0"),
        ("training", 3, "training: "),
        ("cell.seed", 1.5, "cell.seed: "),
        ("provenance.started", "yesterday", "provenance.started: "),
        ("provenance.started", "2025-01-01T00:00:00", "timezone"),
        ("evaluations.countdown.pass_at_k.1", 37.5, r"pass_at_k.1: .*less than or equal to 1"),
        ("evaluations.countdown.pass_at_k.8", 1.0, "has k=8, above n=4"),
        ("evaluations.countdown.pass_at_k.4", 0.2, "pass_at_k falls as k grows"),
        ("evaluations.countdown.standard_error.4", ..., "have different k"),
        ("evaluations.countdown.verdicts.correct", 4, "verdicts sum to 9, but completions is 8"),
        ("evaluations.countdown.n_problems", 3, "expected 12 to 12"),
        ("evaluations.countdown.design.rounds", [4, 8], "stop_after may be null only"),
        ("evaluations.countdown.design.rounds", [], "rounds"),
        ("evaluations.countdown.counts.sha256", "abc", "sha256: "),
        ("evaluations.countdown.chains.correct_sound", 5, "correct_sound exceeds"),
        ("evaluations.other", None, "evaluations.other: "),
        ("gap", None, "gap is null for the base"),
        ("gap.countdown.n_problems", 7, "n_problems of gap 'countdown' differs"),
        ("gap.countdown.low", -2.0, "gap.countdown.low: "),
        ("cell.algorithm", "base", "the base has no training"),
    ],
)
def test_each_mistake_is_named(tmp_path, path, value, said):
    assert re.search(said, failure(tmp_path, changed(trained(), path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("evaluations.countdown.pass_at_k.1", 1.0),  # a curve may be flat
        ("evaluations.countdown.design.stop_after", 1),  # one round that could stop is still one round
        ("evaluations.countdown.chains", ...),
        ("training.metrics", ...),
        ("gap", {}),  # nothing to compare with, for a run that diverged
    ],
)
def test_what_may_differ(path, value):
    assert Record.model_validate(changed(trained(), path, value)).valid


def test_gap_of_a_dataset_that_was_not_evaluated(tmp_path):
    data = trained()
    data["gap"]["other"] = data["gap"]["countdown"]
    assert "gap has 'other', which was not evaluated" in failure(tmp_path, data)


def test_base_has_no_gap(tmp_path):
    assert "gap is null for the base" in failure(tmp_path, base() | {"gap": {}})


@pytest.mark.parametrize("text", ["[]", "null", "3", '"record"'])
def test_other_json_is_refused(tmp_path, text):
    assert "expected a JSON object" in failure(tmp_path, text)


def test_json_that_python_takes_and_the_standard_does_not(tmp_path):
    text = json.dumps(trained())
    assert "NaN is not a JSON number" in failure(tmp_path, text.replace("0.375", "NaN"))
    assert "'schema' comes twice" in failure(tmp_path, text.replace("{", '{"schema": 1, ', 1))


def test_unreadable_files(tmp_path):
    with pytest.raises(Failure, match="No such file"):
        read_record(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(Failure, match="not UTF-8"):
        read_record(tmp_path / "bytes.json")


@pytest.mark.parametrize(("errors", "valid"), [(0, True), (2, True), (3, False)])
def test_more_than_one_percent_errors_is_invalid(tmp_path, errors, valid):
    data = base()
    data["evaluations"]["countdown"] |= {
        "design": {"rounds": [100], "stop_after": None},
        "verdicts": {"correct": 0, "wrong": 200 - errors, "truncated": 0, "error": errors},
        "completions": 200,
    }
    record = Record.model_validate(data)
    assert record.valid is record.evaluations["countdown"].valid is valid
    write_record(tmp_path / "r.json", record)
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["evaluations"]["countdown"]["valid"] is valid
    written["evaluations"]["countdown"]["valid"] = True  # whatever the file says, it is derived anew
    (tmp_path / "r.json").write_text(json.dumps(written))
    assert read_record(tmp_path / "r.json").valid is valid


def test_a_record_that_would_not_be_read_is_not_written(tmp_path):
    record = Record.model_validate(trained()).model_copy(update={"gap": None})
    with pytest.raises(Failure, match="gap is null for the base"):
        write_record(tmp_path / "r.json", record)
    assert list(tmp_path.iterdir()) == []


def test_records_are_immutable():
    with pytest.raises(ValueError, match="frozen"):
        Record.model_validate(trained()).gap = None


# ---------------------------------------------------------------------------------------------- atomic files


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch, call):
    path = tmp_path / "record.json"
    write_text_atomic(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(Failure) as caught:
        write_json_atomic(path, {"new": 1})
    assert str(caught.value) == f"cannot write {path}: No space left on device."
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_text_atomic(path, "old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_reader_never_sees_a_part(tmp_path, monkeypatch):
    """At the moment of the rename the old text is whole under the name, and the new one beside it."""
    path, seen, real = tmp_path / "r.txt", [], os.replace
    write_text_atomic(path, "old")

    def spy(source, target):
        seen.extend([path.read_text(), Path(source).read_text()])
        real(source, target)

    monkeypatch.setattr(os, "replace", spy)
    write_text_atomic(path, "new")
    assert seen == ["old", "new"]
    assert path.read_text() == "new"


def test_not_json_and_not_a_folder(tmp_path):
    path = tmp_path / "r.json"
    write_json_atomic(path, {"a": 1})
    for value in ({"a": float("nan")}, {"a": {1, 2}}):
        with pytest.raises(Failure, match="cannot write"):
            write_json_atomic(path, value)
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(Failure, match="cannot write"):
        write_text_atomic(path / "below.json", "x")


def test_hashes(tmp_path):
    # printf '{"a":[1,2],"b":"\u00e9"}' (UTF-8) | sha256sum, and the well-known hash of nothing
    assert content_hash({"b": "\u00e9", "a": [1, 2]}) == "d902c5ef87c42c33"
    assert content_hash({"a": [2, 1], "b": "\u00e9"}) != content_hash({"a": [1, 2], "b": "\u00e9"})
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# ---------------------------------------------------------------------------------------------- with counts


def test_evaluated_counts_are_those_of_the_record(tmp_path):
    record = Record.model_validate(trained()).evaluations["countdown"]
    path = tmp_path / record.counts.path
    extra = {"wrong": [2, 2], "truncated": [1, 0], "error": [0, 0]}
    good = Counts(("a", "b"), np.array([4, 4]), np.array([1, 2]), FixedDesign(4), extra)

    def proven(counts: Counts):
        write_counts(path, counts)
        reference = record.counts.model_copy(update={"sha256": file_sha256(path)})
        return record.model_copy(update={"counts": reference})

    assert read_evaluated(proven(good), tmp_path).c_N.tolist() == [1, 2]
    other = proven(Counts(("a", "b"), np.array([4, 4]), np.array([1, 3]), FixedDesign(4)))
    with pytest.raises(Failure, match="correct is 4, but the record says 3"):
        read_evaluated(other, tmp_path)
    evaluated = proven(good)
    path.write_text(path.read_text().replace('"a"', '"c"'))
    with pytest.raises(Failure, match="sha256"):
        read_evaluated(evaluated, tmp_path)


def test_no_torch_behind_the_statistics():
    modules = "benchmarks.statistics.gap, benchmarks.records.schema"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'trl' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
