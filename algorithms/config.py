"""From settings to GRPOConfig's fields: plain dictionaries, so that every value can be read, recorded and tested.

The fields that are not set here are in `tests/algorithms/trl_fields.py`, each with its reason.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from algorithms.base import Algorithm, NeedsCritic, NeedsReferenceReset, Surrogate
from algorithms.settings import Settings
from benchmarks.errors import UsageError
from benchmarks.files import file_sha256
from benchmarks.outside import Found

OPTIMISER = {
    "optim": "adamw_torch", "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
}  # fmt: skip
BOOKKEEPING = {
    "logging_strategy": "steps", "logging_nan_inf_filter": False, "disable_tqdm": True,
    "save_strategy": "no",  # our callback asks for saves, on generation boundaries only
    "log_completions": False,
}  # fmt: skip


def describe(algorithm: Algorithm) -> dict[str, Any]:
    """The algorithm's name, paper, own settings and pins, for a record."""
    own = {key: value for key, value in asdict(algorithm).items() if key != "surrogate"}
    return {"name": algorithm.name, "paper": algorithm.paper, "settings": own, "pins": dict(algorithm.pins())}


def source_of(found: Found) -> dict[str, Any]:
    """What an algorithm is written in, for a record.

    `sha256` and `files` (name -> text) of an algorithm from outside; `built_in` (name -> SHA-256) of the files in this
    package that define it or a class that it inherits from. A record's commit says what those hold.
    """
    ours = (inspect.getfile(base) for base in found.made_by.__mro__ if base.__module__.startswith("algorithms."))
    built_in = {Path(file).name: file_sha256(file) for file in sorted(ours)}
    return {**({} if found.source is None else found.source.to_json()), "built_in": built_in}


def surrogate(settings: Settings) -> Surrogate:
    """The common objective that the suite asks for."""
    return Surrogate(
        clip_range=settings.clip_range, kl_coefficient=settings.kl_coefficient, loss=settings.loss,
        mask_truncated=settings.mask_truncated,
    )  # fmt: skip


def config_fields(
    algorithm: Algorithm, settings: Settings, *, folder: str, seed: int, processes: int, accelerator: bool
) -> dict[str, Any]:
    """Every GRPOConfig field that we set. Settings that cannot work together: UsageError."""
    check(algorithm, settings)
    return {
        **OPTIMISER,
        **BOOKKEEPING,
        **algorithm.trl_config(),
        **_batches(settings, processes),
        **_rollouts(settings, processes),
        **_precision(settings, accelerator),
        **_sharding(settings, processes),
        "output_dir": folder,
        "seed": seed,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "shuffle_dataset": True,
        "trust_remote_code": False,
        "disable_dropout": True,
        "cast_lm_head_to_fp32": False,
    }


def check(algorithm: Algorithm, settings: Settings) -> None:
    """Raises UsageError for settings that cannot work, before any model is loaded."""
    _check_pins(algorithm, settings)
    algorithm.check(settings)
    if settings.group_size < 2:
        raise UsageError("training.group_size is 1: the trainer needs at least 2 completions a prompt.")
    if isinstance(algorithm, NeedsCritic) and settings.deepspeed is not None:
        raise UsageError(
            f"{algorithm.name} trains a critic beside the policy, which DeepSpeed cannot hold in one engine; "
            "use fsdp, or an algorithm without a critic."
        )
    if isinstance(algorithm, NeedsReferenceReset):
        _check_reference_reset(algorithm, settings)
    if settings.fsdp is not None and settings.deepspeed is not None:
        raise UsageError("training has both fsdp and deepspeed; expected one of them.")
    modules = settings.lora.target_modules if settings.lora else ()
    if "lm_head" in ([modules] if isinstance(modules, str) else modules):
        raise UsageError(
            "training.lora.target_modules has lm_head, whose adapter would never be trained: "
            "log-probabilities are computed from its weight directly."
        )
    _check_vllm(settings.vllm or {})
    _check_fsdp(settings.fsdp or {})
    _check_deepspeed(settings.deepspeed or {})


