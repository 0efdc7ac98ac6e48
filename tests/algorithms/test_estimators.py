"""Every estimator against numbers derived by hand in the comments, never against a second implementation of ours."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.base import Algorithm, Rollouts, whiten
from algorithms.critic import gae

ROOT_3 = math.sqrt(3)


def mask_of(lengths: list[int]) -> Tensor:
    """(B, T): ones up to each row's length."""
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


def rollouts(rewards: list[float], group_size: int, lengths: list[int] | None = None, **more: Any) -> Rollouts:
    """A batch; `valid` as a list of 0 and 1, values and greedy rewards as lists."""
    tensors = {key: torch.tensor(value) for key, value in more.items()}
    if "valid_B" in tensors:
        tensors["valid_B"] = tensors["valid_B"].bool()
    return Rollouts(torch.tensor(rewards), mask_of(lengths or [2] * len(rewards)), group_size, **tensors)


def check(actual: Tensor, expected: Any, tolerance: float = 2e-5) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), atol=tolerance, rtol=0)


def advantages(name: str, *args: Any, **kwargs: Any) -> Tensor:
    return algorithms.get(name).advantages(rollouts(*args, **kwargs))


# ------------------------------------------------------------------------------------------------ GRPO


def test_grpo_mixed_and_single_success() -> None:
    # [1, 0, 0, 1]: mean 1/2, squared deviations sum to 1, unbiased variance 1/3, std 1/sqrt 3: A = +-sqrt(3)/2.
    # [0, 0, 0, 1]: mean 1/4, 3 (1/4)^2 + (3/4)^2 = 3/4, unbiased variance 1/4, std 1/2: A = -1/2 and 3/2.
    half = ROOT_3 / 2
    check(advantages("grpo", [1.0, 0, 0, 1, 0, 0, 0, 1], 4), [half, -half, -half, half, -0.5, -0.5, -0.5, 1.5])


def test_grpo_is_unbiased_and_not_population() -> None:
    # With the population's std (1/2) the first group's advantages would be +-1: a factor of sqrt(4/3).
    assert float(advantages("grpo", [1.0, 0, 0, 1], 4)[0]) * math.sqrt(4 / 3) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, -1 / 3])
def test_grpo_equal_rewards_are_zero(reward: float) -> None:
    # Exactly: a mean that misses 0.1 by one rounding would otherwise be divided by 1e-6.
    assert (advantages("grpo", [reward] * 7, 7) == 0).all()


def test_grpo_invalid_rows() -> None:
    # [1, 0, -, 1]: mean 2/3, 1/9 + 4/9 + 1/9 = 2/3, over 2: variance 1/3, A = 1/3 sqrt 3, -2/3 sqrt 3, 0, 1/3 sqrt 3.
    # [1, -, -, -]: one row has no deviation. What stands in an invalid row does not matter.
    actual = advantages("grpo", [1.0, 0, 99, 1, 1, 7, 7, 7], 4, valid_B=[1, 1, 0, 1, 1, 0, 0, 0])
    check(actual, [ROOT_3 / 3, -2 * ROOT_3 / 3, 0, ROOT_3 / 3, 0, 0, 0, 0])


def test_grpo_invariances() -> None:
    base = advantages("grpo", [1.0, 0, 0, 1], 4)
    check(advantages("grpo", [6.0, 5, 5, 6], 4), base.tolist())  # shift
    check(advantages("grpo", [10.0, 0, 0, 10], 4), base.tolist())  # scale, but for the 1e-6 beside std
    check(advantages("grpo", [0.0, 1, 1, 0], 4), (-base).tolist())  # sign
    # Absent: the two groups have scales of their own, so that a reward of 10 in one is a reward of 1 in the other.
    both = advantages("grpo", [10.0, 0, 1, 0], 2)
    check(both[:2], both[2:].tolist())


