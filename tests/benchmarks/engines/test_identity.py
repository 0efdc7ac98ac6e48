"""What identifies a model: its files, its base, its commit; and what its checkpoint says without being loaded."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks.engines.identity import checkpoint_dtype, identify, model_hash
from benchmarks.engines.transformers import TransformersEngine
from benchmarks.errors import UsageError
from tests.benchmarks.tiny_model import make_folder


def test_the_hash_is_of_what_the_model_is(folder, copy, tmp_path):
    assert model_hash(str(copy)) == model_hash(str(folder))
    (copy / "README.md").write_text("a model card")
    (copy / "trainer_state.json").write_text("{}")
    assert model_hash(str(copy)) == model_hash(str(folder))
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert model_hash(str(copy)) != model_hash(str(folder))
    assert model_hash("owner/name") is None


def adapters(folder, path, base):
    path.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, path)
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), "r": 4}))
    return str(path)


def test_adapters_are_another_model_on_another_base(folder, tmp_path):
    """The same adapters, by the same path, on a base that has other weights by now."""
    base = shutil.copytree(folder, tmp_path / "base")
    path = adapters(folder, tmp_path / "adapters", base)
    before = identify(path)
    assert before == identify(path) and before.hash not in (None, model_hash(path))
    shutil.copy(make_folder(tmp_path / "other", seed=1) / "model.safetensors", base)
    assert model_hash(path) is not None and identify(path).hash != before.hash
    shutil.rmtree(base)
    with pytest.raises(UsageError, match=r"base' does not exist"):
        identify(path)


def test_a_checkpoints_number_format_is_told_without_loading_it(folder, copy, tmp_path):
    assert checkpoint_dtype(str(folder)) == "float32"
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    assert checkpoint_dtype(str(copy)) == "bfloat16"
    assert checkpoint_dtype(adapters(folder, tmp_path / "adapters", copy)) == "bfloat16"
    (copy / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "dtype"}))
    assert checkpoint_dtype(str(copy)) == "float32"  # that of the weights
    asked = {"float32": {}, "bfloat16": {"dtype": "bfloat16"}}
    assert {name: TransformersEngine.precision(str(folder), None, s) for name, s in asked.items()} == {
        name: name for name in asked
    }


def test_hub_models_are_identified_by_their_commit(folder, tmp_path, monkeypatch):
    """A cache in the hub's own layout stands in for the hub."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "models--owner--name"
    shutil.copytree(folder, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = identify("owner/name")
    assert (found.revision, found.hash, found.identity) == (commit, None, f"owner/name@{commit}")
