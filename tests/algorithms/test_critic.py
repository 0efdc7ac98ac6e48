"""The critic: its loss and its statistics by hand, how it begins, and that it comes back as it was saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from algorithms.critic import Critic, CriticSettings, explained_variance, make_critic, value_loss


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "slope"),
    [
        # Moved by 0.3, within 0.5: 0.5 (0.3 - 2)^2 = 1.445, slope v - target.
        (0.3, 0.0, 2.0, 1.445, -1.7),
        # Moved by 1 towards the target: clipped at 0.5, 0.5 (0.5 - 2)^2 = 1.125 is the larger: no slope, it waits.
        (1.0, 0.0, 2.0, 1.125, 0.0),
        (-1.0, 0.0, -2.0, 1.125, 0.0),
        # Moved by 1 away from the target: 0.5 (1 - 0)^2 = 0.5 is larger than the clipped 0.125: it may come back.
        (1.0, 0.0, 0.0, 0.5, 1.0),
        # The clip is around the old value and not around 0: 3.3 is within 3 +- 0.5.
        (3.3, 3.0, 5.0, 1.445, -1.7),
    ],
)
def test_value_loss(value: float, old: float, target: float, loss: float, slope: float) -> None:
    value_BT = torch.tensor([[value]], requires_grad=True)
    loss_BT = value_loss(value_BT, torch.tensor([[old]]), torch.tensor([[target]]), 0.5)
    loss_BT.sum().backward()
    assert loss_BT.item() == pytest.approx(loss, abs=1e-6)
    assert value_BT.grad is not None and value_BT.grad.item() == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "targets", "mask", "expected"),
    [
        ([0.0, 1, 2], [0.0, 1, 2], [1, 1, 1], 1.0),
        ([5.0, 6, 7], [0.0, 1, 2], [1, 1, 1], 1.0),  # an offset is not variance
        ([3.0, 3, 3], [0.0, 1, 2], [1, 1, 1], 0.0),
        ([1.0, 0, 9], [0.0, 1, 9], [1, 1, 0], -3.0),  # target - value = -1, 1: variance 1 against 1/4: 1 - 4
        ([0.0, 0, 9], [0.0, 1, 0], [1, 1, 0], 0.0),
        ([0.0, 1, 2], [1.0, 1, 1], [1, 1, 1], 0.0),  # nothing to explain
        ([0.0, 1, 2], [0.0, 1, 2], [0, 0, 0], 0.0),
    ],
)
def test_explained_variance(values: list[float], targets: list[float], mask: list[int], expected: float) -> None:
    tensors = (torch.tensor([row]) for row in (values, targets, mask))
    assert explained_variance(*tensors) == pytest.approx(expected, abs=1e-6)


# ------------------------------------------------------------------------------------------------ the network


class OneProcess:
    """As much of accelerate.Accelerator as a critic uses, without its state that outlives a test."""

    is_main_process = True

    def __init__(self) -> None:
        self._models: list[nn.Module] = []

    def prepare(self, *things: Any) -> tuple[Any, ...]:
        return things

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        yield

    def backward(self, loss: Tensor) -> None:
        loss.backward()


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny base model with dropout of its own, which a critic must not take over."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32, attention_dropout=0.5, pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("base")
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


SETTINGS = CriticSettings(learning_rate_factor=10.0, clip_range=0.5, warmup_steps=0)
BATCH = {
    "prompt_ids": torch.tensor([[0, 2], [3, 4]]),
    "prompt_mask": torch.tensor([[0, 1], [1, 1]]),
    "completion_ids": torch.tensor([[5, 6, 1], [7, 1, 0]]),
    "completion_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
}


def critic_of(base_model: str, learning_rate: float = 1e-3, max_grad_norm: float = 1.0) -> Critic:
    return Critic(make_critic(base_model, None), SETTINGS, OneProcess(), learning_rate, max_grad_norm)


def teach(critic: Critic, updates: int) -> list[float]:
    """Updates towards a target of 1 at every token; the losses."""
    losses = []
    for _ in range(updates):
        old_BT = critic.values_in_chunks(BATCH, 2)
        batch = {**BATCH, "values": old_BT, "value_targets": torch.ones(2, 3)}
        losses.append(critic.learn(batch, BATCH["completion_mask"], torch.tensor(5.0)))
        critic.step(1.0)
    return losses


def test_first_values_are_zero(base_model: str) -> None:
    assert torch.equal(critic_of(base_model).values_in_chunks(BATCH, 1), torch.zeros(2, 3))


def test_body_is_the_base_model(base_model: str) -> None:
    critic, policy = make_critic(base_model, None), LlamaForCausalLM.from_pretrained(base_model)
    body = dict(critic.named_parameters())
    for name, weight in policy.model.named_parameters():
        assert torch.equal(body[f"model.{name}"], weight), name


def test_no_dropout_and_chunks_do_not_matter(base_model: str) -> None:
    critic = critic_of(base_model)
    teach(critic, 2)
    at_once = critic.values_in_chunks(BATCH, 2)
    assert torch.equal(at_once, critic.values_in_chunks(BATCH, 2))
    torch.testing.assert_close(at_once, critic.values_in_chunks(BATCH, 1))
    assert at_once.abs().max() > 1e-3


def test_a_value_sees_what_is_before_its_token(base_model: str) -> None:
    """The value of a token is known before the token is: changing token t moves values from t + 1 on alone."""
    critic = critic_of(base_model)
    teach(critic, 2)
    changed = {**BATCH, "completion_ids": torch.tensor([[5, 9, 1], [7, 1, 0]])}
    moved_BT = (critic.values_in_chunks(changed, 2) - critic.values_in_chunks(BATCH, 2)).abs() > 1e-6
    assert moved_BT.tolist() == [[False, False, True], [False, False, False]]


def test_it_learns(base_model: str) -> None:
    critic = critic_of(base_model)
    # The first loss: 0.5 (0 - 1)^2 at five tokens over 5.
    losses = teach(critic, 40)
    assert losses[0] == pytest.approx(0.5)
    assert losses[-1] < 0.05


def test_learning_rate_and_clipping(base_model: str) -> None:
    critic = critic_of(base_model, learning_rate=1e-4, max_grad_norm=1e-3)
    batch = {**BATCH, "values": torch.zeros(2, 3), "value_targets": torch.ones(2, 3)}
    critic.learn(batch, BATCH["completion_mask"], torch.tensor(5.0))
    assert critic.step(0.5) > 1e-3  # the norm before clipping
    # 10 times the policy's 1e-4, at half of its schedule.
    assert critic.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)
    assert all(weight.grad is None for weight in critic.network.parameters())


def test_save_and_load(base_model: str, tmp_path: Path) -> None:
    one, other = critic_of(base_model), critic_of(base_model)
    teach(one, 3)
    one.save(tmp_path)
    other.load(tmp_path)
    assert torch.equal(one.values_in_chunks(BATCH, 2), other.values_in_chunks(BATCH, 2))
    # The optimiser's moments came along: the next updates are the same too, to the bit.
    assert teach(one, 2) == teach(other, 2)
    assert torch.equal(one.values_in_chunks(BATCH, 2), other.values_in_chunks(BATCH, 2))


def test_save_and_load_before_the_first_update(base_model: str, tmp_path: Path) -> None:
    one, other = critic_of(base_model), critic_of(base_model)
    one.save(tmp_path)
    other.load(tmp_path)
    assert teach(one, 1) == teach(other, 1)
