"""A toy policy whose next-token probabilities are chosen, and a trainer around it: seconds where a model takes hours.

One Llama layer of width 16. Its head is solved for, so that after each context of a table the next token has the
probabilities of the table; the contexts have linearly independent hidden states, so the solution is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from algorithms.base import Algorithm
from algorithms.settings import Settings
from algorithms.train import TrainSpec, make_trainer
from algorithms.trainer import RLVRTrainer

WORDS = ("pad", "eos", "unk", "go", "on", "a", "b", "c")
PAD, EOS, UNK, GO, ON, A, B, C = range(len(WORDS))
Table = Mapping[tuple[int, ...], Mapping[int, float]]
"""Context -> next token -> probability."""
NEVER = 1e-4
"""The probability of a token that the table does not name."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Words in, words out; nothing is added to a prompt."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="unk"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="pad", eos_token="eos", unk_token="unk",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def make_policy(table: Table, seed: int = 0) -> LlamaForCausalLM:
    """A policy with `table`'s probabilities: context -> token -> probability; the rest is almost impossible."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.5, tie_word_embeddings=False,
        pad_token_id=PAD, eos_token_id=EOS, bos_token_id=None,
    )  # fmt: skip
    policy = LlamaForCausalLM(config)
    with torch.no_grad():
        hidden = torch.stack([policy.model(torch.tensor([ids])).last_hidden_state[0, -1] for ids in table])
        wanted = torch.tensor(
            [[math.log(row.get(token, NEVER)) for token in range(len(WORDS))] for row in table.values()]
        )
        policy.lm_head.weight.copy_((torch.linalg.pinv(hidden) @ wanted).T)
    return policy


def save_policy(policy: PreTrainedModel, folder: Path) -> Path:
    """`folder`, with the policy and its tokenizer in it."""
    policy.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def probability(model: Any, context: Sequence[int], token: int) -> float:
    """Of `token` after `context`."""
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([list(context)])).logits[0, -1].softmax(-1)[token])


@dataclass
class Judge:
    """A verifier that counts: by default, correct if the first word is `b`."""

    verdict: Callable[[str], bool | None] = lambda text: text.split()[:1] == ["b"]
    texts: list[str] = field(default_factory=list)

    def __call__(self, problems: Sequence[int], texts: Sequence[str], finished: Sequence[bool]) -> list[bool | None]:
        assert len(problems) == len(texts) == len(finished)
        self.texts += texts
        return [self.verdict(text) for text in texts]


def make_settings(**changes: Any) -> Settings:
    """Two mini-batches of 8 prompts x 8 completions a step."""
    common = {
        "budget": {"steps": 20},
        "prompts_per_step": 8,
        "group_size": 8,
        "mini_batches_per_step": 2,
        "learning_rate": 0.01,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 2},
        "save_every_steps": 1000,
    }
    return Settings.model_validate({**common, **changes})


def trainer(
    algorithm: Algorithm, policy: Path, folder: Path, *, prompts: Sequence[str] = ("go",) * 8, seed: int = 0,
    judge: Judge | None = None, settings: Settings | None = None,
) -> RLVRTrainer:  # fmt: skip
    """A trainer of the policy in `policy`, ready to run in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = TrainSpec(
        algorithm=algorithm, settings=settings or make_settings(), model=str(policy), prompts=prompts,
        verify=judge or Judge(), folder=folder, seed=seed,
    )  # fmt: skip
    return make_trainer(spec)
