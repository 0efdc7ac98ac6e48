"""Whole state of a network that may be spread over processes: gathered in the main process's memory, and handed out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)


def gather_weights(network: nn.Module) -> dict[str, Tensor]:
    """All weights, in the main process; what other processes get is not complete. All must call it.

    Of weights that are tied, one is there: safetensors takes no two names for one tensor.
    """
    found: dict[str, Any] = get_model_state_dict(network, options=_gathering())
    own = {name.removeprefix("module.") for name, _ in network.named_parameters()}
    own |= {name.removeprefix("module.") for name, _ in network.named_buffers()}
    return {name: tensor.contiguous() for name, tensor in found.items() if name in own}


def hand_out_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """What `gather_weights` gave, which only the main process needs to have. All must call it."""
    set_model_state_dict(network, dict[str, Any](weights), options=_handing_out())


def gather_moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as `<weight>.<slot>`, in the main process; empty before the first update."""
    if not optimizer.state:  # torch would make an update of zeros to have a state
        return {}
    state: Any = get_optimizer_state_dict(network, optimizer, options=_gathering()).get("state", {})
    return {f"{name}.{slot}": tensor for name, own in state.items() for slot, tensor in own.items()}


def hand_out_moments(network: nn.Module, optimizer: torch.optim.Optimizer, slots: dict[str, Tensor]) -> None:
    """What `gather_moments` gave, which only the main process needs to have. All must call it."""
    state: dict[str, Any] = {}
    own = get_optimizer_state_dict(network, optimizer)
    if slots:
        state = {"state": _by_weight(slots), "param_groups": own["param_groups"]}
    set_optimizer_state_dict(network, optimizer, state, options=_handing_out())


def _gathering() -> StateDictOptions:
    return StateDictOptions(full_state_dict=torch.distributed.is_initialized(), cpu_offload=True)


def _handing_out() -> StateDictOptions:
    together = torch.distributed.is_initialized()
    return StateDictOptions(full_state_dict=together, broadcast_from_rank0=together, strict=False)


def _by_weight(slots: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """`model.norm.weight.exp_avg` -> model.norm.weight -> exp_avg."""
    state: dict[str, dict[str, Tensor]] = {}
    for key, tensor in slots.items():
        name, _, slot = key.rpartition(".")
        state.setdefault(name, {})[slot] = tensor
    return state
