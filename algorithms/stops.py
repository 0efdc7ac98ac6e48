"""Stops in rollouts (`benchmarks/stops.py` has the rule): a completion that meets one is finished, as by an end token.

TRL ends completions by token ids alone. Here a rollout ends with the token that completes a stop string: its mask ends
there, the verifier judges the text up to the stop, and it does not count as truncated. Without stops nothing changes.
Rollouts of transformers are watched while they are sampled; vLLM looks for the strings itself (`config.py`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from algorithms.rows import Row
from benchmarks.settings import Stops
from benchmarks.stops import Reader, StopWatch


class EndsAtStops:
    """The part of the trainer that ends rollouts at `stops`. It stands before TRL's class."""

    stops: RolloutStops

    def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
        """TRL's tuple, with the texts that a verifier reads."""
        prompt_ids, ids, mask, texts, *others = super()._generate(prompts)  # type: ignore[misc]
        self.stops.mend_metrics(ids)
        return (prompt_ids, ids, mask, self.stops.read(ids, texts), *others)

    def _generate_single_turn(self, *args: Any) -> tuple[Any, Any]:
        """TRL's completions, each up to its stop, whatever is sampled and for what."""
        with self.stops.watching():
            ids, logprobs = super()._generate_single_turn(*args)  # type: ignore[misc]
        return self.stops.end(ids), logprobs


class RolloutStops:
    """The stops of one trainer."""

    def __init__(self, trainer: Any, stops: Stops) -> None:
        self.trainer = trainer
        self.on = bool(stops.strings)
        self.reader = Reader(trainer._tokenizer, stops, trainer.eos_token_ids)
        self.ends = {*trainer.eos_token_ids, trainer._tokenizer.pad_token_id}
        self.masks_truncated = self.on and trainer.mask_truncated_completions
        if self.masks_truncated:
            trainer.mask_truncated_completions = False  # TRL would mask what a stop ended: see `mask_truncated`

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, the policy's `generate` ends rows that meet a stop."""
        if not self.on or self.trainer.use_vllm:
            yield
            return
        model = self.trainer.accelerator.unwrap_model(self.trainer.model_wrapped)
        watch = StopWatch(self.reader, self._completing_V)
        model.generate = functools.partial(model.generate, stopping_criteria=[watch])
        try:
            yield
        finally:
            del model.generate

    @functools.cached_property
    def _completing_V(self) -> torch.Tensor:
        size = self.trainer.model.config.get_text_config().vocab_size
        return torch.tensor(self.reader.completing(size), device=self.trainer.accelerator.device)

    def end(self, ids: Sequence[Sequence[int]]) -> list[Any]:
        """Returns the completions without what follows a stop: tokens of other rows' time, which are padding."""
        return [row[: self.reader.read(row).tokens] for row in ids] if self.on else list(ids)

    def read(self, ids: Sequence[Sequence[int]], plain: list[str]) -> list[str]:
        """Returns what the verifier reads of each completion; `plain`: all of it, without special tokens."""
        return [self.reader.read(row).text for row in ids] if self.on else plain

    def finished(self, ids: Sequence[Sequence[int]]) -> list[bool]:
        """Returns whether each completion was ended by an end token or a stop, and not by the length limit."""
        return [row[-1] in self.ends or (self.on and self.reader.stopped(row)) for row in ids]

    def mend_metrics(self, ids: Sequence[Sequence[int]]) -> None:
        """Replaces what TRL has just logged on truncated completions, which it tells by their last token."""
        if not self.on:
            return
        device, gather = self.trainer.accelerator.device, self.trainer.accelerator.gather
        cut_B = ~gather(torch.tensor(self.finished(ids), device=device))
        ended = gather(torch.tensor([len(row) for row in ids], device=device)).float()[~cut_B]
        ended = ended if len(ended) else torch.zeros(1)
        metrics = self.trainer._metrics["train"]
        metrics["completions/clipped_ratio"][-1] = float(cut_B.float().mean())
        for name, value in (("mean", ended.mean()), ("min", ended.min()), ("max", ended.max())):
            metrics[f"completions/{name}_terminated_length"][-1] = float(value)

    def leave_out(self, rows: Sequence[Row]) -> list[bool]:
        """Returns which rows are out of the loss because the length limit cut them off."""
        if not self.masks_truncated:
            return [False] * len(rows)
        return [not ended for ended in self.finished([row.completion_ids for row in rows])]

    def mask_truncated(self, output: dict[str, Any], rows: Sequence[Row]) -> None:
        """Takes rows that are left out from the batch's mask, as TRL does where there are no stops."""
        if self.masks_truncated:
            mask_BT = output["completion_mask"]
            output["completion_mask"] = mask_BT * (~torch.tensor(self.leave_out(rows), device=mask_BT.device))[:, None]
