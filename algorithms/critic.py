"""The critic (`NeedsCritic`): a value for every token, how it is estimated from rewards, and how it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from algorithms.base import CriticSettings, masked_mean
from algorithms.padding import has_rotary_positions, score_in_micro_batches
from algorithms.sharded import gather_moments, gather_weights, hand_out_moments, hand_out_weights

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


def make_critic(
    base_model: str, revision: str | None, gradient_checkpointing: bool = False, attention: str | None = None
) -> nn.Module:
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
        base_model, revision=revision, config=config, dtype=torch.float32, attn_implementation=attention
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
        self, network: nn.Module, settings: CriticSettings, accelerator: Any, learning_rate: float,
        max_grad_norm: float, trims: bool = False,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.accelerator = accelerator
        self.max_grad_norm = max_grad_norm
        self.trims = trims
        """Whether columns of padding are left out of a micro-batch."""
        self.trims_left = has_rotary_positions(network.config)
        self.learning_rate = learning_rate * settings.learning_rate_factor
        self.raw_optimizer = torch.optim.AdamW(network.parameters(), lr=self.learning_rate, weight_decay=0.0)
        # Under FSDP, accelerate compares what is to be clipped with the weights of each model that it lists, tensor by
        # tensor where two models have equally many: an error. So it lists the policy alone.
        listed = list(accelerator._models)
        self.network, self.optimizer = accelerator.prepare(network, self.raw_optimizer)
        accelerator._models[:] = listed

    def values(self, batch: dict[str, Tensor]) -> Tensor:
        """The value before each completion token, (B, T): what is known when that token is chosen."""
        return self.values_in_chunks(batch, len(batch["completion_ids"]))

    def values_in_chunks(self, batch: dict[str, Tensor], rows: int) -> Tensor:
        """`values` of a whole generation batch, `rows` at a time to bound memory."""
        ids_BL = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask_BL = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        completion = batch["completion_ids"].shape[1]
        if not self.trims:
            chunks = zip(ids_BL.split(rows), mask_BL.split(rows), strict=True)
            return torch.cat([self._score(ids, mask, completion)[0] for ids, mask in chunks])
        (values_BT,) = score_in_micro_batches(self._score, ids_BL, mask_BL, completion, rows, self.trims_left)
        assert values_BT is not None
        return values_BT

    def _score(self, ids_BL: Tensor, mask_BL: Tensor, completion: int) -> tuple[Tensor]:
        with self.accelerator.autocast():
            scores_BL = self.network(input_ids=ids_BL, attention_mask=mask_BL).logits.squeeze(-1)
        return (scores_BL[:, -completion - 1 : -1].float(),)

    def learn(self, batch: dict[str, Tensor], mask_BT: Tensor, normalizer: Tensor) -> float:
        """Forward and backward on one micro-batch; the summed loss is divided by `normalizer`. Returns that loss."""
        values_BT = self.values(batch)
        loss_BT = value_loss(values_BT, batch["values"], batch["value_targets"], self.settings.clip_range)
        loss = (loss_BT * mask_BT).sum() / normalizer
        self.accelerator.backward(loss)
        return float(loss.detach())

    def step(self, rate_factor: float) -> float:
        """One update at `rate_factor` times the learning rate, none at 0; returns the norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.max_grad_norm)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * rate_factor
        if rate_factor > 0:
            self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)

    def save(self, folder: Path) -> None:
        """Weights and moments as safetensors in `folder`/critic, by the main process; all must call it."""
        weights, moments = gather_weights(self.network), gather_moments(self.network, self.raw_optimizer)
        if self.accelerator.is_main_process:
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
            save_file(weights, folder / FOLDER / WEIGHTS)
            save_file(moments, folder / FOLDER / OPTIMIZER)

    def load(self, folder: Path) -> None:
        """What `save` wrote, read by the main process, which hands on to each process its own part."""
        reads = self.accelerator.is_main_process
        hand_out_weights(self.network, load_file(folder / FOLDER / WEIGHTS) if reads else {})
        with safe_open(folder / FOLDER / OPTIMIZER, framework="pt") as slots:
            if not slots.keys():
                return
        moments = load_file(folder / FOLDER / OPTIMIZER) if reads else {}
        hand_out_moments(self.network, self.raw_optimizer, moments)