def _check_pins(algorithm: Algorithm, settings: Settings) -> None:
    """A suite may leave what an algorithm pins at its default, or agree with the pin."""
    for name, pinned in algorithm.pins().items():
        if name not in Settings.model_fields:
            continue
        asked, default = getattr(settings, name), Settings.model_fields[name].default
        if asked not in (default, pinned):
            pin = "has no such part" if pinned is None else f"pins it to {pinned}"
            raise UsageError(
                f"training.{name} is {asked}, but {algorithm.name} {pin}: "
                f"leave it at {default}, or leave {algorithm.name} out."
            )


def _check_reference_reset(algorithm: Algorithm, settings: Settings) -> None:
    """The reset copies weights one by one, each process its shards; both networks have to be sharded alike then."""
    if not algorithm.objective.kl_coefficient:
        raise UsageError(f"{algorithm.name} resets the reference of a KL term: its kl_coefficient must be above 0.")
    for name in ("lora", "deepspeed"):
        if getattr(settings, name) is not None:
            raise UsageError(f"{algorithm.name} resets its reference, which does not work with training.{name} yet.")
    plain = {key.removeprefix("fsdp_"): value for key, value in (settings.fsdp or {}).items()}
    if plain.get("reshard_after_forward", True) is False:
        raise UsageError(
            f"{algorithm.name} resets its reference, whose weights training.fsdp.reshard_after_forward: false would "
            "leave whole after use; expected true."
        )


def check_machine(settings: Settings, processes: int) -> None:
    """Refuses what cannot run here: a missing extra, processes that do not fit the accelerators. UsageError."""
    for name, wanted in (("lora", settings.lora), ("vllm", use_vllm(settings)), ("deepspeed", settings.deepspeed)):
        extra = "peft" if name == "lora" else name
        if wanted and importlib.util.find_spec(extra) is None:
            raise UsageError(f"training.{name} needs the extra: pip install 'rlvr-gap[{extra}]'.")
    accelerators = torch.cuda.device_count()
    if accelerators == 0 and settings.fsdp is not None:
        raise UsageError("training.fsdp needs accelerators: on CPUs accelerate would ignore it and copy the model.")
    if accelerators == 0 and settings.deepspeed is not None:
        raise UsageError("training.deepspeed needs accelerators.")
    if accelerators > 1 and processes == 1:
        raise UsageError(
            f"one training process sees {accelerators} accelerators and uses one: "
            f"--processes {accelerators}, or CUDA_VISIBLE_DEVICES=0."
        )
    if 0 < accelerators < processes:
        raise UsageError(f"{processes} training processes need {processes} accelerators; there are {accelerators}.")


def use_vllm(settings: Settings) -> bool:
    """Whether rollouts are vLLM's."""
    return settings.vllm is not None and bool(settings.vllm.get("use_vllm", True))


