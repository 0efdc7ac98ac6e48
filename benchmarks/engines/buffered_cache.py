"""A cache of keys and values that is written in place, for the decoding loop of `transformers.py`."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 16
"""The least room for further tokens that a new buffer of keys and values has."""


class BufferedLayer(DynamicLayer):
    """Keys and values, (R, heads, T, dim), as views of buffers with room for some more tokens.

    The room is small, because what is read at each step should lie close together and most rows end before the limit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.length = 0
        self.buffers: list[Tensor] = []

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes the new tokens in place and returns all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.buffers = [states[:, :, :0] for states in (key_states, value_states)]
        start, self.length = self.length, self.length + key_states.shape[-2]
        for i, states in enumerate((key_states, value_states)):
            if self.buffers[i].shape[2] < self.length:
                self._move(i, start, len(states), slice(None))
            self.buffers[i][:, :, start : self.length] = states
        return self._view()

    def _move(self, i: int, length: int, rows: int, chosen: Any) -> None:
        """Moves buffer `i` to new room for so many rows, with the chosen ones of the old, up to `length`."""
        old = self.buffers[i]
        room = self.length + max(_ROOM, self.length // 4)
        self.buffers[i] = old.new_empty(rows, old.shape[1], room, old.shape[3])
        self.buffers[i][:, :, :length] = old[chosen, :, :length]

    def _view(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self.buffers)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats every row `repeats` times."""
        rows = len(self.buffers[0])
        self.batch_select_indices(torch.arange(rows, device=self.device).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows, in this order."""
        for i in range(len(self.buffers)):
            self._move(i, self.length, len(indices), indices)
        self._view()


class BufferedCache(DynamicCache):
    """A `DynamicCache` for models whose layers all attend to everything."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layer_class_to_replicate = None
        self.layers = [BufferedLayer() for _ in range(layers)]


def is_compactable(model: Any) -> bool:
    """Tells whether every layer's cache is plain keys and values, which our loop can handle."""
    takes = inspect.signature(model.forward).parameters
    if not {"attention_mask", "position_ids", "past_key_values", "logits_to_keep"} <= set(takes):
        return False
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
