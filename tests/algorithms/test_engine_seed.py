"""A colocated vLLM gets a seed of the training's when TRL makes it, without vLLM being there."""

from __future__ import annotations

import inspect
import re
import types
from typing import Any

import pytest
from trl.generation import vllm_generation
from trl.generation.vllm_generation import VLLMGeneration

from algorithms.train import seeded_engine


def test_vllm_engine_is_made_with_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """vllm_generation.LLM: what TRL makes a colocated engine with: keywords alone, and a seed of its own."""
    source = inspect.getsource(VLLMGeneration._init_vllm)
    assert re.search(r"\bself\.llm = LLM\(\s*model=", source) and re.search(r"\bseed=", source)
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(vllm_generation, "LLM", lambda **settings: made.append(settings), raising=False)
    before = vllm_generation.LLM

    def seed(training: int, process: int, parallel: int = 1, mode: str = "colocate") -> int:
        config = types.SimpleNamespace(
            use_vllm=True, vllm_mode=mode, seed=training, process_index=process, vllm_tensor_parallel_size=parallel
        )
        with seeded_engine(config):
            vllm_generation.LLM(model="m", seed=process // parallel)
        assert vllm_generation.LLM is before and made[-1]["model"] == "m"
        return int(made[-1]["seed"])

    assert len({seed(training, process) for training in (0, 1) for process in (0, 1)}) == 4
    assert seed(0, 0, parallel=2) == seed(0, 1, parallel=2) != seed(0, 2, parallel=2) == seed(0, 3, parallel=2)
    assert seed(7, 1, mode="server") == 1  # an engine that is not ours to make
