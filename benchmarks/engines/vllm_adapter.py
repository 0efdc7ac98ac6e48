"""LoRA adapters as vLLM takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.engines.identity import identify, is_local
from benchmarks.errors import UsageError

_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The bounds that vLLM compiles for."""


class Adapter:
    """LoRA adapters in a folder. vLLM loads their base and applies them while it runs."""

    def __init__(self, path: str, base: str, revision: str | None, rank: int) -> None:
        self.path, self.base, self.revision, self.rank = path, base, revision, rank

    @classmethod
    def read(cls, model_path: str) -> Adapter | None:
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
