"""What every algorithm must keep to; one that joins `ALGORITHMS` is tested here without another line."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

import algorithms
from algorithms.base import Algorithm, Surrogate
from algorithms.config import config_fields, describe, surrogate
from algorithms.conformance import CHECKS, run
from algorithms.conformance.batches import T
from algorithms.conformance.objective import CHANGES
from algorithms.conformance.objective import COMMON as SETTINGS
from algorithms.settings import Settings
from benchmarks.errors import UsageError

OBJECTIVE = {
    "loss_type", "epsilon", "epsilon_high", "delta", "beta", "use_bias_correction_kl", "sync_ref_model",
    "importance_sampling_level", "mask_truncated_completions", "scale_rewards", "multi_objective_aggregation",
    "reward_weights", "top_entropy_quantile", "entropy_coef", "use_adaptive_entropy", "off_policy_mask_threshold",
    "vllm_importance_sampling_correction",
}  # fmt: skip
"""GRPOConfig's fields that define what is optimised; TRL has a default of its own for each."""
ROLLOUTS = {
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "max_completion_length",
    "generation_kwargs",
}
UPDATES = {
    "num_generations", "num_iterations", "steps_per_generation", "per_device_train_batch_size",
    "gradient_accumulation_steps", "learning_rate", "weight_decay", "max_grad_norm", "optim", "adam_beta1",
    "adam_beta2", "adam_epsilon", "max_steps", "seed", "disable_dropout", "bf16", "fp16",
}  # fmt: skip

COMMON = {
    "clip_range": 0.2, "clip_range_high": None, "kl_coefficient": 0.0, "loss": "token_mean", "mask_truncated": False,
}  # fmt: skip
"""The objective of a suite that says nothing about it."""
IN_TRL: dict[str, dict[str, Any]] = {
    "clip_range": {"epsilon": 0.1, "epsilon_high": 0.1},
    "kl_coefficient": {"beta": 0.01},
    "loss": {"loss_type": "grpo"},
    "mask_truncated": {"mask_truncated_completions": True},
}
"""What each of `CHANGES` is in GRPOConfig."""


@pytest.fixture(params=sorted(algorithms.ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    return algorithms.get(request.param)


def grpo_config(algorithm: Algorithm, settings: Settings = SETTINGS) -> dict[str, Any]:
    return config_fields(algorithm, settings, folder="out", seed=1, processes=1, accelerator=False)


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_to_the_contract(algorithm: Algorithm, check: str) -> None:
    """The checks that `rlvr-gap check-algorithm` makes; `test_findings.py` shows that each of them can fail."""
    assert run({check: CHECKS[check]}, algorithm) == []


class TestConfiguration:
    def test_it_says_who_it_is(self, algorithm: Algorithm) -> None:
        assert algorithms.ALGORITHMS[algorithm.name].endswith(f":{type(algorithm).__name__}")
        assert algorithm.paper.startswith("arXiv ")

    def test_it_is_a_value(self, algorithm: Algorithm) -> None:
        assert algorithm == algorithms.get(algorithm.name)
        with pytest.raises(AttributeError):
            algorithm.surrogate = Surrogate(0.1)  # type: ignore[misc]

    def test_objective_is_stated_in_full(self, algorithm: Algorithm) -> None:
        assert set(algorithm.trl_config()) == OBJECTIVE
        assert set(grpo_config(algorithm)) >= OBJECTIVE | ROLLOUTS | UPDATES

    def test_common_objective(self, algorithm: Algorithm) -> None:
        """PPO's clip at 0.2 either way, the mean over tokens and no KL term, but for what the algorithm pins."""
        assert algorithm.objective == Surrogate(**{**COMMON, **algorithm.pins()})
        objective = algorithm.trl_config()
        if not algorithm.pins():
            assert objective["loss_type"] == "dapo"  # TRL's name for a mean over the tokens of the whole batch
            assert objective["epsilon"] == objective["epsilon_high"] == 0.2 and objective["beta"] == 0.0
            assert objective["importance_sampling_level"] == "token"
        assert objective["delta"] is None and objective["off_policy_mask_threshold"] is None
        assert objective["entropy_coef"] == 0.0 and objective["top_entropy_quantile"] == 1.0
        assert not objective["mask_truncated_completions"]

    @pytest.mark.parametrize("name", CHANGES)
    def test_a_suite_changes_what_is_not_pinned(self, algorithm: Algorithm, name: str) -> None:
        """A setting that the algorithm pins to something else is refused in one line, before a model is loaded."""
        changed = SETTINGS.model_copy(update={name: CHANGES[name]})
        asked = algorithms.get(algorithm.name, surrogate=surrogate(changed))
        if algorithm.pins().get(name, CHANGES[name]) != CHANGES[name]:
            with pytest.raises(
                UsageError, match=rf"training\.{name} is .*, but {algorithm.name} (pins it to|has no such part)"
            ):
                grpo_config(asked, changed)
            return
        config = grpo_config(asked, changed)
        assert {key: config[key] for key in IN_TRL[name]} == IN_TRL[name]

    def test_a_suite_that_agrees_with_a_pin_is_accepted(self, algorithm: Algorithm) -> None:
        agreed = {name: value for name, value in algorithm.pins().items() if name in Settings.model_fields}
        assert grpo_config(algorithm, SETTINGS.model_copy(update=agreed)) == grpo_config(algorithm)

    def test_sampling_is_the_suites(self, algorithm: Algorithm) -> None:
        config = grpo_config(algorithm)
        assert {key: config[key] for key in sorted(ROLLOUTS)} == {
            "generation_kwargs": None, "max_completion_length": T, "min_p": None, "repetition_penalty": 1.0,
            "temperature": 0.7, "top_k": 5, "top_p": 0.9,
        }  # fmt: skip

    def test_settings_are_recorded(self, algorithm: Algorithm) -> None:
        record = describe(algorithm)
        own = {field.name for field in fields(algorithm)} - {"surrogate"}
        assert record == json.loads(json.dumps(record))
        assert record["name"] == algorithm.name and record["paper"] == algorithm.paper
        assert set(record["settings"]) == own
        assert all(record["settings"][name] == getattr(algorithm, name) for name in own)

    def test_unknown_setting_lists_the_known_ones(self, algorithm: Algorithm) -> None:
        own = {field.name for field in fields(algorithm)} - {"surrogate"}
        with pytest.raises(ValueError, match="no setting 'no_such_setting'") as error:
            algorithms.get(algorithm.name, no_such_setting=1)
        listed = str(error.value).partition("it has: ")[2].rstrip(".")
        assert set(listed.split(", ")) == (own or {"none"})
        assert algorithm.name in str(error.value)
        with pytest.raises(ValueError, match="no setting 'paper'"):  # a name of the class, and no setting
            algorithms.get(algorithm.name, paper="")

    def test_own_settings_can_be_set(self, algorithm: Algorithm) -> None:
        for name, value in describe(algorithm)["settings"].items():
            other = value + 1 if isinstance(value, int) else value / 2
            assert getattr(algorithms.get(algorithm.name, **{name: other}), name) == other


def test_unknown_algorithm_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown algorithm 'grop'") as error:
        algorithms.get("grop")
    assert "Did you mean 'grpo'?" in str(error.value)
    assert all(name in str(error.value) for name in algorithms.ALGORITHMS)


def test_the_six_and_the_variant_are_there() -> None:
    assert {"ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo", "reinforce_pp_baseline"} <= set(
        algorithms.ALGORITHMS
    )
