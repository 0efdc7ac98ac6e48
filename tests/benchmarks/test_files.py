"""A large file is hashed once in a process, and again when it has changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from benchmarks import files
from benchmarks.engines.identity import model_hash
from benchmarks.errors import Failure
from benchmarks.files import file_sha256, file_sha256_once
from benchmarks.runs.model_run import ModelRun
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import BASE_MODELS, parse
from tests.benchmarks.micro import data


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of the files that were hashed, in order."""
    names: list[str] = []
    monkeypatch.setattr(files, "file_sha256", lambda path: names.append(Path(path).name) or file_sha256(path))
    return names


def old(path: Path) -> Path:
    """Makes the file one that has not changed for an hour."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 3600 * 10**9))
    return path


def test_a_file_that_has_not_changed_is_read_once(tmp_path, read):
    (tmp_path / "a").write_text("one")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    old(tmp_path / "a")
    assert file_sha256_once(tmp_path / "a") == file_sha256_once(tmp_path / "link") == file_sha256(tmp_path / "a")
    assert read == ["a"]


def test_any_change_is_seen(tmp_path, read):
    path = tmp_path / "a"
    path.write_text("one")
    found = [file_sha256_once(path)]
    path.write_text("two")  # perhaps in the same tick of the clock: a file that was just written is not remembered
    found.append(file_sha256_once(path))
    old(path)
    found += [file_sha256_once(path), file_sha256_once(path)]
    path.write_text("six")
    found.append(file_sha256_once(path))
    old(path)
    (tmp_path / "b").write_text("ten")
    os.utime(tmp_path / "b", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(tmp_path / "b", path)  # the same path, size and time, but another file
    found.append(file_sha256_once(path))
    assert len(set(found)) == 4 and found[1] == found[2] == found[3] and len(read) == 5


def test_a_missing_file_is_a_failure(tmp_path):
    with pytest.raises(Failure, match="cannot read"):
        file_sha256_once(tmp_path / "none")


def test_one_evaluation_reads_the_weights_once(tmp_path, read):
    """It was four times: by the run, by the pool of each dataset's engines, and for the base."""
    model = shutil.copytree(BASE_MODELS / "countdown", tmp_path / "model")
    for file in model.iterdir():
        old(file)
    suite = parse(data({"engine": {"name": "transformers", "workers": 1}, "evaluation.design.rounds": [2, 4, 8]}))
    for name in ("test", "again"):
        ModelRun(suite, str(model), Place(tmp_path / "runs"), name=name).run()
    assert read.count("model.safetensors") == 1
    weights = model / "model.safetensors"
    before = model_hash(str(model))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert model_hash(str(model)) != before
