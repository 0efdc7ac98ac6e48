"""The reference of the KL term where an algorithm resets it (`NeedsReferenceReset`): copying, saving and loading.

TRL loads the base model as the reference whenever a run starts, so a checkpoint must hold a reference that has moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from algorithms.sharded import gather_weights, hand_out_weights

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
        weights = gather_weights(self.network)
        if is_main_process:
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            save_file(weights, folder / FOLDER / WEIGHTS)

    def load(self, folder: Path, is_main_process: bool) -> None:
        """Has the main process read what `save` wrote, and hand it on. Nothing there: the reference is the base."""
        path = folder / FOLDER / WEIGHTS
        if path.exists():
            hand_out_weights(self.network, load_file(path) if is_main_process else {})
            self.moved = True
