"""The reference of the KL term where an algorithm resets it (`NeedsReferenceReset`): copying, saving and loading.

TRL loads the base model as the reference whenever a run starts, so a checkpoint must hold a reference that has moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.tensor import DTensor

from algorithms.critic import sharded_like

FOLDER, WEIGHTS = "reference", "model.safetensors"
"""In a checkpoint. A folder of its own: engines that load every safetensors file of a model must not meet this one."""


class MovingReference:
    """A reference model that becomes the policy every `every` steps."""

    def __init__(self, network: nn.Module, every: int) -> None:
        self.network = network
        self.every = every
        self.moved = False
        """Whether the reference has left the base model."""

    def is_due(self, steps: int) -> bool:
        """Whether the reset comes before the generation batch that follows `steps` others."""
        return steps > 0 and steps % self.every == 0

    @torch.no_grad()
    def reset(self, policy: nn.Module, optimizer: Any) -> None:
        """Copies the policy's weights into the reference, and sets the optimiser's moments and step counts to 0.

        They are 0 before a first update too. They stay there: a sharded optimiser without any cannot be saved.
        """
        for there, here in zip(self.network.parameters(), policy.parameters(), strict=True):
            there.copy_(here)
        for moments in optimizer.state.values():
            for value in moments.values():
                value.zero_()
        self.moved = True

    def save(self, folder: Path, is_main_process: bool) -> None:
        """Has the main process write the reference into a checkpoint, if it is no longer the base; all must call it."""
        if not self.moved:
            return
        weights = {}
        for name, weight in self.network.named_parameters():
            whole = weight.full_tensor() if isinstance(weight, DTensor) else weight  # one at a time: memory
            if is_main_process:
                weights[name] = whole.detach().cpu().contiguous()
        if is_main_process:
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            save_file(weights, folder / FOLDER / WEIGHTS)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Reads what `save` wrote. Nothing there: the reference is the base."""
        if not (folder / FOLDER / WEIGHTS).exists():
            return
        weights = load_file(folder / FOLDER / WEIGHTS)
        for name, weight in self.network.named_parameters():
            weight.copy_(sharded_like(weights[name], weight))
        self.moved = True
