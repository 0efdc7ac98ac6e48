"""Rollouts end at stops: through TRL, with a policy whose completions are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import algorithms
from algorithms.config import config_fields, surrogate
from algorithms.settings import Settings
from algorithms.trainer import RLVRTrainer
from tests.algorithms.toy import GO, ON, A, B, C, Judge, make_policy, make_settings, save_policy, trainer

TABLE = {
    (GO,): {A: 0.5, B: 0.5},
    (GO, A): {B: 1.0},
    (GO, B): {C: 1.0},
    (GO, A, B): {C: 1.0},
    (GO, B, C): {ON: 1.0},
    (GO, A, B, C): {ON: 1.0},
}
"""Half of the completions begin "a b c on ...", the others "b c on ...", and none ends by itself in time."""
STOPS = {"before": ["b c"]}
"""Two tokens in either completion: "a" is read of the one, and nothing of the other."""


class Finished(Judge):
    """Also keeps what it was told of the ends."""

    def __call__(self, problems: Sequence[int], texts: Sequence[str], finished: Sequence[bool]) -> list[bool | None]:
        self.ends = [*getattr(self, "ends", []), *finished]
        return super().__call__(problems, texts, finished)


def settings(stops: dict[str, Any] | None, **changes: Any) -> Settings:
    sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 5, "stops": stops or {}}
    return make_settings(budget={"steps": 1}, sampling=sampling, **changes)


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return save_policy(make_policy(TABLE), tmp_path_factory.mktemp("policy"))


def run(
    policy: Path, folder: Path, asked: Settings, name: str = "grpo"
) -> tuple[RLVRTrainer, Finished, dict[str, Any]]:
    """The trainer after one step, what was judged, and the batch as the loss sees it."""
    judge, batches = Finished(lambda text: text.strip() == "a"), []
    made = trainer(algorithms.get(name, surrogate=surrogate(asked)), policy, folder, judge=judge, settings=asked)
    score = made._generate_and_score_completions
    made._generate_and_score_completions = lambda inputs: batches.append(score(inputs)) or batches[-1]
    made.train()
    return made, judge, batches[0]


def test_a_rollout_ends_with_the_token_that_completes_the_stop(policy, tmp_path):
    made, judge, batch = run(policy, tmp_path, settings(STOPS))
    assert {text.strip() for text in judge.texts} == {"a", ""}
    assert all(judge.ends)
    rows = {
        tuple(row[mask.bool()].tolist())
        for row, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    }
    assert rows == {(A, B, C), (B, C)}
    assert made.cost.sampled.tokens == int(batch["completion_mask"].sum())
    right = torch.tensor([text.strip() == "a" for text in judge.texts])
    assert (batch["advantages"][right] > 0).all()
    assert (batch["advantages"][~right] < 0).all()


def test_without_stops_the_same_rollouts_are_cut_off_by_the_limit(policy, tmp_path):
    _, judge, batch = run(policy, tmp_path, settings(None))
    assert not any(judge.ends)
    assert batch["completion_mask"].sum(1).eq(5).all()


def test_a_stopped_rollout_is_not_counted_as_truncated(policy, tmp_path):
    logged = {}
    for name, stops in (("with", STOPS), ("without", None)):
        made, _, _ = run(policy, tmp_path / name, settings(stops))
        logged[name] = made.state.log_history[0]
    assert logged["with"]["completions/clipped_ratio"] == 0
    assert 2 <= logged["with"]["completions/mean_terminated_length"] <= 3
    assert logged["without"]["completions/clipped_ratio"] == 1


def test_masking_truncated_rollouts_keeps_stopped_ones(policy, tmp_path):
    """A stop that only half of the completions meet; the other half reaches the limit and is left out of the loss."""
    _, judge, batch = run(policy, tmp_path, settings({"before": ["a b"]}, mask_truncated=True))
    ended = torch.tensor(judge.ends)
    assert 0 < ended.sum() < len(ended)
    assert torch.equal(batch["completion_mask"].sum(1) > 0, ended)
    assert torch.equal((batch["completion_mask"] * batch["tool_mask"]).sum(1) > 0, ended)
    assert int(batch["num_items_in_batch"]) == int(batch["completion_mask"].sum())


def test_greedy_baselines_end_at_stops_too(policy, tmp_path):
    made, judge, _ = run(policy, tmp_path, settings(STOPS), "remax")
    assert {text.strip() for text in judge.texts} == {"a", ""}
    assert len(judge.texts) == 8 * 8 + 8
    assert made.cost.greedy.tokens <= 3 * 8


def test_the_policys_own_generate_is_as_before(policy, tmp_path):
    made, _, _ = run(policy, tmp_path, settings(STOPS))
    assert "generate" not in vars(made.accelerator.unwrap_model(made.model_wrapped))


def test_vllm_is_told_the_stops(policy, tmp_path):
    def fields(asked: Settings) -> Any:
        made = config_fields(algorithms.get("grpo"), asked, folder="x", seed=0, processes=1, accelerator=False)
        return made["generation_kwargs"]

    assert fields(settings(STOPS, vllm={})) == {"stop": ["b c"], "skip_special_tokens": False}
    assert fields(settings(STOPS)) is None
    assert fields(settings(None, vllm={})) is None
    assert json.dumps(fields(settings(STOPS, vllm={})))