def test_grpo_epsilon_is_a_setting() -> None:
    # [1, 0]: deviations +-1/2, std sqrt(1/2); with an epsilon of 1: A = 0.5 / (0.707107 + 1) = 0.292893.
    actual = algorithms.get("grpo", std_epsilon=1.0).advantages(rollouts([1.0, 0], 2))
    check(actual, [0.292893, -0.292893])


# ------------------------------------------------------------------------------------------------ RLOO


def test_rloo_mixed_and_single_success() -> None:
    # [1, 0, 0, 1]: 1 - (0 + 0 + 1)/3 = 2/3 and 0 - (1 + 0 + 1)/3 = -2/3.
    # [0, 0, 0, 1]: 0 - 1/3 and 1 - 0.
    third = 1 / 3
    expected = [2 * third, -2 * third, -2 * third, 2 * third, -third, -third, -third, 1.0]
    check(advantages("rloo", [1.0, 0, 0, 1, 0, 0, 0, 1], 4), expected)
    assert (advantages("rloo", [1.0] * 4 + [0.0] * 4, 4) == 0).all()


def test_rloo_invalid_rows() -> None:
    # [1, 0, -, 1]: 1 - (0 + 1)/2, 0 - (1 + 1)/2, -, 1/2. [1, -, -, -]: nobody to compare with.
    actual = advantages("rloo", [1.0, 0, 99, 1, 1, 7, 7, 7], 4, valid_B=[1, 1, 0, 1, 1, 0, 0, 0])
    check(actual, [0.5, -1.0, 0, 0.5, 0, 0, 0, 0])


def test_rloo_invariances() -> None:
    base = advantages("rloo", [1.0, 0, 0, 1], 4)
    check(advantages("rloo", [6.0, 5, 5, 6], 4), base.tolist())  # shift
    check(
        advantages("rloo", [10.0, 0, 0, 10], 4), (10 * base).tolist(), 1e-4
    )  # not invariant to scale: it grows with it


def test_rloo_needs_two() -> None:
    with pytest.raises(ValueError, match="rloo needs a group size of at least 2, got 1"):
        advantages("rloo", [1.0, 0], 1)


# ------------------------------------------------------------------------------------------------ REINFORCE++


@pytest.mark.parametrize("group_size", [1, 2])
def test_reinforce_pp_weighs_tokens(group_size: int) -> None:
    # Lengths 1 and 3, rewards 1 and 0. Over tokens 1, 0, 0, 0: mean 1/4, (3/4)^2 + 3 (1/4)^2 = 3/4, over 3: variance
    # 1/4: A = 3/2 and -1/2. (Over completions it would be +-0.7071.) Groups play no part.
    check(advantages("reinforce_pp", [1.0, 0], group_size, [1, 3]), [[1.5, 0, 0], [-0.5, -0.5, -0.5]])


def test_reinforce_pp_spans_groups() -> None:
    # [1, 1 | 0, 0], one token each: mean 1/2, sum of squares 1, over 3: A = +-(1/2) sqrt 3. Both groups are all-equal:
    # normalised by group they would be 0.
    half = ROOT_3 / 2
    check(advantages("reinforce_pp", [1.0, 1, 0, 0], 2, [1, 1, 1, 1]), [[half], [half], [-half], [-half]])


