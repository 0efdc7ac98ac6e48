"""The estimators of the algorithms beyond the source comparison, against numbers derived by hand in the comments."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import algorithms
from algorithms.base import Surrogate
from algorithms.config import config_fields
from benchmarks.errors import UsageError
from tests.algorithms import toy
from tests.algorithms.test_estimators import advantages, check, rollouts

MIXED = [1.0, 0, 0, 1]
LONE = [0.0, 0, 0, 1]


def test_dr_grpo() -> None:
    # [1, 0, 0, 1]: mean 1/2. [0, 0, 0, 1]: mean 1/4.
    check(advantages("dr_grpo", MIXED + LONE, 4), [0.5, -0.5, -0.5, 0.5, -0.25, -0.25, -0.25, 0.75])
    # The third row is out: the mean of [1, 0, 1] is 2/3.
    check(advantages("dr_grpo", MIXED, 4, valid_B=[1, 1, 0, 1]), [1 / 3, -2 / 3, 0.0, 1 / 3])


def test_signed_reinforcement() -> None:
    check(advantages("psr", MIXED, 4), [1.0, 0, 0, 1])
    check(advantages("nsr", MIXED, 4), [0.0, -1, -1, 0])
    check(advantages("w_reinforce", MIXED, 4), [0.1, -1, -1, 0.1])
    # A row that is out is neither correct nor incorrect.
    check(advantages("nsr", MIXED, 4, valid_B=[1, 1, 0, 1]), [0.0, -1, 0, 0])
    check(advantages("w_reinforce", MIXED, 4, valid_B=[0, 1, 0, 1]), [0.0, -1, 0, 0.1])


def test_w_reinforce_between_its_two_parts() -> None:
    for weight, same in ((0.0, "nsr"), (1.0, None)):
        found = algorithms.get("w_reinforce", positive_weight=weight).advantages(rollouts(MIXED, 4))
        check(found, advantages(same, MIXED, 4).tolist() if same else [1.0, -1, -1, 1])


def test_maxrl() -> None:
    # [1, 0, 0, 1]: (1 - 1/2) / (1/2) = 1. [0, 0, 0, 1]: (1 - 1/4) / (1/4) = 3, which is G - 1, and -1 for the others.
    check(advantages("maxrl", MIXED + LONE, 4), [1.0, -1, -1, 1, -1, -1, -1, 3])
    assert (advantages("maxrl", [0.0] * 4 + [1.0] * 4, 4) == 0).all()
    # The third row is out: (1 - 2/3) / (2/3) = 1/2.
    check(advantages("maxrl", MIXED, 4, valid_B=[1, 1, 0, 1]), [0.5, -1, 0, 0.5])


def test_lite_ppo() -> None:
    # The batch's rewards are three 1 and five 0: mean 3/8, squared deviations 3 (5/8)^2 + 5 (3/8)^2 = 15/8, over 7.
    std = math.sqrt(15 / 56)
    deviations = [0.5, -0.5, -0.5, 0.5, -0.25, -0.25, -0.25, 0.75]
    check(advantages("lite_ppo", MIXED + LONE, 4), [deviation / std for deviation in deviations])
    # The last group is out, and its rewards with it: mean 1/2, squared deviations 1, over 3.
    check(
        advantages("lite_ppo", MIXED + [1.0] * 4, 4, valid_B=[1] * 4 + [0] * 4),
        [deviation * math.sqrt(3) for deviation in (0.5, -0.5, -0.5, 0.5)] + [0.0] * 4,
    )
    assert (advantages("lite_ppo", [1.0] * 8, 4) == 0).all()


@pytest.mark.parametrize("reward", [0.1, 0.7, -1 / 3])
@pytest.mark.parametrize("name", ["dr_grpo", "maxrl", "lite_ppo", "gspo", "cispo", "prorl"])
def test_equal_rewards_are_exactly_zero(name: str, reward: float) -> None:
    # Thirteen times 0.7 has a mean that misses it by 1e-7; Lite PPO would divide that by 1e-6.
    assert (advantages(name, [reward] * 13, 13) == 0).all()


@pytest.mark.parametrize(
    ("k", "rewards", "expected"),
    [
        # One of four is correct. Of the 6 pairs, 3 have no correct one: R = 1/2, sigma = 1/2. The correct one is in
        # pairs that are all worth 1: (1 - 1/2) / (1/2) = 1. An incorrect one is in 3 pairs, of which 1 is worth 1:
        # (1/3 - 1/2) / (1/2) = -1/3.
        (2, LONE, [-1 / 3, -1 / 3, -1 / 3, 1.0]),
        # Two are correct: 1 of 6 pairs fails, R = 5/6, sigma = sqrt(5)/6. Correct: (1/6) / sigma = 1/sqrt(5).
        # Incorrect: 2 of its 3 pairs are worth 1: (2/3 - 5/6) / sigma = -1/sqrt(5).
        (2, MIXED, [1 / math.sqrt(5), -1 / math.sqrt(5), -1 / math.sqrt(5), 1 / math.sqrt(5)]),
        # Three are correct: no pair fails.
        (2, [1.0, 1, 0, 1], [0.0] * 4),
        (2, [0.0] * 4, [0.0] * 4),
        # k = 1: the population's standard deviation of [1, 0, 0, 1] is 1/2, so the advantages are +-1.
        (1, MIXED, [1.0, -1, -1, 1]),
        # k = 3 of [0, 0, 0, 1]: 1 of 4 triples fails, R = 3/4, sigma = sqrt(3)/4. Correct: (1/4) / sigma = 1/sqrt(3).
        # Incorrect: 2 of its 3 triples are worth 1: (2/3 - 3/4) / sigma = -1/(3 sqrt(3)).
        (3, LONE, [-1 / (3 * math.sqrt(3))] * 3 + [1 / math.sqrt(3)]),
    ],
)
def test_pass_at_k_training(k: int, rewards: list[float], expected: list[float]) -> None:
    check(algorithms.get("pass_at_k_training", k=k).advantages(rollouts(rewards, 4)), expected)


def test_pass_at_k_training_uses_valid_rows_alone() -> None:
    # The first row is out: of [0, 0, 1] one is correct, 1 of 3 pairs fails, R = 2/3, sigma = sqrt(2)/3.
    # Correct: (1/3) / sigma = 1/sqrt(2). Incorrect: 1 of its 2 pairs is worth 1: (1/2 - 2/3) / sigma = -1/(2 sqrt(2)).
    pairs: Any = algorithms.get("pass_at_k_training", k=2)
    found = pairs.advantages(rollouts([1.0, 0, 0, 1], 4, valid_B=[0, 1, 1, 1]))
    check(found, [0.0, -1 / (2 * math.sqrt(2)), -1 / (2 * math.sqrt(2)), 1 / math.sqrt(2)])
    # One row alone is no pair.
    check(pairs.advantages(rollouts(MIXED, 4, valid_B=[1, 0, 0, 0])), [0.0] * 4)


def test_pass_at_k_training_needs_groups_of_k() -> None:
    settings = toy.make_settings()
    with pytest.raises(UsageError, match=r"k = 9, but training\.group_size is 8; expected a k of at most 8"):
        algorithms.get("pass_at_k_training", k=9).check(settings)
    algorithms.get("pass_at_k_training", k=8).check(settings)


@pytest.mark.parametrize("name", ["gspo", "cispo", "prorl"])
def test_those_with_the_advantage_of_grpo(name: str) -> None:
    # [1, 0, 0, 1]: mean 1/2, unbiased variance 1/3: A = +-sqrt(3)/2.
    half = math.sqrt(3) / 2
    check(advantages(name, MIXED, 4), [half, -half, -half, half])


def test_raft() -> None:
    check(advantages("raft", MIXED + [0.0] * 4, 4), [1.0, 0, 0, 1, 0, 0, 0, 0])


def test_prorl_keeps_mixed_groups() -> None:
    correct_PG = torch.tensor([[1, 0], [1, 1], [0, 0]]).bool()
    prorl: Any = algorithms.get("prorl")
    assert prorl.has_signal(correct_PG, torch.ones(3, 2).bool()).tolist() == [True, False, False]


OBJECTIVES = {
    "dr_grpo": {"loss_type": "dr_grpo", "importance_sampling_level": "token"},
    "lite_ppo": {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.2},
    "gspo": {
        "loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4,
    },
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0, "importance_sampling_level": "token"},
    "prorl": {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.4, "beta": 1e-3, "sync_ref_model": False},
}  # fmt: skip
"""What the sources say, in TRL's fields."""


