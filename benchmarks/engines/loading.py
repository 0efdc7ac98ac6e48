"""Loads a checkpoint for evaluation from a folder or a hub id, whole or as LoRA adapters, but never its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.errors import Failure, UsageError, unknown

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_tokenizer(model_path: str, revision: str | None) -> Any:
    """Returns the tokenizer. Raises UsageError if it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(model_path, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"cannot load the tokenizer of model '{model_path}': {_first_line(error)}") from error


def load_model(model_path: str, revision: str | None, dtype: str, tokens: int) -> Any:
    """Returns the model with its adapters merged. `dtype` is a name, or "auto" for the checkpoint's own.

    Raises Failure for damaged weights. Raises UsageError if the model cannot be loaded, if its weights do not match its
    config.json (layers would stay random or be left out), or if it has fewer than `tokens`, its tokenizer's tokens.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    model = _load(model_path, revision, dtype)
    rows = model.get_input_embeddings().weight.shape[0]
    if tokens > rows:
        raise UsageError(f"the tokenizer of '{model_path}' has {tokens} tokens, its model only {rows}.")
    return model


def _load(model_path: str, revision: str | None, dtype: str) -> Any:
    if (Path(model_path) / "adapter_config.json").is_file():
        return _load_adapter(model_path, revision, dtype)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            model_path, revision=revision, dtype=dtype, trust_remote_code=False, output_loading_info=True
        )
    except SafetensorError as error:
        raise Failure(f"the weights in '{model_path}' are damaged: {_first_line(error)}") from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        reason = _first_line(error)
        raise UsageError(f"cannot load '{model_path}' as a causal language model: {reason}") from error
    for what in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if info.get(what):
            names = sorted(map(str, info[what]))
            raise UsageError(
                f"the weights in '{model_path}' are not those of its config.json ({type(model).__name__}): "
                f"{len(names)} {what.replace('_', ' ')}, the first is {names[0]}."
            )
    return model


def _load_adapter(model_path: str, revision: str | None, dtype: str) -> Any:
    try:
        from peft import AutoPeftModelForCausalLM
    except ImportError as error:
        raise UsageError(f"'{model_path}' holds LoRA adapters: pip install 'rlvr-gap[peft]' to evaluate it.") from error
    try:
        adapted = AutoPeftModelForCausalLM.from_pretrained(
            model_path, revision=revision, dtype=dtype, trust_remote_code=False
        )
        return adapted.merge_and_unload()
    except SafetensorError as error:
        raise Failure(f"the adapters in '{model_path}' are damaged: {_first_line(error)}") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UsageError(f"cannot load the adapters in '{model_path}': {_first_line(error)}") from error


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """Returns the ids that end a completion: the checkpoint's end-of-sequence ids and the tokenizer's."""
    return with_own_end(getattr(model.generation_config, "eos_token_id", None), tokenizer)


def stated_end_ids(model_path: str, revision: str | None, tokenizer: Any) -> list[int]:
    """Returns the same without the model, from the checkpoint's generation_config.json if it has one."""
    try:
        stated = GenerationConfig.from_pretrained(model_path, revision=revision).eos_token_id
    except (OSError, ValueError):
        stated = None
    return with_own_end(stated, tokenizer)


def with_own_end(stated: Any, tokenizer: Any) -> list[int]:
    """Returns the ids of a checkpoint's `eos_token_id` (one, several or None) and the tokenizer's own."""
    ids = [*stated] if isinstance(stated, list | tuple) else [stated]
    return sorted({i for i in [*ids, tokenizer.eos_token_id] if i is not None})


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
