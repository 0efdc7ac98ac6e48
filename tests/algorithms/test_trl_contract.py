"""What trainer.py leans on in TRL, hook by hook: when TRL moves one, the test that fails carries its name.

`Contract` states that a hook is there with the parameters that we pass; `probe` runs TRL's own trainer for a step and
looks at what goes in and comes out. A new hook in trainer.py or a new field in GRPOConfig fails here until written in.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration

import algorithms
import algorithms.stops
import algorithms.trainer
from algorithms.config import VLLM_FIELDS, config_fields
from algorithms.settings import Settings
from tests.algorithms import toy
from tests.algorithms.trl_fields import LEFT_ALONE

METHODS = {
    "_generate": ("prompts",),
    "_generate_single_turn": ("prompt_ids", "images", "multimodal_fields", "num_generations"),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_generate_and_score_completions": ("inputs",),
    "_compute_loss": ("model", "inputs"),
    "_save_checkpoint": ("model", "trial"),
    "_load_optimizer_and_scheduler": ("checkpoint",),
    "_get_output_dir": ("trial",),
    "training_step": ("model", "inputs", "num_items_in_batch"),
    "create_scheduler": ("num_training_steps", "optimizer"),
    "create_model_card": (),
}
"""Hook -> its first parameters after self: those that we pass, or take over."""

ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "_metrics": lambda value: isinstance(value["train"]["anything"], list),
    "_tokenizer": lambda value: isinstance(value.pad_token_id, int),
    "eos_token_ids": lambda value: value == [toy.EOS],
    "mask_truncated_completions": lambda value: value is False,
    "generation_config": lambda value: value.do_sample is True and value.temperature == 1.0,
    "generation_kwargs": lambda value: value["do_sample"] is True and "max_new_tokens" in value,
    "num_generations": lambda value: value == 4,
    "use_vllm": lambda value: value is False,
    "ref_model": lambda value: value is None,  # without a KL term; tests/algorithms/test_reference.py has one
    "current_gradient_accumulation_steps": lambda value: value == 2,
}
"""What a trainer has after a step of two micro-batches on groups of four, and what we rely on in it."""

SPECIAL = {toy.PAD, toy.EOS, toy.UNK}

PUBLIC = {
    "accelerator", "args", "lr_scheduler", "model", "model_wrapped", "optimizer", "processing_class", "state",
    "train_dataset", "vllm_generation",
}  # fmt: skip
"""Documented by transformers or TRL; `vllm_generation` has its own test below."""


class Contract:
    """What is wrong with a trainer's hooks: one line each, beginning with the hook's name."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def method(self, name: str) -> str | None:
        found = getattr(self.trainer, name, None)
        if not callable(found):
            return f"{name}: GRPOTrainer has no such method any more"
        parameters = [parameter for parameter in inspect.signature(found).parameters if parameter != "self"]
        wanted = list(METHODS[name])
        if parameters[: len(wanted)] != wanted:
            return f"{name}: its parameters are {parameters}, we rely on {wanted}"
        return None

    def attribute(self, name: str) -> str | None:
        if not hasattr(self.trainer, name):
            return f"{name}: GRPOTrainer has no such attribute any more"
        try:
            right = ATTRIBUTES[name](getattr(self.trainer, name))
        except (AttributeError, KeyError, TypeError) as error:
            return f"{name}: not of the form that we rely on ({error})"
        return None if right else f"{name}: is {getattr(self.trainer, name)!r}"

    def broken(self) -> list[str]:
        problems = [*map(self.method, METHODS), *map(self.attribute, ATTRIBUTES)]
        return [problem for problem in problems if problem]


# ------------------------------------------------------------------------------------------------ TRL's own trainer


class Probe(GRPOTrainer):
    """TRL's trainer as it is, with what passes through its hooks kept."""

    def __init__(self, **arguments: Any) -> None:
        self.seen: dict[str, Any] = {"losses": []}
        super().__init__(**arguments)

    def _generate(self, prompts: list[str]) -> Any:
        self.seen["prompts"] = prompts
        self.seen["generate"] = super()._generate(prompts)
        return self.seen["generate"]

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
        self.seen["reward_inputs"] = (inputs, prompts, completions, completion_ids_list)
        self.seen["rewards"] = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return self.seen["rewards"]

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self.seen["inputs"] = inputs
        self.seen["output"] = super()._generate_and_score_completions(inputs)
        return self.seen["output"]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss = super()._compute_loss(model, inputs)
        self.seen["losses"].append((inputs, float(loss.detach())))
        return loss


