"""What an engine is: a chunk of prompts in, n sampled completions of each out. Knows no verifier and no design.

A chunk is the unit of work, of seeding and of what a kill can lose. Its completions depend on the chunk, the model
and the sampling settings alone, so how many workers share the chunks of a dataset never moves a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.engines.identity import ModelRef, identify
from benchmarks.errors import UsageError
from benchmarks.settings import Sampling
from benchmarks.tasks.prompts import render_chat


@dataclass(frozen=True)
class Completion:
    """One sample. The text is untrusted: whatever the model wrote, without special tokens."""

    text: str
    tokens: int
    """Sampled tokens, the end of sequence among them."""
    finished: bool
    """False where the length limit cut it off."""


@dataclass(frozen=True)
class Chunk:
    """`n` samples of each prompt, all drawn from `seed`."""

    prompts: tuple[str, ...]
    n: int
    seed: int
    """In 0..2**63 - 1."""
    key: str
    """Names the chunk among those of its dataset; fit for a file name."""
    chat: bool = False
    """Whether the prompts are questions, still to be put into the tokenizer's chat template."""

    @property
    def rows(self) -> int:
        """Completions in all."""
        return len(self.prompts) * self.n


class Engine:
    """Samples from one model, loaded once. Members differ in speed, never in the distribution.

    Constructors take `(model_path, revision)` and then the engine's own settings by name; a model that cannot be
    loaded is a UsageError in one line.
    """

    name: ClassVar[str]
    uses_accelerators: ClassVar[bool] = True
    """Whether a worker is placed on an accelerator where there is one."""

    @property
    def description(self) -> str:
        """The engine with its version, as a record states it: "transformers 5.23.0"."""
        raise NotImplementedError

    def sample(self, chunk: Chunk, sampling: Sampling) -> list[list[Completion]]:
        """`n` completions of each prompt of the chunk, in its order: len(prompts) lists of n."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives back the device's memory. The engine cannot be used afterwards."""

    @classmethod
    def identify(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> ModelRef:
        """The model that an engine made with these would sample from. None that could be loaded: UsageError."""
        return identify(model_path, revision)

    @classmethod
    def devices_per_worker(cls, settings: Mapping[str, Any]) -> int:
        """Accelerators that one engine with these settings spreads over."""
        return 1


def encode(tokenizer: Any, chunk: Chunk) -> list[list[int]]:
    """Each prompt's token ids: opened as the tokenizer opens a text, or in its own chat template. None: UsageError."""
    if chunk.chat:
        rendered = [render_chat(tokenizer, prompt) for prompt in chunk.prompts]
        return [list(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in rendered]
    return [list(tokenizer(prompt, add_special_tokens=True)["input_ids"]) for prompt in chunk.prompts]


def check_lengths(prompts: Sequence[Sequence[int]], max_new_tokens: int, context: int | None) -> None:
    """UsageError where a prompt is empty, or a prompt and its completion do not fit into the model's context."""
    if any(not ids for ids in prompts):
        raise UsageError("a prompt is empty: the model needs at least one token to continue from.")
    longest = max(map(len, prompts), default=0)
    if context is not None and longest + max_new_tokens > context:
        raise UsageError(
            f"a prompt of {longest} tokens and max_new_tokens {max_new_tokens} exceed the model's context of {context}."
        )
