"""Which settings of training go together: what cannot work is refused in one line, what can reaches GRPOConfig.

Nothing is trained here. Sections for machines with accelerators are carried as far as they go without one: to the
objects of transformers and accelerate that would read them.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from trl import GRPOConfig

import algorithms
from algorithms.config import check_machine, config_fields
from algorithms.critic import make_critic
from algorithms.settings import Settings
from algorithms.train import TrainSpec, load_policy, make_trainer, train, with_mesh
from benchmarks.errors import UsageError
from benchmarks.suites import schema as suite
from tests.algorithms import toy

PAPER = "omni-math-qwen2.5-7b"
FSDP = {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}
GATHERED = {"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}}
LORA = {"rank": 4, "alpha": 8.0}


def fields_of(name: str, settings: Settings, processes: int = 2, folder: str = "") -> dict[str, Any]:
    algorithm = algorithms.get(name)
    return config_fields(algorithm, settings, folder=folder, seed=0, processes=processes, accelerator=False)


def refused(name: str, changes: dict[str, Any], processes: int) -> str:
    """The line in which it is refused."""
    with pytest.raises(UsageError) as error:
        fields_of(name, toy.make_settings(**changes), processes)
    assert "\n" not in str(error.value)
    return str(error.value)


REFUSED: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "a critic under DeepSpeed": ("ppo", {"deepspeed": {}}, 2, "a critic beside the policy, which DeepSpeed"),
    "a critic under ZeRO-3": ("ppo", {"deepspeed": GATHERED}, 2, "use fsdp, or an algorithm without a critic"),
    "fsdp and deepspeed": ("grpo", {"fsdp": FSDP, "deepspeed": {}}, 2, "both fsdp and deepspeed; expected one"),
    "fsdp in one process": ("grpo", {"fsdp": FSDP}, 1, "training.fsdp is for several training processes: --processes"),
    "deepspeed in one process": ("grpo", {"deepspeed": {}}, 1, "training.deepspeed is for several training processes"),
    "fsdp, as many replicas as processes": (
        "grpo", {"fsdp": {**FSDP, "replicas": 2}}, 2, "replicas is 2; expected 1, or a number that divides the 2",
    ),
    "fsdp, replicas that do not divide": ("grpo", {"fsdp": {**FSDP, "replicas": 3}}, 8, "replicas is 3; expected 1"),
    "fsdp, unknown key": ("grpo", {"fsdp": {"fsdp_auto_rap": ""}}, 2, "training.fsdp has no setting 'auto_rap'"),
    "fsdp 1": ("grpo", {"fsdp": {"fsdp_version": 1}}, 2, "training.fsdp.version is 1; only version 2 is supported"),
    "fsdp, sharded checkpoints": (
        "grpo", {"fsdp": {"state_dict_type": "SHARDED_STATE_DICT"}}, 2, "from which no policy is saved",
    ),
    "ZeRO-3 that saves no policy": (
        "grpo", {"deepspeed": {"zero_optimization": {"stage": 3}}}, 2, "stage3_gather_16bit_weights_on_model_save",
    ),
    "an optimiser of DeepSpeed's": (
        "grpo", {"deepspeed": {"optimizer": {"type": "AdamW"}}}, 2, "has 'optimizer': the optimiser and its schedule",
    ),
    "a schedule of DeepSpeed's": ("grpo", {"deepspeed": {"scheduler": {}}}, 2, "training.deepspeed has 'scheduler'"),
    "vllm, unknown key": ("grpo", {"vllm": {"gpu_memory": 0.4}}, 1, "no setting 'gpu_memory'; it has: enable_sleep"),
    "vllm, unknown mode": ("grpo", {"vllm": {"mode": "remote"}}, 1, "mode is 'remote'; expected colocate or server"),
    "vllm, tensor parallel": (
        "grpo", {"vllm": {"tensor_parallel_size": 4}}, 4, "with which no training has been shown to work; expected 1",
    ),
    "LoRA on the head": ("grpo", {"lora": {**LORA, "target_modules": ["q_proj", "lm_head"]}}, 1, "never be trained"),
    "a group of one": ("grpo", {"group_size": 1}, 1, "the trainer needs at least 2 completions a prompt"),
    "prompts over processes": ("grpo", {}, 3, "8 prompts a step do not split over 3 processes"),
    "mini-batches over processes": (
        "grpo", {"prompts_per_step": 4, "group_size": 2, "mini_batches_per_step": 4}, 4,
        "a mini-batch of 2 rows does not split over 4 processes",
    ),
    "micro-batches": ("grpo", {"micro_batch_rows": 5}, 2, "does not divide a process's mini-batch of 16 rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    algorithm, changes, processes, line = REFUSED[name]
    assert line in refused(algorithm, changes, processes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ppo", {"lora": LORA}),  # the critic is trained in full
        ("ppo", {"fsdp": FSDP}),
        ("ppo", {"vllm": {"mode": "server", "tensor_parallel_size": 3}}),  # the server's own business
        ("dapo", {"lora": LORA, "fsdp": FSDP, "vllm": {"mode": "colocate"}, "precision": "bfloat16"}),
        ("grpo", {"deepspeed": GATHERED, "lora": LORA, "gradient_checkpointing": True}),
        ("remax", {"vllm": {"use_vllm": False, "tensor_parallel_size": 3}}),
    ],
)
def test_allowed(name: str, changes: dict[str, Any]) -> None:
    fields = fields_of(name, toy.make_settings(**changes))
    assert set(fields) <= {field.name for field in dataclasses.fields(GRPOConfig)}
    assert fields["use_vllm"] is (changes.get("vllm", {"use_vllm": False}).get("use_vllm", True))


# ------------------------------------------------------------------------------------------------ the machine


@pytest.mark.parametrize(
    ("changes", "package", "extra"),
    [
        ({"lora": LORA}, "peft", "peft"),
        ({"vllm": {}}, "vllm", "vllm"),
        ({"deepspeed": GATHERED}, "deepspeed", "deepspeed"),
    ],
    ids=["lora", "vllm", "deepspeed"],
)
def test_missing_extras(changes: dict[str, Any], package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    (section,) = changes
    with pytest.raises(UsageError, match=rf"^training.{section} needs the extra: pip install 'rlvr-gap\[{extra}\]'\.$"):
        check_machine(toy.make_settings(**changes), 2)


@pytest.mark.parametrize(
    ("kernels", "installed", "line"),
    [
        (
            {"attention": "flash_attention_2"},
            (),
            "attention: flash_attention_2, which needs the package flash-attn;",
        ),
        ({"attention": "flash_attention_3"}, ("flash_attn",), "which needs the package flash-attn-3"),
        ({"attention": "flash_attention_2"}, ("flash_attn",), "flash_attention_2, which needs a GPU and bfloat16"),
        ({"liger": True}, (), "liger, which needs the package liger-kernel; it is not installed"),
        ({"liger": True}, ("liger_kernel",), None),
    ],
)
def test_kernels_need_libraries(
    kernels: dict[str, Any], installed: tuple[str, ...], line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = toy.make_settings(kernels=kernels)
    if line is None:
        check_machine(asked, 1)
        return
    with pytest.raises(UsageError) as error:
        check_machine(asked, 1)
    assert line in str(error.value)


def test_kernels_reach_the_models(tmp_path: Path) -> None:
    assert fields_of("grpo", toy.make_settings(kernels={"liger": True}))["use_liger_kernel"] is True
    assert "use_liger_kernel" not in fields_of("grpo", toy.make_settings(kernels={}))
    policy = str(toy.save_policy(toy.make_policy({(toy.GO,): {}}), tmp_path))
    assert load_policy(policy, None, "eager")[0].config._attn_implementation == "eager"
    assert make_critic(policy, None, attention="eager").config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("accelerators", "processes", "changes", "line"),
    [
        (0, 2, {"fsdp": FSDP}, "training.fsdp needs accelerators: on CPUs accelerate would ignore it"),
        (0, 2, {"deepspeed": GATHERED}, "training.deepspeed needs accelerators"),
        (8, 1, {}, "one training process sees 8 accelerators and uses one: --processes 8, or CUDA_VISIBLE_DEVICES=0"),
        (2, 4, {}, "4 training processes need 4 accelerators; there are 2"),
    ],
)
def test_machines_that_do_not_fit(
    accelerators: int, processes: int, changes: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: accelerators)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(UsageError) as error:
        check_machine(toy.make_settings(**changes), processes)
    assert line in str(error.value)


@pytest.mark.parametrize(("accelerators", "processes"), [(0, 1), (0, 2), (1, 1), (8, 8), (8, 4)])
def test_machines_that_fit(accelerators: int, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: accelerators)
    check_machine(toy.make_settings(), processes)


def spec(tmp_path: Path, prompts: int = 8, **changes: Any) -> TrainSpec:
    return TrainSpec(
        algorithm=algorithms.get("grpo"), settings=toy.make_settings(**changes), model="nowhere",
        prompts=("go",) * prompts, verify=toy.Judge(), folder=tmp_path / "run", seed=0,
    )  # fmt: skip


def test_training_looks_at_the_machine_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    with pytest.raises(UsageError, match="--processes 8"):
        train(spec(tmp_path))
    assert not (tmp_path / "run").exists()


def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^7 training problems do not fill a step of 8 prompts\.$"):
        make_trainer(spec(tmp_path, prompts=7))


def test_what_transformers_refuses_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator that knows no bfloat16, say: a ValueError of GRPOConfig's, and no traceback for the user."""

    def refuse(**fields: Any) -> None:
        raise ValueError("Your setup doesn't support bf16/gpu.")

    monkeypatch.setattr("algorithms.train.GRPOConfig", refuse)
    with pytest.raises(UsageError, match=r"cannot work together here: Your setup doesn't support bf16/gpu\."):
        make_trainer(spec(tmp_path))


