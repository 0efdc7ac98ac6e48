"""The settings of training that are common to all algorithms: what a comparison holds equal."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from benchmarks.settings import Fraction, Positive, Rate, Sampling, Strict, require


class Budget(Strict):
    """When training ends: exactly one of the three, so that algorithms compare at equal steps or at equal cost."""

    steps: Positive | None = None
    """Number of generation batches."""
    completions: Positive | None = None
    """Number of sampled completions, discarded and greedy ones among them."""
    tokens: Positive | None = None
    """Number of sampled tokens, likewise."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(value is not None for value in (self.steps, self.completions, self.tokens)) != 1:
            raise ValueError("a budget is exactly one of steps, completions, tokens")
        return self

    @property
    def unit(self) -> str:
        """`steps`, `completions` or `tokens`."""
        return next(unit for unit in ("steps", "completions", "tokens") if getattr(self, unit) is not None)

    @property
    def amount(self) -> int:
        """How many of them."""
        return int(getattr(self, self.unit))

    def most_steps(self, completions_per_step: int) -> int:
        """A bound on the generation batches that fit: each has its completions, each of those a token at least."""
        return self.amount if self.unit == "steps" else -(-self.amount // completions_per_step)


class Lora(Strict):
    """Low-rank adapters instead of full weights (needs the extra `peft`)."""

    rank: Positive
    """Rank of the matrices that are trained."""
    alpha: Rate
    """Scale of the adapters, times their rank."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Names of the layers that get them."""


class Kernels(Strict):
    """Faster layers from libraries that a machine must have. The update is the same but for rounding."""

    attention: Literal["flash_attention_2", "flash_attention_3"] | None = None
    """Attention without padding: the rows of a batch are packed for it. Needs an accelerator and bfloat16."""
    liger: bool = False
    """Liger's layer kernels for the policy, through TRL."""


class Settings(Strict):
    """Common to all algorithms; what one of them changes is its own (`algorithms`)."""

    budget: Budget
    """When training ends."""
    prompts_per_step: Positive = 32
    """Prompts of a generation batch (P)."""
    group_size: Positive = 8
    """Completions of a prompt (G)."""
    mini_batches_per_step: Positive = 4
    """Optimiser updates in one pass over the generation batch."""
    passes_per_step: Positive = 1
    """How often the optimiser goes over a generation batch."""
    learning_rate: Rate
    """Learning rate of the policy, after the warm-up."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls over the used share of the budget, whatever its unit."""
    warmup_share: Fraction = 0.0
    """Share of the budget during which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the optimiser, AdamW."""
    max_grad_norm: Rate = 1.0
    """A longer gradient is scaled down to this norm."""
    clip_range: Rate = 0.2
    """How far the ratio of new to old probability may leave 1 before the objective is clipped."""
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the divergence from the base in the loss; 0 leaves it out."""
    loss: Literal["token_mean", "sequence_mean"] = "token_mean"
    """Whether all tokens weigh the same, or all completions."""
    mask_truncated: bool = False
    """Whether completions cut off by the length limit are left out of the loss."""
    sampling: Sampling
    """How rollouts are sampled."""
    save_every_steps: Positive = 20
    """How often a checkpoint is saved, from which an interrupted training goes on."""
    keep_steps: tuple[Positive, ...] = ()
    """Steps whose checkpoints stay, beside the newest one."""
    micro_batch_rows: Positive | None = None
    """Completions in one forward and backward pass of a process; null: a whole mini-batch."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16`: mixed precision, the weights themselves stay in float32."""
    gradient_checkpointing: bool = False
    """Computes layers again in the backward pass: less memory, a third more time."""
    kernels: Annotated[Kernels | None, Field(exclude_if=lambda value: value is None)] = None
    """Left out of a suite's hash where it is not asked for: it moves no more than last digits."""
    lora: Lora | None = None
    """Trains adapters in place of all weights; null: all weights."""
    vllm: dict[str, JsonValue] | None = None
    """Rollouts by vLLM: GRPOConfig's vllm_* settings without the prefix (mode: colocate or server); use_vllm: false
    switches it off."""
    fsdp: dict[str, JsonValue] | None = None
    """FSDP2 through accelerate: TrainingArguments' fsdp_config."""
    deepspeed: dict[str, JsonValue] | None = None
    """A DeepSpeed configuration."""
    algorithms: dict[str, dict[str, JsonValue]] = {}
    """Settings of single algorithms, by name (ppo: {critic_learning_rate_factor: 5})."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any("surrogate" in own for own in self.algorithms.values()):
            raise ValueError("surrogate is no setting of one algorithm: clip_range, kl_coefficient, loss are common")
        require(not self.sampling.greedy, "sampling.temperature is 0: all completions of a group would be equal")
        if self.rows_per_step % self.mini_batches_per_step:
            raise ValueError(
                f"{self.rows_per_step} completions a step do not split into {self.mini_batches_per_step} mini-batches"
            )
        return self

    @property
    def rows_per_step(self) -> int:
        """Completions in one generation batch (B)."""
        return self.prompts_per_step * self.group_size

    @property
    def updates_per_step(self) -> int:
        """Optimiser updates in one generation batch."""
        return self.mini_batches_per_step * self.passes_per_step
