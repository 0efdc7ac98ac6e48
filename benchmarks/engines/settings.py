"""What a suite says about the engine that evaluates."""

from __future__ import annotations

from pydantic import JsonValue, field_validator

from benchmarks.engines import AUTO, ENGINES
from benchmarks.errors import unknown
from benchmarks.settings import Positive, Strict


class EngineSettings(Strict):
    """The evaluation engine. It changes speed and, through rounding, single samples. A `dtype` is part of the hash."""

    name: str = AUTO
    """`auto` or an engine. `auto` is vllm where that is installed and has an accelerator, and else transformers."""
    workers: Positive | None = None
    """Processes that sample at once. Null means one per accelerator, or one per core if there are none.

    With server, null means one, which keeps all requests in flight.
    """
    rows_per_batch: Positive = 512
    """Completions that one process generates side by side. vllm and server decide by themselves."""
    settings: dict[str, JsonValue] = {}
    """The engine's own settings, such as tensor_parallel_size, gpu_memory_utilization or dtype."""

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        if name not in (AUTO, *ENGINES):
            raise unknown("engine", name, [AUTO, *ENGINES])
        return name

    @property
    def dtype(self) -> str | None:
        """The requested precision, the one setting that can change a distribution."""
        dtype = self.settings.get("dtype")
        return None if dtype is None else str(dtype)