# ------------------------------------------------------------------------------------------------ what is carried over


@pytest.mark.parametrize("name", sorted(algorithms.ALGORITHMS))
def test_the_papers_suite(name: str, tmp_path: Path) -> None:
    """128 prompts x 8 completions of 8,192 tokens, 450 steps, on eight accelerators: a GRPOConfig, for each."""
    settings = suite.load(PAPER).training
    assert settings.budget.steps == 450 and settings.keep_steps == (150, 300, 450)
    assert settings.updates_per_step == 4  # docs/scaling.md: step s is checkpoint 4 s
    with mock.patch.dict(os.environ):
        args = GRPOConfig(**fields_of(name, settings, processes=8, folder=str(tmp_path)))
    assert args.per_device_train_batch_size * args.steps_per_generation * 8 == 128 * 8
    assert args.steps_per_generation == 4 * args.gradient_accumulation_steps
    assert (args.max_steps, args.num_generations, args.max_completion_length) == (4 * 450, 8, 8192)
    assert args.bf16 and args.gradient_checkpointing
    assert (args.temperature, args.top_p, args.top_k) == (1.0, 1.0, 0)
    assert args.beta == algorithms.get(name).objective.kl_coefficient
    assert args.use_vllm and args.vllm_mode == "colocate" and args.vllm_enable_sleep_mode
    assert args.vllm_tensor_parallel_size == 1 and args.vllm_gpu_memory_utilization == 0.4
    assert args.fsdp and args.deepspeed is None


