"""The loss that RLVRTrainer really steps on, against loops over rows and tokens written out longhand.

The rollouts are given: which completion follows which prompt, and which are correct. One training step is run; at each
micro-batch the loss is written out anew from the policy's logits, and at each update its gradient is compared too, so
that a wrong denominator, mask, old log-probability or sign of any kind shows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, TrainerCallback

import algorithms
from algorithms.base import Surrogate
from algorithms.config import surrogate
from tests.algorithms import toy

A, B, C, EOS = toy.A, toy.B, toy.C, toy.EOS
LIMIT = 4

GIVEN = {
    "go": [[B, EOS], [A, EOS], [B, A, C, EOS], [C, A]],
    "go on": [[A, B, EOS], [B, B, B, A], [C, EOS], [B, EOS]],
    "on": [[B, B, EOS], [A, A, A, EOS], [C, B, EOS], [B, C, A, A]],
    "on go": [[EOS], [B, A, EOS], [A, B, A, EOS], [B, EOS]],
}
"""Prompts of different lengths, four completions each, cut off at four tokens where there is no EOS."""

Row = tuple[tuple[int, ...], tuple[int, ...]]
"""A prompt's and a completion's tokens."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Any policy will do; this one has no probability near 0 or 1."""
    table: toy.Table = {(toy.GO,): {token: 1 / 8 for token in range(8)}}
    return toy.save_policy(toy.make_policy(table, seed=3), tmp_path_factory.mktemp("policy"))


def log_probability(model: Any, row: Row, t: int) -> Tensor:
    """Of the completion's token t, from the logits of the whole sequence before it; no padding, no batch."""
    prompt, completion = row
    logits = model(input_ids=torch.tensor([[*prompt, *completion[:t]]])).logits[0, -1]
    return logits[completion[t]] - torch.stack([logit.exp() for logit in logits]).sum().log()


@dataclass
class Longhand:
    """What one update must be: -1/n sum of min(w A, clip(w) A), or of what an algorithm pins instead, by loops."""

    old_model: Any
    advantage: dict[Row, list[float]]
    """Of each token of the rows that count."""
    objective: Surrogate
    clipped: int = 0
    """Tokens at which the clipped branch was taken, or the weight capped, over all updates."""

    def ratio(self, model: Any, row: Row, t: int) -> Tensor:
        if self.objective.ratio == "none":
            now = log_probability(model, row, t)
            return (now - float(now.detach())).exp()
        tokens = [t] if self.objective.ratio == "token" else range(len(row[1]))
        differences = []
        for token in tokens:
            with torch.no_grad():
                old = float(log_probability(self.old_model, row, token))
            differences.append(log_probability(model, row, token) - old)
        return torch.stack(differences).mean().exp()

    def token(self, model: Any, row: Row, t: int) -> Tensor:
        """Of the loss. KL: beta (1/q - 1 + log q), where q is the policy's probability over that of the base.

        In a run of one step the base is both the sampler and the reference.
        """
        if self.objective.kl_coefficient == 0:
            return self.without_kl(model, row, t)
        with torch.no_grad():
            base = float(log_probability(self.old_model, row, t))
        log_q = log_probability(model, row, t) - base
        kl = (-log_q).exp() - 1 + log_q
        return self.without_kl(model, row, t) + self.objective.kl_coefficient * kl

    def without_kl(self, model: Any, row: Row, t: int) -> Tensor:
        ratio, advantage = self.ratio(model, row, t), self.advantage[row][t]
        plain, known = ratio * advantage, float(ratio.detach())
        cap = self.objective.weight_cap
        if cap is not None:
            self.clipped += known > cap
            return -min(known, cap) * advantage * log_probability(model, row, t)
        low = self.objective.clip_range
        if low is None:
            return -plain
        high = self.objective.clip_range_high or low
        if known < 1 - low:
            other = (1 - low) * advantage
        elif known > 1 + high:
            other = (1 + high) * advantage
        else:
            other = known * advantage
        if other < known * advantage:
            self.clipped += 1
            return plain * 0 - other
        return -plain

    def token_sum(self, model: Any, rows: list[Row]) -> Tensor:
        total = torch.zeros(())
        for row in rows:
            if row in self.advantage:
                for t in range(len(row[1])):
                    total = total + self.token(model, row, t)
        return total

    def sequence_means(self, model: Any, rows: list[Row]) -> Tensor:
        total = torch.zeros(())
        for row in rows:
            if row in self.advantage:
                total = total + self.token_sum(model, [row]) / len(row[1])
        return total