CLIPPING: list[tuple[Surrogate, dict[str, Any]]] = [
    (Surrogate(clip_range=0.1), {"loss_type": "dapo", "epsilon": 0.1, "epsilon_high": 0.1}),
    (Surrogate(clip_range=0.1, clip_range_high=0.3), {"epsilon": 0.1, "epsilon_high": 0.3}),
    (Surrogate(clip_range=None), {"epsilon": 1e9, "epsilon_high": 1e9}),  # the ratio as it is
    (Surrogate(clip_range=None, clip_range_high=0.3), {"epsilon": 1e9, "epsilon_high": 0.3}),
    # A clip range that does nothing makes no difference to what TRL is told, so that the checks notice it.
    (Surrogate(clip_range=0.1, weight_cap=5.0), {"loss_type": "cispo", "epsilon": 1e9, "epsilon_high": 5.0}),
    (Surrogate(clip_range=0.1, ratio="none"), {"loss_type": "dapo", "epsilon": 1e9, "epsilon_high": 1e9}),
]


@pytest.mark.parametrize(("objective", "fields"), CLIPPING)
def test_what_trl_is_told_of_clipping(objective: Surrogate, fields: dict[str, Any]) -> None:
    config = objective.trl_config()
    assert {key: config[key] for key in fields} == fields


def test_a_cap_on_weights_under_another_loss_is_refused() -> None:
    """TRL would take the mean over tokens in silence, and the record would say otherwise."""
    with pytest.raises(
        UsageError, match=r"^weight_cap needs the loss token_mean, but the loss is sequence_mean: pin it"
    ):
        Surrogate(weight_cap=5.0, loss="sequence_mean").trl_config()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_are_the_sources(name: str) -> None:
    config = algorithms.get(name).trl_config()
    assert {key: config[key] for key in OBJECTIVES[name]} == OBJECTIVES[name]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora": {"rank": 2, "alpha": 4.0}}, r"does not work with training\.lora yet"),
        ({"deepspeed": {}}, r"does not work with training\.deepspeed yet"),
        ({"fsdp": {"fsdp_reshard_after_forward": False}}, r"fsdp\.reshard_after_forward: false .* expected true"),
    ],
)
def test_a_reset_is_refused_where_it_cannot_work(changes: dict[str, Any], words: str) -> None:
    settings = toy.make_settings(**changes)
    with pytest.raises(UsageError, match=rf"^prorl resets its reference, .*{words}"):
        config_fields(algorithms.get("prorl"), settings, folder="", seed=0, processes=2, accelerator=False)
