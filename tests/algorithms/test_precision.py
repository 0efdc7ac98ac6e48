"""Settings that change how a policy is trained and not what: LoRA, bfloat16, gradient checkpointing, micro-batches.

Each is run for real on a toy policy, on a CPU. What they must not change is compared with a run without them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, TrainerCallback

import algorithms
from algorithms.settings import Settings
from algorithms.train import TrainSpec, train
from algorithms.trainer import RLVRTrainer
from benchmarks.engines.base import Chunk
from benchmarks.engines.transformers import TransformersEngine
from benchmarks.settings import Sampling
from tests.algorithms import distributed_worker as worker
from tests.algorithms import toy

LORA = {"rank": 4, "alpha": 8.0}
PROMPTS = ("go", "on", "go on", "on go", "a", "b", "c", "go go")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worker.make_policy(tmp_path_factory.mktemp("policy"))


def settings(**changes: Any) -> Settings:
    """A step of 16 rows and one update, at a rate at which AdamW makes no more than 1e-5 of rounding."""
    common = {
        "budget": {"steps": 1},
        "learning_rate": 1e-3,
        "prompts_per_step": 4,
        "group_size": 4,
        "mini_batches_per_step": 1,
    }
    sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 4}
    return toy.make_settings(**{**common, "sampling": sampling, **changes})


def trainer_of(name: str, policy: Path, folder: Path, **changes: Any) -> RLVRTrainer:
    trainer = toy.trainer(algorithms.get(name), policy, folder, prompts=PROMPTS, settings=settings(**changes))
    worker.wake(trainer)
    return trainer


# ------------------------------------------------------------------------------------------------ what a run did


@dataclass
class Seen:
    """Of one training: gradients at each update, weights after the last, and how its layers were run."""

    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    forwards: dict[str, int] = field(default_factory=dict)
    widths: dict[str, list[int]] = field(default_factory=dict)
    dtypes: dict[str, set[torch.dtype]] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)


def watch(trainer: RLVRTrainer) -> Seen:
    """Trains to the end; what is looked at is the policy's first layer, and the critic's where there is one."""
    seen = Seen()
    networks = {"policy": trainer.model}
    if trainer.critic is not None:
        networks["critic"] = trainer.critic.network
        step = trainer.critic.step

        def note_and_step(rate_factor: float) -> float:
            note(networks["critic"], "critic")
            return step(rate_factor)

        trainer.critic.step = note_and_step  # type: ignore[method-assign]

    def note(network: Any, kind: str) -> None:
        """A critic's update comes first, in the backward pass of the policy's loss."""
        if kind == "critic" or trainer.critic is None:
            seen.gradients.append({})
        found = {
            f"{kind}.{name}": weight.grad.clone()
            for name, weight in network.named_parameters()
            if weight.grad is not None
        }
        seen.gradients[-1].update(found)

    class AtUpdate(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            note(trainer.model, "policy")

    for kind, network in networks.items():
        seen.forwards[kind], seen.dtypes[kind], seen.widths[kind] = 0, set(), []
        (layer,) = [module for name, module in network.named_modules() if name.endswith("mlp.up_proj")]
        layer.register_forward_hook(counter(seen, kind))
    trainer.add_callback(AtUpdate())
    trainer.train()
    for kind, network in networks.items():
        seen.weights |= {f"{kind}.{name}": weight.detach().clone() for name, weight in network.named_parameters()}
    seen.logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return seen


def counter(seen: Seen, kind: str) -> Any:
    def hook(module: Any, inputs: Any, output: Tensor) -> None:
        if torch.is_grad_enabled():
            seen.forwards[kind] += 1
            seen.widths[kind].append(output.shape[1])
            seen.dtypes[kind].add(output.dtype)

    return hook


def close(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert ours and ours.keys() == theirs.keys()
    for key, tensor in ours.items():
        torch.testing.assert_close(
            theirs[key], tensor, atol=tolerance, rtol=0, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.fixture(scope="module")
def plain(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """PPO, so that there are two networks: float32, one micro-batch, nothing recomputed."""
    return watch(trainer_of("ppo", policy, tmp_path_factory.mktemp("plain")))


# ------------------------------------------------------------------------------------------------ the same update


def test_plain(plain: Seen) -> None:
    """The reference is not empty: both networks have gradients in every weight, and run their layers once."""
    (gradients,) = plain.gradients
    for kind in ("policy", "critic"):
        found = {key: tensor for key, tensor in gradients.items() if key.startswith(kind)}
        assert len(found) >= 12 and all(tensor.abs().max() > 1e-4 for tensor in found.values()), kind
    assert plain.forwards == {"policy": 1, "critic": 1}
    assert plain.dtypes == {"policy": {torch.float32}, "critic": {torch.float32}}


def test_gradient_checkpointing(plain: Seen, policy: Path, tmp_path: Path) -> None:
    """Layers are run again in the backward pass, the policy's and the critic's, and nothing else changes."""
    seen = watch(trainer_of("ppo", policy, tmp_path, gradient_checkpointing=True))
    assert seen.forwards == {"policy": 2, "critic": 2}
    close(plain.gradients[0], seen.gradients[0])
    close(plain.weights, seen.weights)


@pytest.mark.parametrize("rows", [8, 2])
def test_micro_batches(rows: int, plain: Seen, policy: Path, tmp_path: Path) -> None:
    """The rows of a mini-batch in several passes, no wider than their rows: one update, and what is logged is its."""
    trainer = trainer_of("ppo", policy, tmp_path, micro_batch_rows=rows)
    seen = watch(trainer)
    assert seen.forwards == {"policy": 16 // rows, "critic": 16 // rows}
    widths, (widest,) = seen.widths["policy"], plain.widths["policy"]
    assert widths == seen.widths["critic"] and max(widths) == widest
    assert (min(widths) < widest) or rows == 8
    assert len(seen.gradients) == 1
    close(plain.gradients[0], seen.gradients[0])
    close(plain.weights, seen.weights)
    names = ("loss", "grad_norm", "critic/value_loss", "critic/grad_norm", "critic/explained_variance")
    assert {name: seen.logs[0][name] for name in names} == pytest.approx(
        {name: plain.logs[0][name] for name in names}, abs=1e-5
    )


def test_passes_keep_the_log_probabilities_of_sampling(policy: Path, tmp_path: Path) -> None:
    """In the second pass the ratio is to the policy that sampled, and not to the one that the first pass left."""
    trainer = trainer_of("rloo", policy, tmp_path, passes_per_step=2, mini_batches_per_step=2, learning_rate=0.02)
    compute, old, ratios = trainer._compute_loss, {}, []

    def compare(model: Any, inputs: dict[str, Tensor]) -> Tensor:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        with torch.no_grad():
            tokens = inputs["completion_ids"].shape[1]
            now, _, _ = trainer._get_per_token_logps_and_entropies(model, ids, mask, tokens)
        for row, logps in zip(ids.tolist(), inputs["old_per_token_logps"], strict=True):
            assert torch.equal(old.setdefault(tuple(row), logps), logps)
        shift = (now - inputs["old_per_token_logps"])[inputs["completion_mask"].bool()]
        ratios.append(float(shift.exp().sub(1).abs().max()))
        return compute(model, inputs)

    trainer._compute_loss = compare  # type: ignore[method-assign]
    trainer.train()
    # Two mini-batches, twice: the first is the policy that sampled, from then on it has moved.
    assert len(ratios) == 4
    assert ratios[0] < 1e-5
    assert all(ratio > 1e-2 for ratio in ratios[1:])
    assert any(trainer.state.log_history[0][f"clip_ratio/{side}_mean"] > 0 for side in ("low", "high"))


# ------------------------------------------------------------------------------------------------ bfloat16


def test_bfloat16(policy: Path, plain: Seen, tmp_path: Path) -> None:
    """Mixed precision: layers compute in bfloat16, weights and gradients stay float32 and point the same way."""
    seen = watch(trainer_of("ppo", policy, tmp_path, precision="bfloat16"))
    assert seen.dtypes == {"policy": {torch.bfloat16}, "critic": {torch.bfloat16}}
    assert {tensor.dtype for tensor in (*seen.weights.values(), *seen.gradients[0].values())} == {torch.float32}
    assert not all(torch.equal(seen.gradients[0][key], tensor) for key, tensor in plain.gradients[0].items())
    for kind in ("policy", "critic"):
        ours, theirs = (
            torch.cat([tensor.flatten() for key, tensor in sorted(run.items()) if key.startswith(kind)])
            for run in (plain.gradients[0], seen.gradients[0])
        )
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.98, kind


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "gradient_checkpointing": True, "micro_batch_rows": 8},
        {"lora": LORA},
        {"lora": LORA, "precision": "bfloat16", "gradient_checkpointing": True},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_it_learns(changes: dict[str, Any], policy: Path, tmp_path: Path) -> None:
    """The probability of the right word goes up."""
    asked = toy.make_settings(**{"budget": {"steps": 15}, "learning_rate": 0.02, **changes})
    trainer = toy.trainer(algorithms.get("rloo"), policy, tmp_path, settings=asked)
    before = toy.probability(trainer.model, [toy.GO], toy.B)
    trainer.train()
    after = toy.probability(trainer.model, [toy.GO], toy.B)
    assert before < 0.4 and after > 0.7


# ------------------------------------------------------------------------------------------------ LoRA


@dataclass
class Trained:
    """A finished LoRA training."""

    spec: TrainSpec
    base: Path

    @property
    def final(self) -> Path:
        return self.spec.folder / "final"


@pytest.fixture(scope="module")
def lora(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    spec = TrainSpec(
        algorithm=algorithms.get("grpo"),
        settings=settings(
            budget={"steps": 4}, mini_batches_per_step=2, lora=LORA, learning_rate=0.05, save_every_steps=2,
            keep_steps=[2, 3],
        ),
        model=str(policy), prompts=PROMPTS, verify=toy.Judge(), folder=tmp_path_factory.mktemp("lora"), seed=3,
    )  # fmt: skip
    train(spec)
    return Trained(spec, policy)


def merged_by_hand(trained: Trained) -> Any:
    """The base model with W + alpha / rank B A in place of every adapted W."""
    model = AutoModelForCausalLM.from_pretrained(trained.base, dtype=torch.float32)
    adapters = load_file(trained.final / "adapter_model.safetensors")
    weights = dict(model.named_parameters())
    for key, b in adapters.items():
        if key.endswith("lora_B.weight"):
            a = adapters[key.replace("lora_B", "lora_A")]
            name = key.removeprefix("base_model.model.").replace("lora_B.weight", "weight")
            with torch.no_grad():
                weights[name] += LORA["alpha"] / LORA["rank"] * (b @ a)
    return model.eval()


def test_only_adapters_are_trained(policy: Path, tmp_path: Path) -> None:
    trainer = trainer_of("grpo", policy, tmp_path, lora=LORA, mini_batches_per_step=2)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {name: not torch.equal(weight, before[name]) for name, weight in trainer.model.named_parameters()}
    assert moved == {name: "lora_" in name for name in before}
    assert sum(moved.values()) == 14  # A and B of the seven linear layers; not of lm_head
    assert all((tensor == 0).all() for name, tensor in before.items() if "lora_B" in name)


def test_adapters_are_saved_alone(lora: Trained) -> None:
    """At the end and in checkpoints, with a tokenizer; nothing of the base model."""
    for folder in (lora.final, lora.spec.folder / "checkpoint-4", lora.spec.folder / "checkpoint-8"):
        names = {path.name for path in folder.iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= names
        assert "model.safetensors" not in names
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(lora.base) and config["lora_dropout"] == 0.0
    adapters = load_file(lora.final / "adapter_model.safetensors")
    assert all("lora_" in key for key in adapters)
    assert max(float(tensor.abs().max()) for key, tensor in adapters.items() if "lora_B" in key) > 0.01


@pytest.mark.parametrize("step", [2, 3])
def test_lora_resumes(step: int, lora: Trained, tmp_path: Path) -> None:
    """Where the second pass over the prompts begins, and within it: the same adapters and log, to the bit."""
    folder, checkpoint = tmp_path / "resumed", f"checkpoint-{2 * step}"
    shutil.copytree(lora.spec.folder / checkpoint, folder / checkpoint)
    train(replace(lora.spec, folder=folder))
    ours, theirs = (load_file(path / "adapter_model.safetensors") for path in (lora.final, folder / "final"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (folder / "log.jsonl").read_text() == (lora.spec.folder / "log.jsonl").read_text()


@pytest.fixture(scope="module")
def engine(lora: Trained) -> TransformersEngine:
    return TransformersEngine(str(lora.final))


def test_adapters_are_evaluated_merged(lora: Trained, engine: TransformersEngine) -> None:
    """The engine's model is a plain one, and says what the base with the adapters' product added says."""
    assert not any("lora" in name for name, _ in engine.model.named_parameters())
    by_hand, base = merged_by_hand(lora), AutoModelForCausalLM.from_pretrained(lora.base, dtype=torch.float32)
    ids = torch.tensor([[toy.GO, toy.B, toy.A, toy.C, toy.ON]])
    with torch.no_grad():
        expected, found, untrained = (model(ids).logits for model in (by_hand, engine.model, base))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - untrained).abs().max() > 0.1


def greedy(model: Any, ids: Sequence[int], limit: int) -> str:
    """The likeliest tokens one after another, from the logits of the whole text each time."""
    ids, start = list(ids), len(ids)
    while len(ids) < start + limit and ids[-1] != toy.EOS:
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return " ".join(toy.WORDS[token] for token in ids[start:] if token > toy.UNK)


def test_adapters_are_sampled_merged(lora: Trained, engine: TransformersEngine) -> None:
    """At a temperature near 0 the engine's completions are the likeliest ones of the model merged by hand."""
    chunk = Chunk(prompts=PROMPTS, n=2, seed=0, key="test")
    found = engine.sample(chunk, Sampling(temperature=1e-4, top_p=1.0, top_k=0, max_new_tokens=4))
    by_hand = merged_by_hand(lora)
    expected = [greedy(by_hand, [toy.WORDS.index(word) for word in prompt.split()], 4) for prompt in PROMPTS]
    assert [[completion.text for completion in row] for row in found] == [[text, text] for text in expected]
    assert len(set(expected)) > 1


def test_a_critic_beside_adapters_is_trained_in_full(policy: Path, tmp_path: Path) -> None:
    seen = watch(trainer_of("ppo", policy, tmp_path, lora=LORA))
    (gradients,) = seen.gradients
    kinds = {"critic": [], "policy": []}
    for key in gradients:
        kinds[key.partition(".")[0]].append("lora_" in key)
    assert len(kinds["critic"]) == 13 and not any(kinds["critic"])
    assert len(kinds["policy"]) == 14 and all(kinds["policy"])