@dataclass
class Seen:
    """What the trainer did."""

    rows: list[list[Row]] = field(default_factory=list)
    """Of each micro-batch."""
    losses: list[float] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    """At each update, of the trainer."""
    longhand: list[dict[str, Tensor]] = field(default_factory=list)


@dataclass
class Case:
    """One training step."""

    algorithm: str = "rloo"
    loss: str = "token_mean"
    mini_batches: int = 1
    passes: int = 1
    micro_batch_rows: int | None = None
    failed: tuple[str, ...] = ()
    """Completions at which the verifier fails."""
    own: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.02
    mask_truncated: bool = False


def verdict_of(case: Case) -> Any:
    """Correct if it begins with b; None for the completions of `case.failed`."""
    return lambda text: None if text in case.failed else text.split()[:1] == ["b"]


def words(ids: list[int]) -> str:
    return " ".join(toy.WORDS[token] for token in ids if token not in (toy.PAD, EOS))


def expected_advantages(case: Case) -> dict[Row, list[float]]:
    """RLOO's: r minus the mean of the others. GRPO's: the deviation from the mean over the std. PPO's below."""
    found: dict[Row, list[float]] = {}
    for prompt, completions in GIVEN.items():
        ids = tuple(toy.WORDS.index(word) for word in prompt.split())
        verdicts = [verdict_of(case)(words(row)) for row in completions]
        rewards = {i: float(verdict) for i, verdict in enumerate(verdicts) if verdict is not None}
        mean = sum(rewards.values()) / len(rewards)
        std = math.sqrt(sum((r - mean) ** 2 for r in rewards.values()) / (len(rewards) - 1))
        for i, reward in rewards.items():
            others = [rewards[j] for j in rewards if j != i]
            leave_one_out = reward - sum(others) / len(others)
            length = len(completions[i])
            rows = {
                "rloo": [leave_one_out] * length,
                "dr_grpo": [reward - mean] * length,
                "dapo": [(reward - mean) / std] * length,  # rewards of +-1 make no difference to it
                "gspo": [(reward - mean) / std] * length,
                "cispo": [(reward - mean) / std] * length,
                "prorl": [(reward - mean) / std] * length,
                "psr": [reward] * length,
                "nsr": [reward - 1] * length,
                "raft": [reward] * length,
                "ppo": [reward * 0.5 ** (length - 1 - t) for t in range(length)],
            }
            if not (case.mask_truncated and completions[i][-1] != EOS):
                found[ids, tuple(completions[i])] = rows[case.algorithm]
    return whitened(found) if case.algorithm == "ppo" else found


def whitened(rows: dict[Row, list[float]]) -> dict[Row, list[float]]:
    """PPO with gamma 1/2 and a critic that says 0: gamma^(tokens to come) r, normalised over all tokens."""
    tokens = [value for row in rows.values() for value in row]
    mean = sum(tokens) / len(tokens)
    std = math.sqrt(sum((value - mean) ** 2 for value in tokens) / (len(tokens) - 1))
    return {row: [(value - mean) / std for value in values] for row, values in rows.items()}


def run(case: Case, policy: Path, folder: Path) -> tuple[Seen, Longhand]:
    """One step of the real trainer on the given rollouts, everything recorded as it happens."""
    settings = toy.make_settings(
        budget={"steps": 1}, prompts_per_step=len(GIVEN), group_size=4, mini_batches_per_step=case.mini_batches,
        passes_per_step=case.passes, micro_batch_rows=case.micro_batch_rows, loss=case.loss, max_grad_norm=1e9,
        learning_rate=case.learning_rate, mask_truncated=case.mask_truncated,
        sampling={"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": LIMIT},
    )  # fmt: skip
    algorithm = algorithms.get(case.algorithm, surrogate=surrogate(settings), **case.own)
    judge = toy.Judge(verdict=verdict_of(case))
    trainer = toy.trainer(algorithm, policy, folder, prompts=tuple(GIVEN), judge=judge, settings=settings)
    inject(trainer)
    longhand = Longhand(AutoModelForCausalLM.from_pretrained(policy), expected_advantages(case), algorithm.objective)
    seen = Seen()
    record(trainer, case, longhand, seen)
    trainer.train()
    return seen, longhand