class OtherAdvantages(TrainerCallback):
    """Before the first update, where every ratio is 1: the loss of the same rows with advantages of our own."""

    trainer: Any

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer, seen = self.trainer, self.trainer.seen
        if "loss_B" in seen:
            return
        inputs = trainer._buffered_inputs[0]
        rows, tokens = inputs["completion_ids"].shape
        advantages_B = torch.tensor([1.0, -2.0, 0.5, 4.0])

        def loss(**changes: Any) -> float:
            with torch.no_grad():
                return float(GRPOTrainer._compute_loss(trainer, trainer.model, {**inputs, **changes}))

        seen["hand"] = advantages_B, inputs
        seen["loss_B"] = loss(advantages=advantages_B)
        old = inputs["old_per_token_logps"]
        seen["loss_of_far_ratio"] = loss(advantages=advantages_B, old_per_token_logps=old - 1)
        seen["loss_without_old"] = loss(advantages=advantages_B, old_per_token_logps=None)
        seen["loss_BT"] = loss(advantages=advantages_B[:, None].expand(rows, tokens))
        first = torch.zeros(rows, tokens, dtype=torch.long)
        seen["loss_of_no_row"] = loss(advantages=advantages_B, tool_mask=first)
        seen["loss_of_first_row"] = loss(
            advantages=advantages_B, tool_mask=first + (torch.arange(rows) == 0).long()[:, None]
        )


def settings() -> Settings:
    """Four prompts, groups of four, two mini-batches of two micro-batches: every part of the arithmetic is there."""
    return toy.make_settings(
        budget={"steps": 1}, prompts_per_step=4, group_size=4, mini_batches_per_step=2, micro_batch_rows=4
    )


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """TRL's trainer after a step, with our settings."""
    table: toy.Table = {(toy.GO,): {toy.A: 0.4, toy.B: 0.4, toy.EOS: 0.2}}
    policy = toy.save_policy(toy.make_policy(table), tmp_path_factory.mktemp("policy"))
    folder = tmp_path_factory.mktemp("probe")
    fields = config_fields(
        algorithms.get("grpo"), settings(), folder=str(folder), seed=0, processes=1, accelerator=False
    )
    rewards = [0.0, 1.0, None, 0.5]
    trainer = Probe(
        model=AutoModelForCausalLM.from_pretrained(policy),
        processing_class=AutoTokenizer.from_pretrained(policy, padding_side="left"),
        args=GRPOConfig(**fields),
        reward_funcs=[lambda completions, **kwargs: rewards * 4],
        train_dataset=Dataset.from_dict({"prompt": ["go"] * 4, "problem": [0, 1, 2, 3]}),
    )
    callback = OtherAdvantages()
    callback.trainer = trainer
    trainer.add_callback(callback)
    trainer.train()
    return trainer


@pytest.mark.parametrize("name", METHODS)
def test_method(name: str) -> None:
    assert Contract(GRPOTrainer).method(name) is None


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attribute(name: str, probe: Probe) -> None:
    assert Contract(probe).attribute(name) is None


def test_generate_returns_eight_things(probe: Probe) -> None:
    """_generate: prompt ids, completion ids, mask, texts, log-probs, extra fields, images, images of tools."""
    prompt_ids, completion_ids, mask, texts, logprobs, extra, images, tool_images = probe.seen["generate"]
    assert prompt_ids == [[toy.GO]] * 16
    assert len(completion_ids) == 16
    assert all(isinstance(ids, list) and 1 <= len(ids) <= 2 for ids in completion_ids)
    # EOS is kept, and is last.
    assert all(ids.index(toy.EOS) == len(ids) - 1 for ids in completion_ids if toy.EOS in ids)
    assert texts == [" ".join(toy.WORDS[i] for i in ids if i not in SPECIAL) for ids in completion_ids]
    assert mask is None and logprobs is None and images is None
    assert extra == {} and tool_images == []


def test_generate_gets_the_list_that_rewards_get(probe: Probe) -> None:
    """_generate may change `prompts` in place: the same list goes to _calculate_rewards."""
    assert probe.seen["reward_inputs"][1] is probe.seen["prompts"]


def test_generate_and_score_completions_gets_groups(probe: Probe) -> None:
    """_generate_and_score_completions: rows of the data set, whole groups of one prompt side by side."""
    problems = [row["problem"] for row in probe.seen["inputs"]]
    assert [problems[i : i + 4] for i in range(0, 16, 4)] == [[problems[i]] * 4 for i in range(0, 16, 4)]
    assert sorted(set(problems)) == [0, 1, 2, 3]


