"""Makes the embedded Countdown model: `make base-model` (python -m benchmarks.base_models.recipe).

It trains a Llama-style transformer of 0.86 M parameters from scratch on `corpus.py`, with transformers' Trainer. A
killed run continues from its last checkpoint. AutoModelForCausalLM and AutoTokenizer can load the folder that it
writes.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.base_models.corpus import Trace, corpus_hash, trace

FOLDER = Path(__file__).parent / "countdown"
PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"
ALPHABET = [PAD, END, UNKNOWN, *"0123456789+-*/()=: \n", "\\boxed{", "}"]
"""Single characters, and one token for the box: 25 in all."""
IGNORED = -100


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on."""

    steps: int = 2400
    rows_per_step: int = 128
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    weight_decay: float = 0.1
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    context: int = 128
    seed: int = 0
    threads: int = 2
    """Decides the order of sums, and so the last digits of the weights."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a left-padding tokenizer without a beginning-of-sequence token, because a prompt is never empty."""
    tokenizer = Tokenizer(WordLevel({token: i for i, token in enumerate(ALPHABET)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Split(Regex(r"\\boxed\{|[\s\S]"), behavior="isolated")
    tokenizer.decoder = Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, padding_side="left",
        clean_up_tokenization_spaces=False, model_max_length=128,
    )  # fmt: skip


def make_model(recipe: Recipe) -> LlamaForCausalLM:
    """Returns a new model whose weights are drawn from the recipe's seed."""
    set_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(ALPHABET), hidden_size=recipe.hidden_size, num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
            intermediate_size=recipe.feed_forward, max_position_embeddings=recipe.context,
            tie_word_embeddings=False, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip


class Corpus(torch.utils.data.Dataset[Trace]):
    """Rows that are made when they are asked for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Trace:
        return trace(index)


def collate(tokenizer: PreTrainedTokenizerFast, rows: Sequence[Trace]) -> dict[str, torch.Tensor]:
    """Returns right-padded ids and labels. Only completions are learnt, because prompts are random."""
    prompts = tokenizer([row.prompt for row in rows])["input_ids"]
    completions = tokenizer([row.completion + END for row in rows])["input_ids"]
    longest = max(len(p) + len(c) for p, c in zip(prompts, completions, strict=True))
    ids_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    labels_BT = torch.full_like(ids_BT, IGNORED)
    for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        ids_BT[i, : len(prompt) + len(completion)] = torch.tensor(prompt + completion)
        labels_BT[i, len(prompt) : len(prompt) + len(completion)] = torch.tensor(completion)
    # Causal attention never looks right, so padding on the right needs no attention mask.
    return {"input_ids": ids_BT, "labels": labels_BT}


def training_arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    """Returns the Trainer's settings, which read the corpus once and in order."""
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"), max_steps=recipe.steps, seed=recipe.seed, use_cpu=True,
        per_device_train_batch_size=recipe.rows_per_step, learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine", warmup_steps=recipe.warmup_steps, weight_decay=recipe.weight_decay,
        adam_beta2=0.99, max_grad_norm=1.0, logging_steps=min(50, max(1, recipe.steps // 10)), save_steps=200,
        save_total_limit=1, report_to=[], remove_unused_columns=False, train_sampling_strategy="sequential",
    )  # fmt: skip


def pretrain(recipe: Recipe, folder: Path) -> list[dict[str, Any]]:
    """Trains in `folder` or continues there, saves the model, and returns the log of losses."""
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    tokenizer = make_tokenizer()
    trainer = Trainer(
        model=make_model(recipe),
        args=training_arguments(recipe, folder),
        train_dataset=Corpus(recipe.steps * recipe.rows_per_step),
        data_collator=lambda rows: collate(tokenizer, rows),
    )
    whole = [path.parent for path in folder.glob("checkpoints/checkpoint-*/trainer_state.json")]  # its last file
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
    trainer.save_model(str(folder))
    tokenizer.save_pretrained(folder)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # or the next call would find everything done
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle: we ship none
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def completion_tokens(rows: int) -> int:
    """Counts the tokens to learn in the first `rows` rows: characters, one for each box, and the end."""
    return sum(len(trace(index).completion) - len("\\boxed{") + 2 for index in range(rows))


def describe(recipe: Recipe, losses: Sequence[dict[str, Any]], model_tokens: int) -> dict[str, Any]:
    """Returns the recipe and what a rebuild is checked against."""
    curve = [[entry["step"], round(entry["loss"], 4)] for entry in losses]
    return {
        "recipe": asdict(recipe), "corpus_hash_of_1000_rows": corpus_hash(1000), "loss_curve": curve,
        "completion_tokens": model_tokens,
    }  # fmt: skip


def main() -> None:
    """Runs the command line, with options for the folder and for a shorter trial run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the model (default: the embedded one)")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="optimiser steps")
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps)
    losses = pretrain(recipe, arguments.out)
    tokens = completion_tokens(recipe.steps * recipe.rows_per_step)
    (arguments.out / "recipe.json").write_text(json.dumps(describe(recipe, losses, tokens), indent=1) + "\n")


if __name__ == "__main__":
    main()
