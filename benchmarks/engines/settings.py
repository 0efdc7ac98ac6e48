"""What a suite says about the engine that evaluates."""

from __future__ import annotations

from pydantic import JsonValue

from benchmarks.settings import Positive, Strict


class EngineSettings(Strict):
    """What evaluates. It changes speed and, through the arithmetic, single samples; a `dtype` is part of the hash."""

    name: str = "auto"
    """`auto`: vllm where there is an accelerator and it is installed, transformers otherwise."""
    workers: Positive | None = None
    """Processes that sample at once; null: one an accelerator, or one a core where there is none."""
    rows_per_batch: Positive = 512
    """Completions generated side by side in one process."""
    settings: dict[str, JsonValue] = {}
    """The engine's own settings (tensor_parallel_size, gpu_memory_utilization, dtype)."""

    @property
    def dtype(self) -> str | None:
        """The one setting that can move a distribution: the precision that is asked for."""
        dtype = self.settings.get("dtype")
        return None if dtype is None else str(dtype)