def inject(trainer: Any) -> None:
    """The given completions in place of sampled ones, by prompt, in their order."""

    def given(prompt_ids: list[list[int]], *rest: Any, **more: Any) -> tuple[list[list[int]], None]:
        count: dict[str, int] = defaultdict(int)
        found = []
        for ids in prompt_ids:
            prompt = words(ids)
            found.append(list(GIVEN[prompt][count[prompt]]))
            count[prompt] += 1
        return found, None

    trainer._generate_single_turn = given


def rows_of(inputs: dict[str, Tensor]) -> list[Row]:
    """The rows of a padded micro-batch without their padding."""
    rows: list[Row] = []
    for prompt, completion in zip(inputs["prompt_ids"].tolist(), inputs["completion_ids"].tolist(), strict=True):
        tokens = tuple(token for token in completion if token != toy.PAD)
        rows.append((tuple(token for token in prompt if token != toy.PAD), tokens))
    return rows


def record(trainer: Any, case: Case, longhand: Longhand, seen: Seen) -> None:
    """Writes each micro-batch's loss out longhand at the moment it is computed, and each update's gradient."""
    compute = trainer._compute_loss
    total_tokens = sum(len(completion) for _, completion in longhand.advantage)
    window: list[Tensor] = []

    def compute_and_compare(model: Any, inputs: dict[str, Tensor]) -> Tensor:
        rows = rows_of(inputs)
        seen.rows.append(rows)
        mini_batch = len(GIVEN) * 4 / case.mini_batches
        if longhand.objective.loss == "token_mean":
            # The batch's tokens, shared out evenly between its mini-batches.
            expected = longhand.token_sum(model, rows) / (total_tokens / case.mini_batches)
        elif longhand.objective.loss == "constant":
            expected = longhand.token_sum(model, rows) / (mini_batch * LIMIT)
        else:
            # A mean over a mini-batch's completions; rows that do not count are 0 in it.
            expected = longhand.sequence_means(model, rows) / mini_batch
        window.append(expected)
        loss = compute(model, inputs)
        seen.losses.append(float(loss.detach()))
        seen.expected.append(float(expected.detach()))
        return loss

    class AtUpdate(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            named = dict(trainer.model.named_parameters())
            seen.gradients.append({name: weight.grad.clone() for name, weight in named.items()})
            gradients = torch.autograd.grad(sum(window, torch.zeros(())), list(named.values()))
            seen.longhand.append(dict(zip(named, gradients, strict=True)))
            window.clear()

    trainer._compute_loss = compute_and_compare
    trainer.add_callback(AtUpdate())


CASES = {
    "token mean": Case(),
    "token mean, accumulated": Case(micro_batch_rows=4),
    "token mean, several mini-batches": Case(mini_batches=2),
    "token mean, mini-batches and passes, accumulated": Case(mini_batches=2, passes=2, micro_batch_rows=4),
    "sequence mean": Case(loss="sequence_mean"),
    "sequence mean, accumulated": Case(loss="sequence_mean", micro_batch_rows=4),
    "sequence mean, mini-batches and passes": Case(loss="sequence_mean", mini_batches=2, passes=2, micro_batch_rows=4),
    "verifier failed": Case(failed=("b a c", "a b"), mini_batches=2),
    "verifier failed, sequence mean": Case(failed=("b a c", "a b"), loss="sequence_mean", micro_batch_rows=8),
    "truncated left out": Case(mask_truncated=True, mini_batches=2, micro_batch_rows=4),
    "an advantage for each token": Case(algorithm="ppo", own={"gamma": 0.5}, mini_batches=2, passes=2),
    "clip-higher": Case(algorithm="dapo", own={"overlong_share": 0.0}, mini_batches=4, passes=3, learning_rate=0.05),
    "symmetric clip": Case(mini_batches=4, passes=3, learning_rate=0.05),
    "constant denominator": Case(algorithm="dr_grpo", mini_batches=2, micro_batch_rows=4),
    "constant denominator, verifier failed": Case(algorithm="dr_grpo", failed=("b a c", "a b"), mini_batches=2),
    "the sequence's ratio": Case(algorithm="gspo", mini_batches=2, passes=2, learning_rate=0.05),
    "the sequence's ratio, verifier failed": Case(algorithm="gspo", failed=("b a c",), mini_batches=2),
    "capped weights": Case(
        algorithm="cispo", own={"weight_cap": 1.05}, mini_batches=2, passes=2, learning_rate=0.05, micro_batch_rows=4
    ),
    "a KL term": Case(
        algorithm="prorl", own={"kl_coefficient": 0.3}, mini_batches=2, passes=2, learning_rate=0.05, micro_batch_rows=4
    ),
    "likelihood": Case(algorithm="raft", mini_batches=2, passes=2),
    "one-sided, negative": Case(algorithm="nsr", mini_batches=2, failed=("b a c",)),
    "one-sided": Case(algorithm="psr", mini_batches=2, passes=2),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(name: str, policy: Path, tmp_path: Path) -> None:
    case = CASES[name]
    seen, longhand = run(case, policy, tmp_path)
    updates = case.mini_batches * case.passes
    micro_batches = 16 // case.mini_batches // (case.micro_batch_rows or 16 // case.mini_batches)
    assert len(seen.losses) == updates * micro_batches
    assert seen.losses == pytest.approx(seen.expected, abs=2e-6, rel=1e-5)
    assert len(seen.gradients) == updates
    for ours, theirs in zip(seen.longhand, seen.gradients, strict=True):
        for weight in ours:
            torch.testing.assert_close(theirs[weight], ours[weight], atol=2e-6, rtol=1e-4, msg=f"{name}: {weight}")
    # Each pass sees every row once.
    rows = [row for batch in seen.rows for row in batch]
    assert sorted(rows) == sorted(case.passes * all_rows())
    if case.passes > 1 and case.learning_rate > 0.02:
        assert longhand.clipped > 0, "the ratios never left the clip range: nothing was tested"


def all_rows() -> list[Row]:
    return [
        (tuple(toy.WORDS.index(word) for word in prompt.split()), tuple(completion))
        for prompt, completions in GIVEN.items()
        for completion in completions
    ]


def test_the_ranges_of_clip_higher_matter(policy: Path, tmp_path: Path) -> None:
    """The longhand loop with 0.2 on both sides does not agree with clip-higher: the case above is not blind to it."""
    case = CASES["clip-higher"]
    seen, _ = run(case, policy, tmp_path / "a")
    low, _ = run(Case(**{**vars(case), "own": {**case.own, "clip_high": 0.2}}), policy, tmp_path / "b")
    assert seen.losses != pytest.approx(low.losses, abs=1e-4)


def test_raft_and_psr_part_after_the_first_update(policy: Path, tmp_path: Path) -> None:
    """The same advantage: with the ratio at 1 the same gradient, and another one once the policy has moved."""
    cases = [Case(algorithm=name, mini_batches=2, learning_rate=0.05) for name in ("raft", "psr")]
    raft, psr = (run(case, policy, tmp_path / case.algorithm)[0].gradients for case in cases)
    torch.testing.assert_close(raft[0]["lm_head.weight"], psr[0]["lm_head.weight"], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(raft[1]["lm_head.weight"], psr[1]["lm_head.weight"], atol=1e-3)


def test_rows_that_do_not_count_leave_no_trace(policy: Path, tmp_path: Path) -> None:
    """A failed verdict is not a wrong answer: counted as wrong, the update is another one."""
    failed, _ = run(Case(failed=("b a c",)), policy, tmp_path / "failed")
    counted, _ = run(Case(), policy, tmp_path / "counted")
    assert not torch.allclose(failed.gradients[0]["lm_head.weight"], counted.gradients[0]["lm_head.weight"], atol=1e-4)