def _check_keys(section: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    for key in given:
        if key not in allowed:
            raise UsageError(f"training.{section} has no setting '{key}'; it has: {', '.join(sorted(allowed))}.")


def _check_vllm(vllm: dict[str, Any]) -> None:
    _check_keys("vllm", vllm, {"use_vllm"} | {name.removeprefix("vllm_") for name in VLLM_FIELDS})
    if vllm.get("mode", "colocate") not in ("colocate", "server"):
        raise UsageError(f"training.vllm.mode is '{vllm['mode']}'; expected colocate or server.")


def _check_fsdp(fsdp: dict[str, Any]) -> None:
    """accelerate ignores keys that it does not know, and saves no policy from a sharded state."""
    plain = {key.removeprefix("fsdp_"): value for key, value in fsdp.items()}
    _check_keys("fsdp", plain, FSDP_KEYS)
    if plain.get("version", 2) != 2:
        raise UsageError(f"training.fsdp.version is {plain['version']}; only version 2 is supported.")
    if plain.get("state_dict_type", "FULL_STATE_DICT") != "FULL_STATE_DICT":
        raise UsageError(
            f"training.fsdp.state_dict_type is {plain['state_dict_type']}, from which no policy is saved; "
            "expected FULL_STATE_DICT."
        )


def _check_deepspeed(deepspeed: dict[str, Any]) -> None:
    """An optimiser of its own would replace the suite's; ZeRO-3 saves a policy only if it is told to gather it."""
    for key in ("optimizer", "scheduler"):
        if key in deepspeed:
            raise UsageError(f"training.deepspeed has '{key}': the optimiser and its schedule are the suite's to set.")
    zero = deepspeed.get("zero_optimization", {})
    if zero.get("stage") == 3 and zero.get("stage3_gather_16bit_weights_on_model_save") is not True:
        raise UsageError(
            "training.deepspeed with ZeRO stage 3 needs "
            "zero_optimization.stage3_gather_16bit_weights_on_model_save: true; no policy is saved without it."
        )


def _batches(settings: Settings, processes: int) -> dict[str, Any]:
    """How one generation batch is shared between processes and cut into micro-batches."""
    rows, parts = settings.rows_per_step, processes * settings.mini_batches_per_step
    if rows % (processes * settings.group_size):
        raise UsageError(f"{settings.prompts_per_step} prompts a step do not split over {processes} processes.")
    if rows % parts:
        mini_batch = rows // settings.mini_batches_per_step
        raise UsageError(f"a mini-batch of {mini_batch} rows does not split over {processes} processes.")
    mini = rows // parts
    micro = min(settings.micro_batch_rows or mini, mini)
    if mini % micro:
        raise UsageError(f"training.micro_batch_rows = {micro} does not divide a process's mini-batch of {mini} rows.")
    accumulation = mini // micro
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": accumulation * settings.mini_batches_per_step,
        "num_iterations": settings.passes_per_step,
        "num_generations": settings.group_size,
        "logging_steps": settings.updates_per_step,
        "max_steps": settings.budget.most_steps(rows) * settings.updates_per_step,
    }


def _rollouts(settings: Settings, processes: int) -> dict[str, Any]:
    sampling = settings.sampling
    vllm: dict[str, Any] = {f"vllm_{key}": v for key, v in (settings.vllm or {}).items() if key != "use_vllm"}
    parallel = vllm.get("vllm_tensor_parallel_size", 1)
    if use_vllm(settings) and vllm.get("vllm_mode", "colocate") == "colocate" and processes % parallel:
        raise UsageError(f"{processes} training processes do not split into vLLM's tensor_parallel_size = {parallel}.")
    return {
        "max_completion_length": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": None,
        "repetition_penalty": 1.0,
        "generation_kwargs": None,
        "use_vllm": use_vllm(settings),
        **vllm,
    }


VLLM_FIELDS = (
    "vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_server_base_url", "vllm_server_host",
    "vllm_server_port", "vllm_server_timeout", "vllm_group_port", "vllm_gpu_memory_utilization",
    "vllm_max_model_length", "vllm_tensor_parallel_size",
)  # fmt: skip
FSDP_KEYS = (
    "version", "auto_wrap_policy", "min_num_params", "transformer_layer_cls_to_wrap", "cpu_offload",
    "cpu_ram_efficient_loading", "state_dict_type", "activation_checkpointing", "reshard_after_forward",
)  # fmt: skip


def _precision(settings: Settings, accelerator: bool) -> dict[str, Any]:
    return {
        "bf16": settings.precision == "bfloat16",
        "fp16": False,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "use_cpu": not accelerator,
    }


def _sharding(settings: Settings, processes: int) -> dict[str, Any]:
    section = "fsdp" if settings.fsdp is not None else "deepspeed"
    if getattr(settings, section) is not None and processes == 1:
        raise UsageError(f"training.{section} is for several training processes: --processes N.")
    if settings.fsdp is not None:
        return {"fsdp": True, "fsdp_config": dict(settings.fsdp)}
    return {"deepspeed": dict(settings.deepspeed)} if settings.deepspeed is not None else {}