@pytest.mark.parametrize("name", ["reinforce_pp", "reinforce_pp_baseline"])
def test_reinforce_pp_invalid_rows(name: str) -> None:
    # The third and fourth rows are out: the rest is as if they were not there. In pairs [1, 0] the group's mean is 1/2;
    # tokens 1/2, -1/2 x 3 have mean -1/4 and deviations 3/4, -1/4 x 3: the same numbers as without a baseline.
    actual = advantages(name, [1.0, 0, 50, 60], 2, [1, 3, 2, 3], valid_B=[1, 1, 0, 0])
    check(actual, [[1.5, 0, 0], [-0.5, -0.5, -0.5], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("name", ["reinforce_pp", "reinforce_pp_baseline"])
@pytest.mark.parametrize("rewards", [[1.0, 1, 1, 1], [0.0, 0, 0, 0]])
def test_reinforce_pp_equal_rewards_are_zero(name: str, rewards: list[float]) -> None:
    check(advantages(name, rewards, 2, [1, 3, 2, 2]), [[0.0] * 3] * 4)


def test_reinforce_pp_invariances() -> None:
    base = advantages("reinforce_pp", [1.0, 0], 2, [1, 3]).tolist()
    check(advantages("reinforce_pp", [6.0, 5], 2, [1, 3]), base)  # shift
    check(advantages("reinforce_pp", [10.0, 0], 2, [1, 3]), base)  # scale, but for the 1e-8 beside the variance
    # Absent: a shift of one group alone. Rewards [1, 0 | 1, 0] against [1, 0 | 3, 2].
    one, other = ([1.0, 0, 1, 0], [1.0, 0, 3, 2])
    lengths = [1, 1, 1, 1]
    assert not torch.allclose(
        advantages("reinforce_pp", one, 2, lengths), advantages("reinforce_pp", other, 2, lengths)
    )
    check(
        advantages("reinforce_pp_baseline", other, 2, lengths),
        advantages("reinforce_pp_baseline", one, 2, lengths).tolist(),
    )


def test_reinforce_pp_baseline() -> None:
    # [1, 0 | 1, 1], lengths 1, 3, 2, 2. Minus the group's mean: 1/2, -1/2, 0, 0. Over the tokens 1/2, 3 x -1/2, 4 x 0:
    # mean -1/8; (5/8)^2 + 3 (3/8)^2 + 4 (1/8)^2 = 56/64 = 7/8, over 7: variance 1/8, std 1/sqrt 8.
    # A = 5/8 sqrt 8 = 1.767767, -3/8 sqrt 8 = -1.060660, 1/8 sqrt 8 = 0.353553: the group without signal is not at 0.
    a, b, c = (x / 8 * math.sqrt(8) for x in (5, -3, 1))
    actual = advantages("reinforce_pp_baseline", [1.0, 0, 1, 1], 2, [1, 3, 2, 2])
    check(actual, [[a, 0, 0], [b, b, b], [c, c, 0], [c, c, 0]])


def test_reinforce_pp_baseline_of_groups_of_one_is_zero() -> None:
    # Each row is its group's mean.
    check(advantages("reinforce_pp_baseline", [1.0, 0], 1, [1, 3]), [[0.0] * 3] * 2)


def test_whiten_of_one_token_or_none() -> None:
    check(whiten(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 1.0]])), [[0.0, 0.0]])
    check(whiten(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)), [[0.0, 0.0]])


# ------------------------------------------------------------------------------------------------ ReMax


@pytest.mark.parametrize(
    ("rewards", "group_size", "greedy", "expected"),
    [
        ([1.0, 0, 1, 0], 2, [1.0, 0.0], [0.0, -1, 1, 0]),
        ([1.0, 1, 0, 0], 2, [0.0, 1.0], [1.0, 1, -1, -1]),  # all-equal groups are not at 0
        ([1.0, 1, 0, 0], 2, [1.0, 0.0], [0.0, 0, 0, 0]),
        ([0.0, 0, 0, 1], 4, [0.0], [0.0, 0, 0, 1]),
        ([1.0, 0], 1, [0.0, 1.0], [1.0, -1]),  # groups of one, as in the paper
        ([1.0, 0, 1, 0], 2, [math.nan, 0.0], [0.0, 0, 1, 0]),  # the greedy verdict is not known
    ],
)
def test_remax(rewards: list[float], group_size: int, greedy: list[float], expected: list[float]) -> None:
    check(advantages("remax", rewards, group_size, greedy_rewards_P=greedy), expected)


def test_remax_invalid_rows() -> None:
    actual = advantages("remax", [1.0, 50, 1, 50], 2, greedy_rewards_P=[0.0, 1.0], valid_B=[1, 0, 1, 0])
    check(actual, [1.0, 0, 0, 0])


