"""The critic (`NeedsCritic`): a value for every token, how it is estimated from rewards, and how it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from algorithms.base import CriticSettings, masked_mean

FOLDER = "critic"
"""In a checkpoint. A folder of its own: engines that load every safetensors file of a model must not meet these."""
WEIGHTS, OPTIMIZER = "model.safetensors", "optimizer.safetensors"


def gae(rewards_B: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates, (B, T), 0 off the mask (1506.02438 eq. 16).

    The reward is on the last token under the mask; the value after it is 0, also where the completion was cut off.
    """
    steps = mask_BT.shape[1]
    last_BT = (torch.arange(steps, device=mask_BT.device) == mask_BT.sum(1, keepdim=True) - 1).float()
    rewards_BT = rewards_B.float()[:, None] * last_BT
    values_BT = values_BT.float() * mask_BT
    advantages_BT = torch.zeros_like(values_BT)
    following_B = torch.zeros_like(rewards_BT[:, 0])
    for t in reversed(range(steps)):
        next_value_B = values_BT[:, t + 1] if t + 1 < steps else torch.zeros_like(following_B)
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        following_B = (delta_B + gamma * gae_lambda * following_B) * mask_BT[:, t]
        advantages_BT[:, t] = following_B
    return advantages_BT


def value_loss(values_BT: Tensor, old_BT: Tensor, targets_BT: Tensor, clip_range: float) -> Tensor:
    """0.5 max((v - target)^2, (clip(v, old -+ clip_range) - target)^2) at every token, (B, T)."""
    clipped_BT = torch.clamp(values_BT, old_BT - clip_range, old_BT + clip_range)
    return 0.5 * torch.maximum((values_BT - targets_BT).square(), (clipped_BT - targets_BT).square())


def explained_variance(values_BT: Tensor, targets_BT: Tensor, mask_BT: Tensor) -> float:
    """1 - var(target - value) / var(target) over the tokens under the mask; 0 where the targets do not vary."""

    def variance(x_BT: Tensor) -> float:
        return float(masked_mean((x_BT - masked_mean(x_BT, mask_BT)).square(), mask_BT))

    spread = variance(targets_BT)
    return 1 - variance(targets_BT - values_BT) / spread if spread > 1e-12 else 0.0


def make_critic(base_model: str, revision: str | None, gradient_checkpointing: bool = False) -> nn.Module:
    """The base model with a scalar head that starts at 0, so that the first values are 0 and not noise.

    Without dropout, whatever the base has: values would otherwise differ from call to call.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification
    from transformers.utils import logging

    config = AutoConfig.from_pretrained(base_model, revision=revision, num_labels=1)
    for name in [name for name, value in vars(config).items() if "drop" in name and isinstance(value, float)]:
        setattr(config, name, 0.0)
    config.classifier_dropout = 0.0  # 0.1 by default, and where the attribute is missing
    config.use_cache = False
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # that the head is new, and the base's own is not used, is meant
    critic = AutoModelForTokenClassification.from_pretrained(
        base_model, revision=revision, config=config, dtype=torch.float32
    )
    logging.set_verbosity(verbosity)
    head = critic.score if hasattr(critic, "score") else critic.classifier
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    if gradient_checkpointing:
        critic.gradient_checkpointing_enable({"use_reentrant": False})
        critic.train()  # layers are recomputed in this mode alone; without dropout it is the same network
    return critic


class Critic:
    """A critic and its optimiser, clipped and stepped apart from the policy's.

    `step` belongs after every backward pass of `learn` that ends an accumulation window.
    """

    def __init__(
        self, network: nn.Module, settings: CriticSettings, accelerator: Any, learning_rate: float, max_grad_norm: float
    ) -> None:
        self.settings = settings
        self.accelerator = accelerator
        self.max_grad_norm = max_grad_norm
        self.learning_rate = learning_rate * settings.learning_rate_factor
        self.raw_optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=0.0)
        self.network, self.optimizer = accelerator.prepare(network, self.raw_optimizer)

    def values(self, batch: dict[str, Tensor]) -> Tensor:
        """The value before each completion token, (B, T): what is known when that token is chosen."""
        ids_BL = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask_BL = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with self.accelerator.autocast():
            scores_BL = self.network(input_ids=ids_BL, attention_mask=mask_BL).logits.squeeze(-1)
        return scores_BL[:, batch["prompt_ids"].shape[1] - 1 : -1].float()

    @torch.no_grad()
    def values_in_chunks(self, batch: dict[str, Tensor], rows: int) -> Tensor:
        """`values` of a whole generation batch, `rows` at a time to bound memory."""
        keys = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        count = batch["completion_ids"].shape[0]
        parts = [self.values({key: batch[key][i : i + rows] for key in keys}) for i in range(0, count, rows)]
        return torch.cat(parts)

    def learn(self, batch: dict[str, Tensor], mask_BT: Tensor, normalizer: Tensor) -> float:
        """Forward and backward on one micro-batch; the summed loss is divided by `normalizer`. Returns that loss."""
        values_BT = self.values(batch)
        loss_BT = value_loss(values_BT, batch["values"], batch["value_targets"], self.settings.clip_range)
        loss = (loss_BT * mask_BT).sum() / normalizer
        self.accelerator.backward(loss)
        return float(loss.detach())

    def step(self, rate_factor: float) -> float:
        """One update at `rate_factor` times the learning rate, none at 0; returns the norm before clipping."""
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * rate_factor
        if rate_factor > 0:
            self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def save(self, folder: Path) -> None:
        """Weights and optimiser state as safetensors in `folder`/critic, by the main process; all must call it."""
        weights = self.accelerator.get_state_dict(self.network)
        moments = {}
        for name, tensor in _flatten(self.raw_optimizer.state_dict()["state"]).items():
            whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # one at a time: memory
            if self.accelerator.is_main_process:
                moments[name] = whole.cpu()
        if self.accelerator.is_main_process:
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            save_file({k: v.contiguous() for k, v in weights.items()}, folder / FOLDER / WEIGHTS)
            save_file(moments, folder / FOLDER / OPTIMIZER)

    def load(self, folder: Path) -> None:
        """What `save` wrote."""
        network = self.accelerator.unwrap_model(self.network)
        weights = load_file(folder / FOLDER / WEIGHTS)
        network.load_state_dict({name: sharded_like(weights[name], now) for name, now in network.state_dict().items()})
        parameters = [weight for group in self.raw_optimizer.param_groups for weight in group["params"]]
        moments = _unflatten(load_file(folder / FOLDER / OPTIMIZER))
        state = self.raw_optimizer.state_dict()
        state["state"] = {
            index: {name: sharded_like(tensor, parameters[index]) for name, tensor in slots.items()}
            for index, slots in moments.items()
        }
        self.raw_optimizer.load_state_dict(state)


def sharded_like(whole: Tensor, weight: Tensor) -> Tensor:
    """`whole`, sharded over processes if and as `weight` is; an optimiser's count of steps is a scalar and never is."""
    if not isinstance(weight, DTensor) or whole.ndim == 0:
        return whole
    return distribute_tensor(whole.to(weight.device), weight.device_mesh, weight.placements)


def _flatten(state: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{index}.{name}": tensor for index, slots in state.items() for name, tensor in slots.items()}


def _unflatten(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    return state