def test_the_papers_suite_is_refused_in_one_process() -> None:
    with pytest.raises(UsageError, match="--processes N"):
        fields_of("grpo", suite.load(PAPER).training, processes=1)


def test_the_papers_evaluation_has_one_precision() -> None:
    """The base is published in bfloat16 and a trained policy is saved in float32: both are sampled in the former."""
    engine = suite.load(PAPER).engine
    assert engine.name == "vllm" and engine.settings["dtype"] == "bfloat16"


def test_fsdp_reaches_accelerate(tmp_path: Path) -> None:
    """The suite's section is read by transformers into what accelerate shards with."""
    section = {**FSDP, "state_dict_type": "FULL_STATE_DICT", "cpu_offload": True, "reshard_after_forward": False}
    with mock.patch.dict(os.environ):
        args = GRPOConfig(**fields_of("ppo", toy.make_settings(fsdp=section), folder=str(tmp_path)))
        plugin = FullyShardedDataParallelPlugin(**args.fsdp_plugin_args)
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is False
    assert plugin.cpu_offload and "FULL_STATE_DICT" in str(plugin.state_dict_type)
    assert "transformer_auto_wrap" in str(plugin.auto_wrap_policy)


def test_hybrid_sharding_reaches_accelerate() -> None:
    """Two machines of four processes: each machine holds all weights, spread over its four."""
    settings = toy.make_settings(fsdp={**FSDP, "replicas": 2})
    fields = fields_of("ppo", settings, processes=8)
    assert fields["parallelism_config"] == {"dp_replicate_size": 2, "dp_shard_size": 4}
    assert "replicas" not in fields["fsdp_config"]
    mesh = with_mesh(fields)["parallelism_config"]
    assert (mesh.dp_replicate_size, mesh.dp_shard_size, mesh.total_size) == (2, 4, 8)
    assert mesh.fsdp_dim_names == ["dp_replicate", "dp_shard_cp"]


def test_deepspeed_reaches_transformers(tmp_path: Path) -> None:
    section = {**GATHERED, "bf16": {"enabled": "auto"}}
    fields = fields_of("grpo", toy.make_settings(deepspeed=section), folder=str(tmp_path))
    assert fields["deepspeed"] == section and "fsdp" not in fields
    pytest.importorskip("deepspeed")
    with mock.patch.dict(os.environ):
        assert GRPOConfig(**fields).hf_deepspeed_config.is_zero3()


def test_lora_has_no_dropout() -> None:
    """With it, the policy that is trained would not be the one that sampled: there is no such setting."""
    with pytest.raises(ValueError, match="dropout"):
        toy.make_settings(lora={**LORA, "dropout": 0.1})
