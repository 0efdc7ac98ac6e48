"""RLVRTrainer: the one subclass of TRL's GRPOTrainer, for every algorithm.

TRL generates, pads, and computes log-probabilities and the clipped surrogate. Between generation and loss, this class
asks `Algorithm.advantages` what each completion is worth, and puts the answer where TRL expects it. What an algorithm
needs beyond rewards (`NeedsCritic` and its siblings) is arranged before TRL pads the batch, so that none of TRL's long
methods is copied.

This class leans on these hooks of TRL, each of which has a contract test: `_generate`, `_generate_single_turn`,
`_calculate_rewards`, `_generate_and_score_completions`, `_compute_loss`, `_save_checkpoint`,
`_load_optimizer_and_scheduler`, `_metrics`, `generation_config`, `eos_token_ids`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed
from trl import GRPOTrainer

from algorithms.base import (
    Algorithm,
    NeedsCritic,
    NeedsGreedyBaseline,
    NeedsReferenceReset,
    NeedsRefill,
    Rollouts,
    masked_mean,
)
from algorithms.checkpoints import STATE_FILE, read_state
from algorithms.cost import Cost, Spent, peak_memory_bytes
from algorithms.critic import Critic, explained_variance
from algorithms.greedy import greedy_decoding
from algorithms.reference import MovingReference
from algorithms.refill import PromptStream
from algorithms.rows import Row, loss_mask, slice_rows, tokens
from algorithms.schedule import BudgetSchedule, rate_factor
from algorithms.settings import Settings
from algorithms.stops import EndsAtStops, RolloutStops
from benchmarks.errors import Diverged
from benchmarks.files import write_json_atomic
from benchmarks.seeds import derive

log = logging.getLogger(__name__)

Verify = Callable[[Sequence[int], Sequence[str], Sequence[bool]], list[bool | None]]
"""(problem indices, completions, finished) -> correct, not correct, or None where the verifier failed."""


class RLVRTrainer(EndsAtStops, GRPOTrainer):
    """Trains a policy with any `Algorithm`."""

    def __init__(
        self, algorithm: Algorithm, settings: Settings, verify: Verify, critic: torch.nn.Module | None = None,
        **trl: Any,  # GRPOTrainer's own arguments: model, args, train_dataset, processing_class, callbacks, peft_config
    ) -> None:  # fmt: skip
        super().__init__(reward_funcs=[verifier], **trl)
        self.algorithm = algorithm
        self.settings = settings
        self.verify = verify
        self.stops = RolloutStops(self, settings.sampling.stops)
        self.cost = Cost()
        self.share_used = 0.0
        """Of the budget, before the current step; what the learning rate's schedule is defined over."""
        self.generation_config: Any = getattr(self, "generation_config", None)  # vLLM has neither
        self.generation_kwargs: Any = getattr(self, "generation_kwargs", None)
        if self.use_vllm:
            # A colocated vLLM has just seeded the process's generators with 0, whatever the training's seed.
            set_seed(derive("rollouts", self.args.seed, self.accelerator.process_index) % 2**32)
        self._problems: list[int] = []
        self._refill_stream = PromptStream(len(self.train_dataset), self.args.seed)
        self._rows: list[Row] = []
        self._greedy_rewards_P: Tensor | None = None
        self._rewards_B: Tensor | None = None
        self._update_tokens, self._value_loss = 0.0, 0.0
        self.critic: Critic | None = None
        if isinstance(algorithm, NeedsCritic):
            assert critic is not None, f"{algorithm.name} needs a critic"
            rate, norm = settings.learning_rate, settings.max_grad_norm
            self.critic = Critic(critic, algorithm.critic(), self.accelerator, rate, norm)
        self.reference: MovingReference | None = None
        if isinstance(algorithm, NeedsReferenceReset):
            self.reference = MovingReference(self.ref_model, algorithm.reset_every_steps)

    # -------------------------------------------------------------------------------- rollouts

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch with the algorithm's advantages in place of TRL's own."""
        self.share_used = self.budget_share()
        if self.reference is not None and self.reference.is_due(self.cost.steps):
            self.reference.reset(self.accelerator.unwrap_model(self.model), self.optimizer)
        self._problems = [row["problem"] for row in inputs]
        output = super()._generate_and_score_completions(inputs)
        self.stops.mask_truncated(output, self._rows)
        if self.algorithm.objective.ratio == "none":
            output.pop("old_per_token_logps", None)  # TRL then takes the policy's own, detached: a ratio of 1
        self.cost.steps += 1
        self._schedule.step()
        rollouts = self._gather(output)
        advantages = self._advantages(rollouts)
        output["advantages"] = self._local(advantages, output)
        if isinstance(self.algorithm, NeedsCritic):
            output["value_targets"] = self._local(self._value_targets(self.algorithm, rollouts), output)
        self._log_advantages(advantages, rollouts)
        self._log_verdicts(rollouts)
        return output

    def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
        """TRL's tuple after refilling and judging; `prompts` is changed in place where groups were replaced."""
        rows = self._roll_out(prompts, self._problems)
        if isinstance(self.algorithm, NeedsRefill):
            self._refill(self.algorithm, rows)
        else:
            self._spend("sampled", len(rows), tokens(rows))
        self._greedy_rewards_P = self._greedy(rows) if isinstance(self.algorithm, NeedsGreedyBaseline) else None
        self._rows = rows
        prompts[:] = [row.prompt for row in rows]
        prompt_ids, completion_ids = [row.prompt_ids for row in rows], [row.completion_ids for row in rows]
        # No log-probabilities of the sampler's: only TRL's correction for vLLM reads them, and it is off.
        mask, texts = loss_mask(rows, self.stops.leave_out(rows)), [row.text for row in rows]
        return prompt_ids, completion_ids, mask, texts, None, {}, None, []

    def _roll_out(self, prompts: list[str], problems: list[int]) -> list[Row]:
        """Samples one completion for each prompt and judges it."""
        with self.cost.clock("generate"):
            prompt_ids, completion_ids, _, texts, *_ = super()._generate(prompts)
        verdicts = self._judge(problems, texts, completion_ids)
        return [
            Row(*parts) for parts in zip(prompts, problems, prompt_ids, completion_ids, texts, verdicts, strict=True)
        ]

    def _judge(self, problems: Sequence[int], texts: Sequence[str], ids: Sequence[list[int]]) -> list[bool | None]:
        with self.cost.clock("verify"):
            return self.verify(problems, texts, self.stops.finished(ids))

    def _greedy(self, rows: Sequence[Row]) -> Tensor:
        """Each local prompt's greedy reward, gathered, (P,); NaN where the verifier failed."""
        firsts = rows[:: self.num_generations]
        with self.cost.clock("generate"), greedy_decoding(self):
            ids, _ = self._generate_single_turn([row.prompt_ids for row in firsts], None, {}, 1)
        texts = self.stops.read(ids, self.processing_class.batch_decode(ids, skip_special_tokens=True))
        verdicts = self._judge([row.problem for row in firsts], texts, ids)
        self._spend("greedy", len(ids), sum(map(len, ids)))
        return self.accelerator.gather(self._rewards_of(verdicts, ids))

    # -------------------------------------------------------------------------------- dynamic sampling

    def _refill(self, algorithm: NeedsRefill, rows: list[Row]) -> None:
        """Replaces groups without signal, in place, by the groups of fresh prompts, for a bounded number of rounds.

        Every process generates as many groups in a round as the one that lacks most, so that collective calls stay in
        step. A group that no round could replace keeps its rows as filler.
        """
        size, rounds = self.num_generations, 0
        everything = list(rows)
        missing = self._without_signal(algorithm, rows)
        for _ in range(algorithm.refill_rounds):
            most = int(self.accelerator.gather(self._tensor([len(missing)])).max())
            if most == 0:
                break
            rounds += 1
            fresh = self._fresh(most)
            everything += fresh
            silent = self._without_signal(algorithm, fresh)
            useful = [slot for slot in range(most) if slot not in silent]
            for slot, source in zip(missing, useful, strict=False):
                rows[slot * size : (slot + 1) * size] = fresh[source * size : (source + 1) * size]
            missing = missing[len(useful) :]
        for slot in missing:
            for row in rows[slot * size : (slot + 1) * size]:
                row.filler = True
        kept = [row for row in rows if not row.filler]
        self._spend("sampled", len(kept), tokens(kept))
        self._spend("discarded", len(everything) - len(kept), tokens(everything) - tokens(kept))
        self._report_refill(rounds, len(missing))

    def _report_refill(self, rounds: int, short: int) -> None:
        short_everywhere = int(self.accelerator.reduce(self._tensor([short])).sum())
        self._metrics["train"]["refill/rounds"].append(rounds)
        self._metrics["train"]["refill/short_groups"].append(short_everywhere)
        if short_everywhere and self.accelerator.is_main_process:
            log.warning(
                "step %d: %d of %d groups are without signal after %d refill rounds; training on the rest",
                self.cost.steps + 1, short_everywhere, self.settings.prompts_per_step, rounds,
            )  # fmt: skip

    def _without_signal(self, algorithm: NeedsRefill, rows: Sequence[Row]) -> list[int]:
        correct_PG = torch.tensor([row.verdict is True for row in rows]).view(-1, self.num_generations)
        valid_PG = torch.tensor([row.valid for row in rows]).view(-1, self.num_generations)
        signal_P = algorithm.has_signal(correct_PG, valid_PG)
        return (~signal_P).nonzero().flatten().tolist()

    def _fresh(self, groups: int) -> list[Row]:
        """The groups of this process's next prompts of the refill stream, sampled and judged."""
        indices = self._refill_stream.take(groups, self.accelerator.process_index, self.accelerator.num_processes)
        batch = [self.train_dataset[index] for index in indices for _ in range(self.num_generations)]
        return self._roll_out([row["prompt"] for row in batch], [row["problem"] for row in batch])

    # -------------------------------------------------------------------------------- rewards and advantages

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        """Shaped rewards gathered over processes, (B, 1), NaN where the row does not count; judged in `_generate`."""
        rows = self._rows
        rewards_b = self._rewards_of([row.verdict for row in rows], [row.completion_ids for row in rows])
        rewards_b[~torch.tensor([row.valid for row in rows], device=rewards_b.device)] = torch.nan
        self._rewards_B = self.accelerator.gather(rewards_b)
        return self._rewards_B[:, None]

    def _rewards_of(self, verdicts: Sequence[bool | None], ids: Sequence[Sequence[int]]) -> Tensor:
        """The algorithm's training rewards of local completions; NaN where the verifier failed."""
        correct = self._tensor([torch.nan if verdict is None else float(verdict) for verdict in verdicts])
        lengths = self._tensor([len(row) for row in ids])
        return self.algorithm.shape(correct, lengths, self.args.max_completion_length).float()

    def _gather(self, output: dict[str, Any]) -> Rollouts:
        """The whole generation batch as the algorithm sees it, the same on every process."""
        assert self._rewards_B is not None
        everywhere = self.accelerator.pad_across_processes
        values_BT = None
        if self.critic is not None:
            with self.cost.clock("critic"):
                output["values"] = self.critic.values_in_chunks(output, self.args.per_device_train_batch_size)
            values_BT = self.accelerator.gather(everywhere(output["values"], dim=1))
        correct = self._tensor([float(row.verdict is True) for row in self._rows])
        return Rollouts(
            rewards_B=torch.nan_to_num(self._rewards_B, nan=0.0),
            mask_BT=self.accelerator.gather(everywhere(output["completion_mask"], dim=1)),
            group_size=self.num_generations,
            greedy_rewards_P=self._greedy_rewards_P,
            values_BT=values_BT,
            correct_B=self.accelerator.gather(correct).bool(),
            valid_B=~torch.isnan(self._rewards_B),
        )

    def _advantages(self, rollouts: Rollouts) -> Tensor:
        """The algorithm's advantages of the whole batch. Raises Diverged where one is not finite."""
        advantages = self.algorithm.advantages(rollouts)
        if not torch.isfinite(advantages).all():
            raise Diverged(f"{self.algorithm.name} made advantages that are not finite at step {self.cost.steps}.")
        return advantages

    def _value_targets(self, algorithm: NeedsCritic, rollouts: Rollouts) -> Tensor:
        """What the critic learns to predict, (B, T); how well it predicts it already is logged."""
        assert rollouts.values_BT is not None
        targets_BT = algorithm.value_targets(rollouts)
        explained = explained_variance(rollouts.values_BT, targets_BT, rollouts.valid_mask_BT)
        self._metrics["train"]["critic/explained_variance"].append(explained)
        return targets_BT

    def _local(self, tensor: Tensor, output: dict[str, Any]) -> Tensor:
        """This process's rows of a gathered (B,) or (B, T) tensor, as wide as its own batch."""
        return slice_rows(tensor, self.accelerator.process_index, *output["completion_ids"].shape)

    def _log_advantages(self, advantages: Tensor, rollouts: Rollouts) -> None:
        per_token_BT = advantages if advantages.ndim == 2 else advantages[:, None].expand_as(rollouts.mask_BT)
        mean = masked_mean(per_token_BT, rollouts.valid_mask_BT)
        variance = masked_mean((per_token_BT - mean).square(), rollouts.valid_mask_BT)
        self._metrics["train"]["advantage/mean"].append(float(mean))
        self._metrics["train"]["advantage/std"].append(float(variance.sqrt()))

    def _log_verdicts(self, rollouts: Rollouts) -> None:
        assert rollouts.correct_B is not None and rollouts.valid_B is not None
        valid_B = rollouts.valid_B
        correct_PG = (rollouts.correct_B & valid_B).view(-1, self.num_generations)
        right_P, size_P = correct_PG.sum(1), rollouts.valid_PG.sum(1)
        metrics = {
            "accuracy": float(masked_mean(rollouts.correct_B.float(), valid_B.float())),
            "invalid_rows": int((~valid_B).sum()),
            "groups_without_signal": int(((right_P == 0) | (right_P == size_P)).sum()),
            "cost/completions": self.cost.used("completions"),
            "cost/tokens": self.cost.used("tokens"),
        }
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)

    # -------------------------------------------------------------------------------- updates

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's surrogate. A critic learns on the same micro-batch, with its own graph and optimiser."""
        loss = super()._compute_loss(model, inputs)
        if not model.training:
            return loss
        mask_BT = inputs["completion_mask"] * inputs.get("tool_mask", torch.ones_like(inputs["completion_mask"]))
        self._update_tokens += float(mask_BT.sum())
        if self.critic is not None:
            with self.cost.clock("critic"):
                self._value_loss += self._learn_values(self.critic, inputs, mask_BT)
        return loss

    def _learn_values(self, critic: Critic, inputs: dict[str, Any], mask_BT: Tensor) -> float:
        # The same denominator as the policy's token mean: all tokens of the generation batch, shared out.
        share = self.current_gradient_accumulation_steps / self.args.steps_per_generation
        normalizer = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes * share
        last = self.accelerator.sync_gradients
        with contextlib.nullcontext() if last else self.accelerator.no_sync(critic.network):
            return critic.learn(inputs, mask_BT, normalizer)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's step; at the end of an update, what becomes of its gradients is decided."""
        with self.cost.clock("total"):
            loss = super().training_step(*args, **kwargs)
            if self.accelerator.sync_gradients:
                self._end_update()
        return loss

    def _end_update(self) -> None:
        """Lets the critic make its update, and takes the policy's gradients away where it must not move.

        The policy stays where no token of the update counts, and while the critic alone is learning. AdamW skips
        parameters that have no gradient, so neither momentum nor weight decay moves them.
        """
        silent = float(self.accelerator.reduce(self._tensor([self._update_tokens]))) == 0
        critic_alone = False
        if self.critic is not None:
            critic_alone = self.cost.steps <= self.critic.settings.warmup_steps
            with self.cost.clock("critic"):
                self._update_critic(self.critic, 0.0 if silent else self.rate_factor())
        if silent or critic_alone:
            self.model.zero_grad(set_to_none=True)
        else:
            self.cost.updates += 1
        self._update_tokens, self._value_loss = 0.0, 0.0

    def _update_critic(self, critic: Critic, rate_factor: float) -> None:
        value_loss = self.accelerator.reduce(self._tensor([self._value_loss]), reduction="mean")
        self._metrics["train"]["critic/value_loss"].append(float(value_loss))
        self._metrics["train"]["critic/grad_norm"].append(critic.step(rate_factor))

    def rate_factor(self) -> float:
        """The learning rate's share of its peak in this step."""
        settings = self.settings
        return rate_factor(settings.schedule, settings.warmup_share, self.share_used, self.budget_share())

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """A schedule over the budget, whatever its unit."""
        if vars(self).get("lr_scheduler") is None:
            self._schedule = BudgetSchedule(optimizer or self.optimizer, self.rate_factor)
            self.lr_scheduler: Any = self._schedule
        return self.lr_scheduler

    def budget_share(self) -> float:
        """How much of the budget has been used, 0 to 1."""
        return min(1.0, self.cost.used(self.settings.budget.unit) / self.settings.budget.amount)

    # -------------------------------------------------------------------------------- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's checkpoint, then what is ours; the state file last, so that its presence means a whole checkpoint."""
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            if self.critic is not None:
                self.critic.save(folder)
            if self.reference is not None:
                self.reference.save(folder, self.accelerator.is_main_process)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(f"{folder.name}: {error}") from error
        self.accelerator.wait_for_everyone()
        self.cost.peak_memory_bytes = max(self.cost.peak_memory_bytes, peak_memory_bytes())
        if self.accelerator.is_main_process:
            state = {
                "cost": self.cost.to_json(), "refill_cursor": self._refill_stream.cursor, "share_used": self.share_used,
            }  # fmt: skip
            write_json_atomic(folder / STATE_FILE, state)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        state = read_state(Path(checkpoint))
        self.cost = state["cost"]
        self._refill_stream.cursor, self.share_used = state["refill_cursor"], state["share_used"]
        if self.critic is not None:
            self.critic.load(Path(checkpoint))
        if self.reference is not None:
            self.reference.load(Path(checkpoint))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a run's record says where its model comes from."""

    def _tensor(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.accelerator.device)

    def _spend(self, kind: str, completions: int, tokens: int) -> None:
        """Adds what all processes generated to the counters."""
        local = torch.tensor([completions, tokens], dtype=torch.int64, device=self.accelerator.device)
        total = self.accelerator.reduce(local, reduction="sum").tolist()
        spent: Spent = getattr(self.cost, kind)
        spent.completions += total[0]
        spent.tokens += total[1]


def verifier(*_: Any, **__: Any) -> list[float]:
    """Names the reward in TRL's logs; never called, since `_calculate_rewards` has the verdicts already."""
    raise AssertionError("rewards come from RLVRTrainer._calculate_rewards")
