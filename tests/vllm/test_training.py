"""Training with rollouts by vLLM in the trainer's own process (`training.vllm: {mode: colocate}`), on a CPU.

One thing is replaced for it: on a CPU vLLM packs the weights of its linear layers anew and empties the originals, and
then nothing can be loaded into them, which is what TRL does after each update. On an accelerator there is no such step.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

import algorithms
from algorithms import train as training
from algorithms.greedy import greedy_decoding
from algorithms.settings import Budget, Settings
from algorithms.train import TrainSpec
from algorithms.trainer import RLVRTrainer
from benchmarks import tasks
from benchmarks.engines import Chunk, get
from benchmarks.seeds import derive
from benchmarks.settings import Sampling, Stops
from benchmarks.suites.schema import BASE_MODELS
from tests.vllm.common import needs_vllm

pytestmark = [*needs_vllm, pytest.mark.slow]
MODEL = str(BASE_MODELS / "countdown")
SETTINGS = Settings.model_validate(
    {
        "budget": {"steps": 2},
        "prompts_per_step": 4,
        "group_size": 4,
        "mini_batches_per_step": 2,
        "learning_rate": 0.01,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 32},
        "save_every_steps": 2,
        "vllm": {"mode": "colocate", "gpu_memory_utilization": 0.3, "max_model_length": 128},
    }
)
GREEDY = Sampling(temperature=1.0, top_p=1.0, top_k=1, max_new_tokens=32)


def keep_weights(layer: torch.nn.Module, remove_weight: bool) -> None:
    """In place of vLLM's packing: the plain product with the weights as they are at that time."""
    layer.cpu_linear = torch.nn.functional.linear


@pytest.fixture
def on_cpu(monkeypatch) -> Iterator[None]:
    """What TRL does not hand on (no compiling, float32) and the replacement; afterwards the process is as before."""
    from trl.generation import vllm_generation
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory
    from vllm.model_executor.layers import utils

    environment, set_num_threads = dict(os.environ), torch.set_num_threads
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1")
    monkeypatch.setattr(utils, "dispatch_cpu_unquantized_gemm", keep_weights)
    small = functools.partial(vllm_generation.LLM, enforce_eager=True, dtype="float32")
    monkeypatch.setattr(vllm_generation, "LLM", small)
    yield
    cleanup_dist_env_and_memory()
    torch.set_num_threads = set_num_threads
    os.environ.clear()
    os.environ.update(environment)


def spec(
    folder: Path, texts: list[str], *, algorithm: str, seed: int, prompts: list[str], settings: Settings = SETTINGS
) -> TrainSpec:
    """Which half of all texts is right is decided by their hash; `texts` gets all that is judged."""

    def verify(problems, found, finished) -> list[bool | None]:
        texts.extend(found)
        return [derive(text) % 2 == 0 for text in found]

    folder.mkdir()
    return TrainSpec(
        algorithm=algorithms.get(algorithm), settings=settings, model=MODEL, prompts=prompts, verify=verify,
        folder=folder, seed=seed,
    )  # fmt: skip


def greedy_by_transformers(model: str, prompts: list[str]) -> list[str]:
    return [row[0].text for row in get("transformers")(model).sample(Chunk(tuple(prompts), 1, 0, "a"), GREEDY)]


def greedy_by_vllm(trainer: RLVRTrainer, prompts: list[str]) -> list[str]:
    """With the trainer's weights of this moment."""
    trainer.vllm_generation.sync_weights()
    ids = trainer.processing_class(prompts)["input_ids"]
    with greedy_decoding(trainer):
        _, found, *_ = trainer.vllm_generation.generate(prompts=ids, images=None, num_generations=1)
    return trainer.processing_class.batch_decode(found, skip_special_tokens=True)


def test_two_steps_with_weights_that_reach_vllm(on_cpu, tmp_path, monkeypatch):
    """ReMax: samples, and greedy completions as well, which take another way through the trainer."""
    prompts = [problem.prompt for problem in tasks.get("countdown").load("train")[:16]]
    made: list[RLVRTrainer] = []
    make = training.make_trainer
    monkeypatch.setattr(training, "make_trainer", lambda spec: made.append(make(spec)) or made[0])
    texts: list[str] = []
    result = training.train(spec(tmp_path / "run", texts, algorithm="remax", seed=0, prompts=prompts))
    assert result.cost.steps == len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
    assert len(texts) == 2 * (16 + 4)
    trained = greedy_by_transformers(str(result.policy), prompts)
    assert greedy_by_vllm(made[0], prompts) == trained
    assert trained != greedy_by_transformers(MODEL, prompts)


def test_seeds_of_training_reach_the_rollouts(on_cpu, tmp_path):
    """The same prompt throughout: two seeds differ in what is sampled, or not at all."""
    prompt = tasks.get("countdown").load("train")[0].prompt
    first, second = [], []
    for seed, texts in enumerate((first, second)):
        training.train(spec(tmp_path / str(seed), texts, algorithm="grpo", seed=seed, prompts=[prompt] * 8))
    assert len(set(first[:16])) > 8
    assert first[:16] != second[:16]


def test_rollouts_end_at_stops(on_cpu, tmp_path, monkeypatch):
    """A stop over two tokens, "=2": every rollout ends there, or by itself, or at the limit.

    Countdown's tokens are characters, so the token that completes the stop is its last character.
    """
    stops = Stops(before=("=2",))
    settings = SETTINGS.model_copy(
        update={"budget": Budget(steps=1), "sampling": SETTINGS.sampling.model_copy(update={"stops": stops})}
    )
    prompts = [problem.prompt for problem in tasks.get("countdown").load("train")[:16]]
    rows: list[tuple[list[int], str, bool]] = []
    judge = RLVRTrainer._judge

    def keep(self, problems, texts, ids):
        rows.extend(zip(ids, texts, self.stops.finished(ids), strict=True))
        return judge(self, problems, texts, ids)

    monkeypatch.setattr(RLVRTrainer, "_judge", keep)
    training.train(spec(tmp_path / "run", [], algorithm="remax", seed=0, prompts=prompts, settings=settings))
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert len(rows) == 16 + 4
    raw = [tokenizer.decode(ids) for ids, _, _ in rows]
    stopped = [text for text in raw if "=2" in text]
    assert len(stopped) > 4
    assert all(text.index("=2") == len(text) - 2 for text in stopped)
    for written, (_, text, finished) in zip(raw, rows, strict=True):
        assert finished if "=2" in written or written.endswith("<eos>") else not finished
        assert text == written.removesuffix("=2").removesuffix("<eos>").replace("<pad>", "")
