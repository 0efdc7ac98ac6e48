"""Trains each algorithm for a step on given rollouts, alone or as one of several processes, and says what it saw.

    python -m tests.algorithms.distributed_worker POLICY OUT PROCESSES [MACHINES]      (or under torch.distributed.run)

test_distributed.py runs it in two processes, and `given_steps` alone, and compares. The rollouts are given by their
place in the global batch; the two processes' halves differ in length, so that padding is at work.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PhiConfig, PhiForCausalLM
from trl import GRPOConfig

import algorithms
from algorithms.train import TrainSpec, make_trainer, train
from algorithms.trainer import RLVRTrainer
from benchmarks.errors import UsageError
from tests.algorithms import toy

A, B, C, EOS = toy.A, toy.B, toy.C, toy.EOS
GROUP = 4
LIMIT = 6
PROMPTS = ("go", "go on", "on", "on go", "a", "b on go", "c c", "go go go on")
"""Of different lengths; a step takes four of them."""

GIVEN = (
    # The first process's: a mixed group with a failed verdict and the longest completion, and one that is all correct.
    ((B, EOS), (A, C, EOS), (C, C, A, EOS), (B, A, C, A, C, A)),
    ((B, EOS), (B, B, EOS), (B, A, EOS), (B, C, A, EOS)),
    # The second's, three tokens at most: all wrong, and mixed.
    ((A, EOS), (A, A, EOS), (C, EOS), (EOS,)),
    ((B, EOS), (A, EOS), (C, A, EOS), (A, C, EOS)),
)
FRESH = (
    # Two groups are missing and half had signal, so four are asked for: two of each of two processes.
    ((C, EOS), (A, EOS), (A, B, EOS), (C, A, EOS)),
    ((A, EOS), (A, C, EOS), (C, EOS), (EOS,)),
    # The second process's: this one takes the place of the first's group that is all correct.
    ((A, EOS), (B, A, EOS), (B, C, EOS), (A, A, A, EOS)),
    ((A, EOS), (C, EOS), (A, A, EOS), (EOS,)),  # nothing is left for the group that is all wrong: it becomes filler
)
GREEDY = ((B, EOS), (A, A, EOS), (C, C, EOS), (B, A, EOS))
"""Right, wrong, failed, right."""
OWN: Mapping[str, dict[str, Any]] = {
    "dapo": {"refill_rounds": 1},
    "prorl": {"refill_rounds": 1, "reset_every_steps": 2, "kl_coefficient": 0.1},
    "pass_at_k_training": {"k": 2},
}
RESUMED = ("ppo", "dapo", "prorl")
"""Those with more than TRL's own state in a checkpoint: a critic, the stream of fresh prompts, a moved reference."""
SHARDED = ("grpo", "ppo")
"""Trained under FSDP too: a policy, and a policy with a critic."""
ON_MACHINES = ("dapo", "ppo")
"""Trained on two machines: groups that cross from one to the other, and a critic."""
BIASED = "biased"
"""The folder, within a policy's, of a policy whose head has a bias."""
RESUMED_SHARDED = ("ppo", "prorl")
"""Those of them with a second network, which is sharded too: a critic, and a reference."""
LARGE = {"precision": "bfloat16", "gradient_checkpointing": True, "micro_batch_rows": 2}
"""What the suite of the paper's setting has beside FSDP."""
FSDP = {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "state_dict_type": "FULL_STATE_DICT"}
UNEQUAL = ("seconds", "peak_memory_bytes", "load")
"""Of a cost: what depends on the machine."""
COMPARED = ("completion_ids", "completion_mask", "tool_mask", "advantages", "values", "value_targets")


def make_policy(folder: Path) -> Path:
    """A policy in which every weight has a gradient: of one that is nothing but rounding, AdamW makes a full step."""
    policy = toy.make_policy({(toy.GO,): {}}, seed=3)
    torch.nn.init.normal_(policy.lm_head.weight, std=0.25)
    return toy.save_policy(policy, folder)


