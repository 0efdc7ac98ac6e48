"""What a run has spent so far: the same counters for every algorithm, saved with each checkpoint."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch


@dataclass
class Spent:
    """Completions and their tokens."""

    completions: int = 0
    tokens: int = 0


PASSES = ("policy_forward", "policy_backward", "reference_forward", "critic_forward", "critic_backward")
"""Networks and directions. With adapters, the reference is the policy's network and counted as it."""


@dataclass
class Load:
    """What the machines did while a run was training."""

    wall_seconds: float = 0.0
    other_cpu_seconds: float = 0.0
    """Processor time of whatever is not this run, over all its machines."""
    load_average: float = 0.0
    """Of the last minute, when last looked at, on the main process's machine; the run itself is in it."""


@dataclass
class Cost:
    """Totals over all processes. `sampled` has what the loss saw; `discarded` and `greedy` are apart from it."""

    steps: int = 0
    """Generation batches."""
    updates: int = 0
    """Optimiser steps that really moved the policy."""
    sampled: Spent = field(default_factory=Spent)
    discarded: Spent = field(default_factory=Spent)
    """Groups without signal that were replaced or left out of the loss."""
    greedy: Spent = field(default_factory=Spent)
    token_passes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PASSES, 0))
    """Tokens, prompts among them and padding not, that went through a network, by `PASSES`; sampling is apart.

    Activations that gradient checkpointing computes again are not counted: it is a matter of the machine.
    """
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall clock by phase, of this process."""
    peak_memory_bytes: int = 0
    """The most so far, over all processes that together or one after another trained this run."""
    load: Load = field(default_factory=Load)

    def used(self, unit: str) -> int:
        """What counts against a budget in `steps`, `completions` or `tokens`: everything that was generated."""
        if unit == "steps":
            return self.steps
        return sum(getattr(spent, unit) for spent in (self.sampled, self.discarded, self.greedy))

    @contextlib.contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Adds the time spent inside to `seconds[phase]`."""
        start = clock()
        try:
            yield
        finally:
            self.add_seconds(phase, clock() - start)

    def add_seconds(self, phase: str, seconds: float) -> None:
        """Adds time to a phase."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Cost:
        """What `to_json` wrote."""
        spent = {name: Spent(**data[name]) for name in ("sampled", "discarded", "greedy")}
        return cls(**{**data, **spent, "load": Load(**data.get("load", {}))})


class TokenPasses:
    """Counts one process's token passes; all processes' are added up at the end of each update."""

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self.update_tokens = 0
        """Tokens that count in the loss of this update, so far."""
        self._local = dict.fromkeys(PASSES, 0)

    def count(self, network: str, *masks: torch.Tensor) -> None:
        """Notes the tokens under the masks, which go through a network; backward too where gradients are kept."""
        tokens = sum(int(mask.sum()) for mask in masks)
        self._local[f"{network}_forward"] += tokens
        if torch.is_grad_enabled():
            self._local[f"{network}_backward"] += tokens

    def end_update(self, cost: Cost) -> int:
        """Adds what all processes noted to `cost`; returns all tokens that counted in the update's loss."""
        local = torch.tensor([self.update_tokens, *self._local.values()], device=self.accelerator.device)
        update_tokens, *passed = self.accelerator.reduce(local).tolist()
        for kind, tokens in zip(PASSES, passed, strict=True):
            cost.token_passes[kind] += tokens
        self.update_tokens, self._local = 0, dict.fromkeys(PASSES, 0)
        return int(update_tokens)


def clock() -> float:
    """Seconds, once the accelerator has done what it was asked for: what it still does is of the phase that asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory_bytes() -> int:
    """Of the accelerator where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