def test_calculate_rewards_is_gathered(probe: Probe) -> None:
    """_calculate_rewards: (B, functions), not weighted, NaN for None."""
    rewards = probe.seen["rewards"]
    assert rewards.shape == (16, 1)
    torch.testing.assert_close(rewards[:4, 0], torch.tensor([0.0, 1.0, torch.nan, 0.5]), equal_nan=True)


def test_generate_and_score_completions_returns_a_batch(probe: Probe) -> None:
    """_generate_and_score_completions: padded tensors, and num_items_in_batch the tokens of all of it."""
    output = probe.seen["output"]
    rows, tokens = output["completion_ids"].shape
    assert rows == 16
    assert output["completion_mask"].shape == output["old_per_token_logps"].shape == (rows, tokens)
    assert output["prompt_ids"].shape == output["prompt_mask"].shape == (rows, 1)
    assert output["advantages"].shape == (rows,)
    lengths = [len(ids) for ids in probe.seen["generate"][1]]
    assert output["completion_mask"].sum(1).tolist() == lengths  # padding is on the right
    assert (output["completion_mask"].diff(dim=1) <= 0).all()
    assert int(output["num_items_in_batch"]) == sum(lengths)


def test_compute_loss_gets_micro_batches_of_all_that_was_returned(probe: Probe) -> None:
    """_compute_loss: each row once, with whatever keys _generate_and_score_completions returned."""
    batches = [inputs for inputs, _ in probe.seen["losses"]]
    assert [len(batch["advantages"]) for batch in batches] == [4, 4, 4, 4]
    assert all(set(batch) == set(probe.seen["output"]) for batch in batches)
    assert all(batch["num_items_in_batch"] == probe.seen["output"]["num_items_in_batch"] for batch in batches)
    for key in ("completion_ids", "advantages"):
        rows = torch.cat([batch[key] for batch in batches]).flatten().sort().values
        torch.testing.assert_close(rows, probe.seen["output"][key].flatten().sort().values)


def test_compute_loss_takes_advantages_of_both_forms(probe: Probe) -> None:
    """_compute_loss: (B,) and (B, T) mean the same."""
    assert probe.seen["loss_B"] != 0
    assert probe.seen["loss_BT"] == pytest.approx(probe.seen["loss_B"], rel=1e-6)


def test_compute_loss_normalises_by_all_tokens(probe: Probe) -> None:
    """_compute_loss, loss_type dapo: -sum of A over num_items x accumulation / steps_per_generation (2 of 4)."""
    advantages_B, inputs = probe.seen["hand"]
    weighted_B = advantages_B * inputs["completion_mask"].sum(1)
    window = float(probe.seen["output"]["num_items_in_batch"]) * 2 / 4
    assert probe.seen["loss_B"] == pytest.approx(-float(weighted_B.sum()) / window, rel=1e-5)
    # `tool_mask` 0 takes rows out, and the denominator is what it was.
    assert probe.seen["loss_of_no_row"] == 0
    assert probe.seen["loss_of_first_row"] == pytest.approx(-float(weighted_B[0]) / window, rel=1e-5)


def test_compute_loss_without_old_log_probabilities_has_a_ratio_of_1(probe: Probe) -> None:
    """_compute_loss: without `old_per_token_logps` it takes the policy's own, of the moment."""
    assert probe.seen["loss_without_old"] == pytest.approx(probe.seen["loss_B"], rel=1e-6)
    assert probe.seen["loss_of_far_ratio"] != pytest.approx(probe.seen["loss_B"], rel=1e-2)


def test_vllm_generation_has_a_temperature() -> None:
    """vllm_generation.temperature: read at each generation, so that setting it makes the next one greedy."""
    assert "temperature" in inspect.signature(VLLMGeneration.__init__).parameters
    assert "temperature = self.temperature" in inspect.getsource(VLLMGeneration.generate)


# ------------------------------------------------------------------------------------------------ the contract bites


def stand_in(without: str | None = None, instead: dict[str, Any] | None = None) -> types.SimpleNamespace:
    """GRPOTrainer's methods in another object, one of them gone or another."""
    names = [name for name in dir(GRPOTrainer) if name != without]
    return types.SimpleNamespace(**{**{name: getattr(GRPOTrainer, name) for name in names}, **(instead or {})})


