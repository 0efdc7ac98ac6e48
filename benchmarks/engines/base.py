"""Defines an engine: it takes a chunk of prompts and samples n completions of each. It knows no verifier or design.

A chunk is the unit of work and of seeding, and the most that a kill can lose. Its completions depend only on the chunk,
the model and the sampling settings, so the number of workers that share a dataset never changes a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.engines.identity import ModelRef, identify
from benchmarks.errors import UsageError
from benchmarks.settings import Sampling
from benchmarks.stops import Reading


@dataclass(frozen=True)
class Completion:
    """One sample. The text is untrusted. `benchmarks/stops.py` has the rule by which tokens become text."""

    text: str
    """What a verifier reads: up to the stop, without special tokens."""
    tokens: int
    """Sampled tokens, including the one that ended the completion."""
    finished: bool
    """False if the length limit cut the completion off."""
    raw: str | None = None
    """All that the model wrote, special tokens included; None: the same as `text`."""
    cut: int | None = None
    """The position in `raw` up to which it is read; None: no stop."""
    special: tuple[str, ...] = ()
    """The special tokens that occur in `raw`."""

    @classmethod
    def of(cls, reading: Reading, finished: bool = False) -> Completion:
        """Returns what was read, as finished if the engine says so, whatever was read."""
        raw = None if reading.cut is None and reading.raw == reading.text else reading.raw
        ended = reading.finished or finished
        return cls(reading.text, reading.tokens, ended, raw, reading.cut, reading.special)


@dataclass(frozen=True)
class Chunk:
    """`n` samples of each prompt, all drawn from `seed`."""

    prompts: tuple[str, ...]
    n: int
    seed: int
    """An integer in 0..2**63 - 1."""
    key: str
    """Names the chunk among those of its dataset. It can be used as a file name."""
    chat: bool = False
    """Whether the tokenizer's chat template made the prompts: then they hold their special tokens already."""

    @property
    def rows(self) -> int:
        """The number of completions of all prompts."""
        return len(self.prompts) * self.n


class Engine:
    """Samples from one model, which is loaded once. Engines differ in speed, never in the distribution.

    Constructors take `(model_path, revision)` and then the engine's own settings by name. They raise UsageError for a
    model that cannot be loaded.
    """

    name: ClassVar[str]
    uses_accelerators: ClassVar[bool] = True
    """Whether a worker is placed on an accelerator if there is one."""

    @property
    def description(self) -> str:
        """The engine with its version, as a record states it, such as "transformers 5.23.0"."""
        raise NotImplementedError

    def sample(self, chunk: Chunk, sampling: Sampling) -> list[list[Completion]]:
        """Returns `n` completions of each prompt of the chunk, in its order: len(prompts) lists of n."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees the device's memory. The engine cannot be used afterwards."""

    @classmethod
    def identify(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> ModelRef:
        """Returns the model that an engine with these arguments samples from. UsageError if it cannot be loaded."""
        return identify(model_path, revision)

    @classmethod
    def installed_version(cls) -> str:
        """Returns the version of what samples, without loading it; empty if there is none to tell."""
        return ""

    @classmethod
    def precision(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> str:
        """Returns the number format in which an engine with these arguments computes, such as "bfloat16"."""
        return str(settings.get("dtype") or "")

    @classmethod
    def load_tokenizer(cls, model_path: str, revision: str | None) -> Any:
        """Returns the model's tokenizer (transformers), which renders chat templates. UsageError if there is none."""
        from benchmarks.engines.loading import load_tokenizer

        return load_tokenizer(model_path, revision)

    @classmethod
    def devices_per_worker(cls, settings: Mapping[str, Any]) -> int:
        """Returns how many accelerators one engine with these settings uses."""
        return 1


def encode(tokenizer: Any, chunk: Chunk) -> list[list[int]]:
    """Returns each prompt's token ids, with the tokenizer's own start where the prompt does not hold it."""
    return [list(tokenizer(prompt, add_special_tokens=not chunk.chat)["input_ids"]) for prompt in chunk.prompts]


def check_lengths(prompts: Sequence[Sequence[int]], max_new_tokens: int, context: int | None) -> None:
    """Raises UsageError if a prompt is empty or does not fit into the model's context with its completion."""
    if any(not ids for ids in prompts):
        raise UsageError("a prompt is empty: the model needs at least one token to continue from.")
    longest = max(map(len, prompts), default=0)
    if context is not None and longest + max_new_tokens > context:
        raise UsageError(
            f"a prompt of {longest} tokens and max_new_tokens {max_new_tokens} exceed the model's context of {context}."
        )
