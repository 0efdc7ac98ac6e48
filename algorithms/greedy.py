"""Greedy decoding inside a trainer that otherwise samples (`NeedsGreedyBaseline`)."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def greedy_decoding(trainer: Any) -> Iterator[None]:
    """Within it, the trainer's generation takes the likeliest token; afterwards all settings are as before."""
    changed: Any = trainer.vllm_generation if trainer.use_vllm else trainer
    settings = {"temperature": 0.0} if trainer.use_vllm else _settings(trainer)
    before = {name: getattr(changed, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(changed, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(changed, name, value)


def _settings(trainer: Any) -> dict[str, Any]:
    greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    config = copy.deepcopy(trainer.generation_config)
    config.update(**greedy, min_p=None)
    return {"generation_config": config, "generation_kwargs": {**trainer.generation_kwargs, **greedy}}
