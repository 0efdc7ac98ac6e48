"""The reference that follows the policy in jumps: when it moves, what it becomes, and what happens to the optimiser."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

import algorithms
from algorithms.reference import MovingReference
from tests.algorithms import toy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table: toy.Table = {(toy.GO,): {toy.B: 0.5, toy.A: 0.4, toy.EOS: 0.1}}
    return toy.save_policy(toy.make_policy(table), tmp_path_factory.mktemp("policy"))


def flat(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten().clone() for weight in network.parameters()])


def test_the_reference_becomes_the_policy_every_so_many_steps(policy: Path, tmp_path: Path) -> None:
    """Reset every second step: during steps 1 and 2 it is the base, during 3 and 4 the policy after step 2."""
    algorithm = algorithms.get("prorl", reset_every_steps=2, refill_rounds=0)
    trainer = toy.trainer(algorithm, policy, tmp_path, settings=toy.make_settings(budget={"steps": 4}))
    assert trainer.reference is not None and trainer.reference.network is trainer.ref_model
    assert [n for n, _ in trainer.ref_model.named_parameters()] == [n for n, _ in trainer.model.named_parameters()]
    references, policies = [], [flat(trainer.model)]

    class AtStepEnd(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            if trainer.state.global_step % 2 == 0:  # two updates a step
                references.append(flat(trainer.ref_model))
                policies.append(flat(trainer.model))

    trainer.add_callback(AtStepEnd())
    trainer.train()
    assert [torch.equal(reference, policies[0]) for reference in references] == [True, True, False, False]
    assert [torch.equal(reference, policies[2]) for reference in references] == [False, False, True, True]
    # The optimiser was set back before step 3 and has made four updates since then.
    counts = {int(state["step"]) for state in trainer.optimizer.state.values()}
    assert counts == {4}
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert all("kl" in entry for entry in steps)
    assert [entry["reference/reset"] for entry in steps] == [0, 0, 1, 0]


def test_kl_is_measured_from_the_reference(policy: Path, tmp_path: Path) -> None:
    """It is 0 in the step after a reset (and in the first), whose only update starts from the reference; else above."""
    algorithm = algorithms.get("prorl", reset_every_steps=2, refill_rounds=1, kl_coefficient=0.1)
    settings = toy.make_settings(budget={"steps": 5}, mini_batches_per_step=1, learning_rate=0.002)
    trainer = toy.trainer(algorithm, policy, tmp_path, settings=settings)
    trainer.train()
    kl = [entry["kl"] for entry in trainer.state.log_history if "loss" in entry]
    assert [value < 1e-9 for value in kl] == [True, False, True, False, True]
    assert min(kl[1], kl[3]) > 1e-7


def test_a_reference_that_never_moved_is_not_saved(tmp_path: Path) -> None:
    reference = MovingReference(torch.nn.Linear(2, 2), every=3)
    reference.save(tmp_path, is_main_process=True)
    assert not list(tmp_path.iterdir())
    assert [reference.is_due(steps) for steps in range(7)] == [False, False, False, True, False, False, True]
    before = flat(reference.network)
    reference.load(tmp_path, is_main_process=True)
    assert torch.equal(flat(reference.network), before) and not reference.moved


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    policy, reference = torch.nn.Linear(2, 2), MovingReference(torch.nn.Linear(2, 2), every=1)
    optimizer = torch.optim.AdamW(policy.parameters())
    policy(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert all(state["step"] == 1 and state["exp_avg"].abs().max() > 0 for state in optimizer.state.values())
    reference.reset(policy, optimizer)
    assert all(not value.any() for state in optimizer.state.values() for value in state.values())
    reference.save(tmp_path / "other", is_main_process=False)
    assert not list(tmp_path.iterdir())
    reference.save(tmp_path, is_main_process=True)
    other = MovingReference(torch.nn.Linear(2, 2), every=1)
    other.load(tmp_path, is_main_process=True)
    assert torch.equal(flat(other.network), flat(policy)) and other.moved
