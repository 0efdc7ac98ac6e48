"""Engines sample completions from a model. To add one, add a file here and a line in `ENGINES`."""

from __future__ import annotations

import importlib.util

from benchmarks.engines.base import Chunk, Completion, Engine
from benchmarks.errors import unknown
from benchmarks.registry import lookup

__all__ = ["AUTO", "ENGINES", "Chunk", "Completion", "Engine", "accelerators", "get", "resolve"]

ENGINES = {
    "transformers": "benchmarks.engines.transformers:TransformersEngine",
    "vllm": "benchmarks.engines.vllm:VllmEngine",
    "server": "benchmarks.engines.server:ServerEngine",
    "scripted": "benchmarks.engines.scripted:ScriptedEngine",
    "scripted-stream": "benchmarks.engines.scripted:ScriptedStreamEngine",
}
AUTO = "auto"


def get(name: str) -> type[Engine]:
    """Returns the engine's class. Raises ValueError with all known names for an unknown one."""
    return lookup(ENGINES, name, "engine")


def resolve(name: str) -> str:
    """Returns the name of the engine to use here; `auto` is vllm if it is installed and has an accelerator.

    Without both, `auto` is transformers. Raises ValueError with all known names for an unknown one.
    """
    if name == AUTO:
        installed = importlib.util.find_spec("vllm") is not None
        return "vllm" if installed and accelerators() else "transformers"
    if name not in ENGINES:
        raise unknown("engine", name, [AUTO, *ENGINES])
    return name


def accelerators() -> int:
    """Returns the number of accelerators that this process can see."""
    from benchmarks.engines.transformers import accelerators as count  # torch, which most of what asks can do without

    return count()