@pytest.mark.parametrize("name", METHODS)
def test_a_removed_method_is_reported_by_name(name: str) -> None:
    assert (Contract(stand_in(without=name)).method(name) or "").startswith(f"{name}: ")
    assert Contract(stand_in()).method(name) is None


@pytest.mark.parametrize("name", [name for name, parameters in METHODS.items() if parameters])
def test_a_changed_signature_is_reported_by_name(name: str) -> None:
    changed = stand_in(instead={name: lambda self, something_else: None})
    assert (Contract(changed).method(name) or "").startswith(f"{name}: its parameters are ['something_else']")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_removed_attribute_is_reported_by_name(name: str) -> None:
    assert (Contract(types.SimpleNamespace()).attribute(name) or "").startswith(f"{name}: ")
    assert (Contract(types.SimpleNamespace(**{name: object()})).attribute(name) or "").startswith(f"{name}: ")


def test_nothing_is_broken(probe: Probe) -> None:
    assert Contract(probe).broken() == []


# ------------------------------------------------------------------------------------------------ what is in it


def leaned_on() -> set[str]:
    """Every name of TRL's trainer that RLVRTrainer uses, overrides or swaps; not what is its own."""
    tree = ast.parse(Path(algorithms.trainer.__file__).read_text(encoding="utf-8"))
    (trainer,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "RLVRTrainer"]
    methods = {node.name for node in trainer.body if isinstance(node, ast.FunctionDef)}
    attributes = [node for node in ast.walk(trainer) if isinstance(node, ast.Attribute)]
    of_self = [node for node in attributes if ast.unparse(node.value) == "self"]
    state = {node.attr for node in of_self if isinstance(node.ctx, ast.Store)} - set(ATTRIBUTES) - PUBLIC
    used = {node.attr for node in of_self} - methods - state
    parents = {node.attr for node in attributes if ast.unparse(node.value) == "super()"}
    overridden = {name for name in methods if hasattr(GRPOTrainer, name)}
    return {name for name in used | parents | overridden | by_stops() if not name.startswith("__")}


def by_stops() -> set[str]:
    """What the part of the trainer in stops.py uses of it."""
    tree = ast.parse(Path(algorithms.stops.__file__).read_text(encoding="utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if ast.unparse(node.value) in ("trainer", "self.trainer")}


def test_contract_has_every_hook() -> None:
    """A hook that trainer.py begins to lean on must be written into METHODS or ATTRIBUTES above."""
    assert leaned_on() - set(METHODS) - set(ATTRIBUTES) - PUBLIC == set()


def test_contract_has_no_hook_that_nobody_needs() -> None:
    assert (set(METHODS) | set(ATTRIBUTES)) - leaned_on() == set()


# ------------------------------------------------------------------------------------------------ GRPOConfig's fields


FIELDS = {field.name for field in dataclasses.fields(GRPOConfig) if field.init}
REASONS = [(field, reason) for reason, names in LEFT_ALONE.items() for field in names]


@pytest.mark.parametrize("name", sorted(algorithms.ALGORITHMS))
def test_every_field_is_set_or_left_alone_for_a_reason(name: str) -> None:
    config = config_fields(algorithms.get(name), settings(), folder="out", seed=0, processes=1, accelerator=False)
    assert undecided(FIELDS, set(config)) == []
    assert set(config) & {field for field, _ in REASONS} == set(), "set, and listed as left alone"


def undecided(fields: set[str], config: set[str]) -> list[str]:
    """Fields of GRPOConfig about which nobody has decided, and fields decided about that it does not have."""
    decided = config | {field for field, _ in REASONS}
    return [f"new: {field}" for field in sorted(fields - decided)] + [
        f"gone: {field}" for field in sorted(decided - fields)
    ]


def test_a_new_field_fails() -> None:
    config = config_fields(algorithms.get("grpo"), settings(), folder="out", seed=0, processes=1, accelerator=False)
    assert undecided(FIELDS | {"a_new_idea"}, set(config)) == ["new: a_new_idea"]
    assert undecided(FIELDS - {"beta"}, set(config)) == ["gone: beta"]


def test_left_alone_fields_are_listed_once_and_with_a_reason() -> None:
    names = [field for field, _ in REASONS]
    assert sorted(names) == sorted(set(names))
    assert all(len(reason.split()) >= 5 for reason in LEFT_ALONE)


def test_vllm_settings_are_fields() -> None:
    assert set(VLLM_FIELDS) <= FIELDS