def make_biased(folder: Path) -> Path:
    """A policy whose head has a bias, and so as many weights as its critic, whose head always has one."""
    torch.manual_seed(3)
    config = PhiConfig(
        vocab_size=len(toy.WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.5, tie_word_embeddings=False,
        pad_token_id=toy.PAD, eos_token_id=toy.EOS, bos_token_id=None,
    )  # fmt: skip
    return toy.save_policy(PhiForCausalLM(config), folder)


def verdict(text: str) -> bool | None:
    """Correct if it begins with b; failed if it begins with c c."""
    return None if text.split()[:2] == ["c", "c"] else text.split()[:1] == ["b"]


def spec_of(name: str, policy: Path, folder: Path, processes: int, **changes: Any) -> TrainSpec:
    """One step on four groups of four; one mini-batch, because rows are shuffled within each process."""
    common = {
        "budget": {"steps": 1}, "prompts_per_step": len(GIVEN), "group_size": GROUP, "mini_batches_per_step": 1,
        "learning_rate": 2e-3,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": LIMIT},
    }  # fmt: skip
    settings = toy.make_settings(**{**common, **changes})
    return TrainSpec(
        algorithm=algorithms.get(name, **OWN.get(name, {})), settings=settings, model=str(policy), prompts=PROMPTS,
        verify=toy.Judge(verdict=verdict), folder=folder, seed=5, processes=processes,
    )  # fmt: skip


def inject(trainer: RLVRTrainer) -> list[str]:
    """Puts the given rollouts in the place of sampled ones. Returns what was asked for, as it comes to be."""
    asked: list[str] = []

    def given(prompt_ids: list[list[int]], images: Any, fields: Any, generations: int) -> tuple[list[list[int]], None]:
        greedy = generations == 1
        asked.append("greedy" if greedy else "fresh" if "given" in asked else "given")
        rows = {"given": sum(GIVEN, ()), "fresh": sum(FRESH, ()), "greedy": GREEDY}[asked[-1]]
        start = trainer.accelerator.process_index * len(prompt_ids)
        return [list(row) for row in rows[start : start + len(prompt_ids)]], None

    trainer._generate_single_turn = given  # type: ignore[method-assign]
    return asked


def record(trainer: RLVRTrainer) -> dict[str, Tensor]:
    """This process's part of the batch that the update was made from; prompts without their padding."""
    seen: dict[str, Tensor] = {}
    generate = trainer._generate_and_score_completions

    def generate_and_record(inputs: Any) -> dict[str, Any]:
        output = generate(inputs)
        seen.update({key: output[key].clone() for key in COMPARED if key in output})
        seen["prompt_sums"] = (output["prompt_ids"] * output["prompt_mask"]).sum(1)
        seen["tokens"] = output["num_items_in_batch"].clone().reshape(1)
        return output

    trainer._generate_and_score_completions = generate_and_record  # type: ignore[method-assign]
    return seen


def wake(trainer: RLVRTrainer) -> None:
    """Gives the critic a head that is not 0, so that its values and targets are worth comparing."""
    if trainer.critic is not None:
        head = trainer.accelerator.unwrap_model(trainer.critic.network).score
        with torch.no_grad():
            values = torch.linspace(-0.5, 0.5, head.weight.numel()).view(head.weight.shape)
            if isinstance(head.weight, DTensor):
                values = distribute_tensor(values, head.weight.device_mesh, head.weight.placements)
            head.weight.copy_(values)


def whole(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every weight, gathered where it is sharded."""
    full = {key: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for key, tensor in weights.items()}
    return {key: tensor.contiguous() for key, tensor in full.items()}


def given_step(name: str, policy: Path, out: Path, processes: int, **changes: Any) -> None:
    """One step of one algorithm; writes OUT/NAME-RANK.{json,safetensors} and the weights after it."""
    spec = spec_of(name, policy, out / "runs" / name, processes, **changes)
    trainer = make_trainer(spec)
    rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
    assert world == processes, f"{world} processes, expected {processes}"
    asked, seen = inject(trainer), record(trainer)
    wake(trainer)
    trainer.train()
    weights = {f"policy.{key}": value for key, value in trainer.model.state_dict().items()}
    if trainer.critic is not None:
        critic = trainer.accelerator.unwrap_model(trainer.critic.network).state_dict()
        weights |= {f"critic.{key}": value for key, value in critic.items()}
    (entry,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    cost = {key: value for key, value in trainer.cost.to_json().items() if key not in UNEQUAL}
    sharded = sorted(key for key, tensor in weights.items() if isinstance(tensor, DTensor))
    found = {"world": world, "asked": asked, "log": entry, "cost": cost, "sharded": sharded}
    out.mkdir(parents=True, exist_ok=True)
    save_file(whole(seen), out / f"{name}-{rank}.safetensors")
    save_file(whole(weights), out / f"{name}-{rank}-weights.safetensors")
    (out / f"{name}-{rank}.json").write_text(json.dumps(found))


def given_steps(policy: Path, out: Path, processes: int) -> None:
    """All algorithms, one after another."""
    for name in algorithms.ALGORITHMS:
        given_step(name, policy, out, processes)


def resume(name: str, policy: Path, out: Path, processes: int, **changes: Any) -> None:
    """Five steps on sampled rollouts, and the last two again: from the middle of the second pass over the prompts."""
    straight = spec_of(
        name, policy, out / "straight" / name, processes, budget={"steps": 5}, mini_batches_per_step=2,
        save_every_steps=1, keep_steps=[3], **changes,
    )  # fmt: skip
    train(straight)
    resumed = replace(straight, folder=out / "resumed" / name)
    if torch.distributed.get_rank() == 0:
        shutil.copytree(straight.folder / "checkpoint-6", resumed.folder / "checkpoint-6")
    torch.distributed.barrier()
    train(resumed)


def with_fsdp(work: Callable[[], None]) -> None:
    """Does `work` with FSDP on CPUs.

    accelerate shards where the world is one of accelerators, and on CPUs silently copies the model instead: so it is
    told, once our settings are made, that the world is of the first kind. Everything behind that is what runs on GPUs.
    """

    def config(**fields: Any) -> GRPOConfig:
        made = GRPOConfig(**fields)
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        return made

    with mock.patch("algorithms.train.GRPOConfig", config), mock.patch("algorithms.train.check_machine"):
        work()


def sharded(policy: Path, out: Path, processes: int) -> None:
    """Steps and resumed runs under FSDP."""
    for name in SHARDED:
        given_step(name, policy, out, processes, fsdp=FSDP)
    given_step("ppo", policy / BIASED, out / BIASED, processes, fsdp=FSDP)
    for name in RESUMED_SHARDED:
        resume(name, policy, out, processes, fsdp=FSDP, **LARGE)


def machines(policy: Path, out: Path, processes: int) -> None:
    """Steps on several machines, and under FSDP with a copy of the weights on each."""
    for name in ON_MACHINES:
        given_step(name, policy, out, processes)
    with_fsdp(lambda: given_step("ppo", policy, out / "hybrid", processes, fsdp={**FSDP, "replicas": 2}))


def refusal(policy: Path, out: Path) -> str:
    """What a training that was meant for one process says in this world."""
    try:
        train(spec_of("grpo", policy, out / "refused", 1))
    except UsageError as error:
        return str(error)
    return ""


def main(policy: Path, out: Path, processes: int, nodes: int = 1) -> None:
    if nodes > 1:
        machines(policy, out, processes)
        torch.distributed.destroy_process_group()
        return
    given_steps(policy, out, processes)
    assert torch.distributed.get_world_size() == processes
    for name in RESUMED:
        resume(name, policy, out, processes)
    (out / f"refusal-{torch.distributed.get_rank()}.txt").write_text(refusal(policy, out))
    with_fsdp(lambda: sharded(policy, out / "sharded", processes))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