def test_remax_invariances() -> None:
    check(advantages("remax", [6.0, 5], 2, greedy_rewards_P=[5.0]), [1.0, 0])  # shift of all, greedy too
    check(advantages("remax", [6.0, 5], 2, greedy_rewards_P=[0.0]), [6.0, 5])  # not of the sampled ones alone
    check(advantages("remax", [10.0, 0], 2, greedy_rewards_P=[0.0]), [10.0, 0])  # not of scale


def test_remax_needs_greedy_rewards() -> None:
    with pytest.raises(ValueError, match="greedy_rewards_P"):
        advantages("remax", [1.0, 0], 2)


# ------------------------------------------------------------------------------------------------ PPO


VALUES = [[0.2, 0.4, 0.6], [0.5, -0.5, 9.0]]
"""The second row has two tokens: what the critic says of its padding must not matter."""


def test_gae() -> None:
    # gamma 0.9, lambda 0.8, so gamma lambda = 0.72. Rewards 1 and 0 on the last tokens.
    # Row 1  t=2  d = 1 - 0.6 = 0.4                    A = 0.4
    #        t=1  d = 0.9 x 0.6 - 0.4 = 0.14           A = 0.14 + 0.72 x 0.4 = 0.428
    #        t=0  d = 0.9 x 0.4 - 0.2 = 0.16           A = 0.16 + 0.72 x 0.428 = 0.46816
    # Row 2  t=1  d = 0 - (-0.5) = 0.5                 A = 0.5
    #        t=0  d = 0.9 x (-0.5) - 0.5 = -0.95       A = -0.95 + 0.72 x 0.5 = -0.59
    actual = gae(torch.tensor([1.0, 0.0]), torch.tensor(VALUES), mask_of([3, 2]), 0.9, 0.8)
    check(actual, [[0.46816, 0.428, 0.4], [-0.59, 0.5, 0.0]])


@pytest.mark.parametrize(
    ("gamma", "gae_lambda", "expected"),
    [
        (1.0, 1.0, [0.8, 0.6, 0.4]),  # r - V_t
        (0.9, 0.0, [0.16, 0.14, 0.4]),  # the one-step differences of above
        (0.5, 1.0, [0.05, 0.1, 0.4]),  # gamma^(2-t) r - V_t: 1/4 - 0.2, 1/2 - 0.4, 1 - 0.6
        (0.0, 1.0, [-0.2, -0.4, 0.4]),
    ],
)
def test_gae_special_cases(gamma: float, gae_lambda: float, expected: list[float]) -> None:
    check(gae(torch.tensor([1.0]), torch.tensor(VALUES[:1]), mask_of([3]), gamma, gae_lambda), [expected])


def test_gae_of_a_truncated_completion_does_not_bootstrap() -> None:
    # No padding and no EOS: the value after the last token is 0 all the same, A = r - V_t.
    check(gae(torch.tensor([0.0]), torch.tensor([[0.3, 0.7]]), mask_of([2]), 1.0, 1.0), [[-0.3, -0.7]])


def test_gae_of_an_empty_row_is_zero() -> None:
    check(gae(torch.tensor([1.0]), torch.tensor([[0.3, 0.7]]), torch.zeros(1, 2), 1.0, 1.0), [[0.0, 0.0]])


def ppo(**settings: float) -> Any:
    return algorithms.get("ppo", **settings)


def test_ppo_whitens_over_tokens() -> None:
    # The five advantages of test_gae: mean 1.20616/5 = 0.241232; deviations 0.226928, 0.186768, 0.158768, -0.831232,
    # 0.258768; squares 0.0514963 + 0.0348823 + 0.0252073 + 0.6909466 + 0.0669609 = 0.8694934, over 4: 0.2173733; std
    # 0.4662332.
    batch = rollouts([1.0, 0], 2, [3, 2], values_BT=VALUES)
    actual = ppo(gamma=0.9, gae_lambda=0.8).advantages(batch)
    check(actual, [[0.486726, 0.400589, 0.340533], [-1.782868, 0.555018, 0.0]])


