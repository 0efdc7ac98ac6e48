"""Weights that are not finite are noticed, whatever their type and size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from algorithms.train import _is_finite


def network() -> nn.Module:
    """Weights of two types, the largest number of one of them, and a process's share that is empty."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2).bfloat16())
    model.register_parameter("empty", nn.Parameter(torch.zeros(0)))
    with torch.no_grad():
        model[0].weight[0, 0] = torch.finfo(torch.float32).max
    return model


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_weight_is_enough(layer: int, value: float) -> None:
    model = network()
    assert _is_finite(model)
    with torch.no_grad():
        model[layer].bias[1] = value
    assert not _is_finite(model)