def test_ppo_value_targets_are_not_whitened() -> None:
    # A + V: 0.46816 + 0.2, 0.428 + 0.4, 0.4 + 0.6; -0.59 + 0.5, 0.5 - 0.5; nothing on padding.
    batch = rollouts([1.0, 0], 2, [3, 2], values_BT=VALUES)
    check(ppo(gamma=0.9, gae_lambda=0.8).value_targets(batch), [[0.66816, 0.828, 1.0], [-0.09, 0.0, 0.0]])
    check(ppo().value_targets(batch), [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])  # gamma = lambda = 1: the reward


def test_ppo_invalid_rows() -> None:
    # The second row out, gamma = lambda = 1: A = 0.8, 0.6, 0.4, mean 0.6, std 0.2: 1, 0, -1.
    batch = rollouts([1.0, 50], 2, [3, 2], values_BT=VALUES, valid_B=[1, 0])
    check(ppo().advantages(batch), [[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    check(ppo().value_targets(batch), [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])


def test_ppo_with_a_blind_critic_is_normalised_over_tokens() -> None:
    # Values of 0 and gamma = 1: A = r at every token, lengths 1 and 3: the numbers of test_reinforce_pp_weighs_tokens.
    batch = rollouts([1.0, 0], 1, [1, 3], values_BT=[[0.0] * 3] * 2)
    check(ppo().advantages(batch), [[1.5, 0, 0], [-0.5, -0.5, -0.5]])


def test_ppo_with_a_perfect_critic_has_no_advantage() -> None:
    batch = rollouts([1.0, 0], 2, [3, 2], values_BT=[[1.0] * 3, [0.0, 0.0, 9.0]])
    check(ppo().advantages(batch), [[0.0] * 3] * 2)


def test_ppo_invariances() -> None:
    # Whitened: rewards and values on another scale, or shifted together, give the same (gamma = lambda = 1).
    base = ppo().advantages(rollouts([1.0, 0], 2, [3, 2], values_BT=VALUES)).tolist()
    shifted = [[v + 5 for v in row] for row in VALUES]
    scaled = [[v * 10 for v in row] for row in VALUES]
    check(ppo().advantages(rollouts([6.0, 5], 2, [3, 2], values_BT=shifted)), base)
    check(ppo().advantages(rollouts([10.0, 0], 2, [3, 2], values_BT=scaled)), base)
    # Absent: with gamma below 1 a shift is worth less the earlier it is felt.
    # gamma 1/2, lambda 1, values 0, lengths 1 and 2.
    # Rewards 1, 0: A = 1 | 0, 0; mean 1/3, variance (4 + 1 + 1)/9 / 2 = 1/3: 2/sqrt 3, -1/sqrt 3, -1/sqrt 3.
    # Rewards 2, 1: A = 2 | 1/2, 1; mean 7/6; deviations 5/6, -4/6, -1/6; variance 42/36 / 2 = 7/12, std 0.763763.
    blind, half = [[0.0] * 2] * 2, ppo(gamma=0.5)
    before = half.advantages(rollouts([1.0, 0], 2, [1, 2], values_BT=blind))
    check(before, [[2 / ROOT_3, 0.0], [-1 / ROOT_3, -1 / ROOT_3]])
    after = half.advantages(rollouts([2.0, 1], 2, [1, 2], values_BT=blind))
    check(after, [[1.091089, 0.0], [-0.872872, -0.218218]])


@pytest.mark.parametrize("method", ["advantages", "value_targets"])
def test_ppo_needs_values(method: str) -> None:
    with pytest.raises(ValueError, match="values_BT"):
        getattr(ppo(), method)(rollouts([1.0, 0], 2))


# ------------------------------------------------------------------------------------------------ DAPO


@pytest.mark.parametrize(
    ("limit", "length", "penalty"),
    [
        (20480, 1, 0.0),
        (20480, 16384, 0.0),  # the last length without a penalty: 20,480 - 4,096
        (20480, 17408, -0.25),  # 1,024 of 4,096 into the buffer
        (20480, 18432, -0.5),
        (20480, 20480, -1.0),
        (20, 16, 0.0),
        (20, 17, -0.25),
        (20, 20, -1.0),
        (20, 25, -1.0),  # never below -1
    ],
)
def test_dapo_penalty(limit: int, length: int, penalty: float) -> None:
    shaped = algorithms.get("dapo").shape(torch.tensor([1.0, 0.0]), torch.tensor([length, length]), limit)
    check(shaped, [1 + penalty, -1 + penalty])


def test_dapo_without_buffer_and_with_failed_verifiers() -> None:
    rewards, lengths = torch.tensor([1.0, 0.0, math.nan]), torch.tensor([20, 20, 3])
    shaped = algorithms.get("dapo", overlong_share=0.0).shape(rewards, lengths, 20)
    check(shaped[:2], [1.0, -1.0])
    assert shaped[2].isnan() and algorithms.get("dapo").shape(rewards, lengths, 20)[2].isnan()


def test_dapo_advantages() -> None:
    # Rewards are +-1, so that [1, 0, 0, 1] becomes [1, -1, -1, 1]: mean 0, sum of squares 4, over 3, A = +-sqrt(3)/2.
    # A correct answer at the limit is worth 0, halfway: [1, 0, -1]: mean 0, std 1.
    dapo = algorithms.get("dapo")
    signed = dapo.shape(torch.tensor([1.0, 0, 0, 1]), torch.tensor([3, 4, 5, 6]), 20)
    half = ROOT_3 / 2
    check(dapo.advantages(Rollouts(signed, mask_of([3, 4, 5, 6]), 4)), [half, -half, -half, half])
    late = dapo.shape(torch.tensor([1.0, 1, 0]), torch.tensor([3, 20, 3]), 20)
    check(dapo.advantages(Rollouts(late, mask_of([3, 20, 3]), 3)), [1.0, 0.0, -1.0])


def test_dapo_signal_is_the_verdicts() -> None:
    # The second group is all correct: its shaped rewards (1 and 0) differ, and it has no signal all the same.
    dapo: Any = algorithms.get("dapo")
    shaped = dapo.shape(torch.tensor([1.0, 1.0]), torch.tensor([3, 20]), 20)
    assert shaped[0] != shaped[1]
    correct_PG = torch.tensor([[1, 0], [1, 1], [0, 0], [0, 1]]).bool()
    assert dapo.has_signal(correct_PG, torch.ones(4, 2).bool()).tolist() == [True, False, False, True]


def test_dapo_signal_of_valid_rows_alone() -> None:
    correct_PG = torch.tensor([[1, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1]]).bool()
    valid_PG = torch.tensor([[1, 0, 0], [1, 0, 1], [1, 1, 0], [0, 0, 0]]).bool()
    dapo: Any = algorithms.get("dapo")
    assert dapo.has_signal(correct_PG, valid_PG).tolist() == [False, False, True, False]


# ------------------------------------------------------------------------------------------------ the batch itself


def test_shape_is_the_identity_elsewhere() -> None:
    rewards, lengths = torch.tensor([0.0, 1.0]), torch.tensor([1, 20])
    for name in algorithms.ALGORITHMS:
        algorithm: Algorithm = algorithms.get(name)
        if type(algorithm).shape is Algorithm.shape:
            assert torch.equal(algorithm.shape(rewards, lengths, 20), rewards), name


@pytest.mark.parametrize(
    ("rewards", "lengths", "group_size", "message"),
    [([1.0, 0, 1], [1, 1], 1, "do not share B"), ([1.0, 0, 1], [1, 1, 1], 2, "not whole groups"), ([1.0], [1], 0, "0")],
)
def test_rollouts_that_do_not_fit(rewards: list[float], lengths: list[int], group_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rollouts(rewards, group_size, lengths)
