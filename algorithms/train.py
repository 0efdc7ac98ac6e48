"""train(TrainSpec) -> checkpoint folder and training log. A killed run goes on from its last whole checkpoint."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.parallelism_config import ParallelismConfig
from datasets import Dataset
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as transformers_logging
from trl import GRPOConfig
from trl.generation import vllm_generation

from algorithms import pause
from algorithms.base import Algorithm, NeedsCritic
from algorithms.checkpoints import (
    check_architecture,
    check_same_world,
    export_policy,
    has_reached,
    is_over,
    last_checkpoint,
    read_history,
    read_state,
    update_of,
    write_checksums,
)
from algorithms.config import check_machine, config_fields
from algorithms.cost import Cost
from algorithms.critic import make_critic
from algorithms.settings import Settings
from algorithms.trainer import RLVRTrainer, Verify
from benchmarks.errors import Diverged, Failure, UsageError
from benchmarks.files import write_json_atomic, write_text_atomic
from benchmarks.seeds import derive

LOG_FILE = "log.jsonl"
CONFIG_FILE = "trl_config.json"
"""Every GRPOConfig field that we set."""
FINAL = "final"
"""The trained policy's folder: what `from_pretrained` loads, and nothing else."""
RESULT_FILE = "result.json"
"""Written last: training is over if and only if it is there."""
DIVERGED_FILE = "diverged.json"
"""Written when a number is not finite: why, and what was spent until then."""
_TIMES = ("step_time", "epoch")
"""Left out of the log: it is a function of the seed, wall clock is not."""

ReportProgress = Callable[[float, dict[str, float]], None]
"""(share of the budget used, the last step's metrics)."""


@dataclass(frozen=True)
class Reports:
    """Who follows a training while it runs. No number depends on it, so no record holds it."""

    to: tuple[str, ...] = ()
    """Trackers, as transformers calls them: `tensorboard`, `wandb`, `trackio`."""
    run_name: str | None = None
    project: str = ""

    def fields(self) -> dict[str, Any]:
        """The fields of GRPOConfig that say so. `none` is said as well: the default may change."""
        if not self.to:
            return {"report_to": "none"}
        return {"report_to": list(self.to), "run_name": self.run_name, "project": self.project}


@dataclass(frozen=True)
class TrainSpec:
    """One training: an algorithm, a base model, prompts, and what judges completions."""

    algorithm: Algorithm
    settings: Settings
    model: str
    """Folder or hub id of the base model."""
    prompts: Sequence[str]
    """Rendered prompts; the index of a prompt is what `verify` gets."""
    verify: Verify
    folder: Path
    seed: int
    """32 bits."""
    revision: str | None = None
    progress: ReportProgress = field(default=lambda share, metrics: None)
    processes: int = 1
    """How many processes must be training together; another world size is refused."""
    reports: Reports = Reports()
    until: float = 1.0
    """Share of the budget after which training pauses, at the end of a step and with a checkpoint. 1: its end."""


@dataclass(frozen=True)
class TrainResult:
    """Where the policy is and what it cost."""

    policy: Path
    cost: Cost
    stopped_by: str
    metrics: dict[str, float]
    """The last step's."""


def train(spec: TrainSpec) -> TrainResult | None:
    """Trains, or goes on training, in `spec.folder`; a finished training is read back.

    None: it has paused at `spec.until`, now or before, and goes on when it is called with a larger share.

    A number that is not finite: Diverged, which names the step. A model that cannot be loaded: UsageError. A training
    that is told to pause (`pause.py`): KeyboardInterrupt after a checkpoint.
    """
    if (spec.folder / RESULT_FILE).exists():
        return _read_result(spec)
    if (spec.folder / DIVERGED_FILE).exists():
        raise Diverged(json.loads((spec.folder / DIVERGED_FILE).read_text())["reason"])
    if (checkpoint := last_checkpoint(spec.folder)) is not None and has_reached(checkpoint, spec.settings, spec.until):
        return None
    _check_world(spec.processes)
    check_machine(spec.settings, int(os.environ.get("LOCAL_WORLD_SIZE", spec.processes)))
    transformers_logging.disable_progress_bar()  # ours says more
    if checkpoint is not None:
        check_architecture(checkpoint, spec.model, spec.revision)
        check_same_world(checkpoint, spec.processes)
    if (checkpoint is None or not is_over(checkpoint, spec.settings)) and _train_from(checkpoint, spec):
        return None
    processes = PartialState(cpu=not torch.cuda.is_available())  # the trainer's, where there was one
    if processes.is_main_process:
        _finish(spec)
    processes.wait_for_everyone()
    return _read_result(spec)


def _train_from(checkpoint: Path | None, spec: TrainSpec) -> bool:
    """Trains from the checkpoint on, or from the start. Returns whether it paused at `spec.until`, before its end."""
    trainer = make_trainer(spec)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.callback.paused:
            raise KeyboardInterrupt
    except (Diverged, RuntimeError) as error:
        diverged = error if isinstance(error, Diverged) else _as_diverged(error)
        if trainer.accelerator.is_main_process:
            write_json_atomic(spec.folder / DIVERGED_FILE, {"reason": str(diverged), "cost": trainer.cost.to_json()})
        raise diverged from error
    except (OSError, SafetensorError) as error:
        raise Failure(f"cannot write the training in {spec.folder}: {_one_line(error)}.") from error
    return trainer.callback.reached


def _as_diverged(error: RuntimeError) -> Diverged:
    """What torch makes of a policy that gives probabilities which are no numbers. Any other error is raised again."""
    if "probability tensor contains" not in str(error):
        raise error
    return Diverged(f"training diverged: the policy cannot be sampled from ({_one_line(error)}).")


def make_trainer(spec: TrainSpec) -> RLVRTrainer:
    """The trainer of `spec`, ready to run."""
    if len(spec.prompts) < spec.settings.prompts_per_step:
        raise UsageError(
            f"{len(spec.prompts)} training problems do not fill a step of {spec.settings.prompts_per_step} prompts."
        )
    fields = config_fields(
        spec.algorithm, spec.settings, folder=str(spec.folder), seed=spec.seed, processes=spec.processes,
        accelerator=torch.cuda.is_available(),
    )  # fmt: skip
    try:
        args = GRPOConfig(**with_mesh(fields), **spec.reports.fields())
    except (ValueError, ImportError) as error:
        raise UsageError(f"these settings of training cannot work together here: {error}") from error
    if spec.revision is not None:
        args.model_init_kwargs = {"revision": spec.revision}  # of the reference that a KL term is measured from
    if args.process_index == 0:
        write_json_atomic(spec.folder / CONFIG_FILE, {k: v for k, v in fields.items() if k != "output_dir"})
    attention = spec.settings.kernels.attention if spec.settings.kernels else None
    model, tokenizer = load_policy(spec.model, spec.revision, attention)
    critic = None
    if isinstance(spec.algorithm, NeedsCritic):
        critic = make_critic(spec.model, spec.revision, spec.settings.gradient_checkpointing, attention)
    dataset = Dataset.from_dict({"prompt": list(spec.prompts), "problem": list(range(len(spec.prompts)))})
    with seeded_engine(args):
        trainer = RLVRTrainer(
            spec.algorithm, spec.settings, spec.verify, critic, model=model, args=args, processing_class=tokenizer,
            train_dataset=dataset, peft_config=_lora(spec.settings, spec.revision),
        )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.callback = StepCallback(trainer, spec)
    trainer.add_callback(trainer.callback)
    return trainer


def trl_fields() -> frozenset[str]:
    """The names of all of GRPOConfig's fields."""
    return frozenset(GRPOConfig.__dataclass_fields__)


def refusal(algorithm: Algorithm, settings: Settings) -> str | None:
    """Why TRL refuses the settings of an algorithm; None where it accepts them. It loads no model."""
    fields = config_fields(algorithm, settings, folder="out", seed=0, processes=1, accelerator=False)
    try:
        GRPOConfig(**with_mesh(fields), **Reports().fields())
    except (ValueError, ImportError) as error:
        return _one_line(error)
    return None


def with_mesh(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with accelerate's object in place of the sizes of a mesh, which are what is recorded."""
    mesh = fields.get("parallelism_config")
    return fields if mesh is None else fields | {"parallelism_config": ParallelismConfig(**mesh)}


@contextlib.contextmanager
def seeded_engine(args: GRPOConfig) -> Iterator[None]:
    """Within it, TRL makes a colocated vLLM with a seed of this training's and of the engine's number.

    TRL's own seed is the engine's number alone. The ranks of one engine must have one seed: they sample the same token
    each for itself. vLLM seeds the process's generators with it, which a checkpoint then holds.
    """
    if not (args.use_vllm and args.vllm_mode == "colocate"):
        yield
        return
    seed = derive("rollouts", args.seed, args.process_index // args.vllm_tensor_parallel_size) % 2**32
    make = vllm_generation.LLM
    vllm_generation.LLM = lambda **settings: make(**{**settings, "seed": seed})
    try:
        yield
    finally:
        vllm_generation.LLM = make


def load_policy(model: str, revision: str | None, attention: str | None = None) -> tuple[Any, Any]:
    """The model in float32, and its tokenizer. Not loadable: UsageError that names it."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, padding_side="left")
        policy = AutoModelForCausalLM.from_pretrained(
            model, revision=revision, dtype=torch.float32, attn_implementation=attention
        )
    except (OSError, ValueError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UsageError(f"cannot load a causal model and its tokenizer from '{model}': {first_line}") from error
    return policy, tokenizer


class StepCallback(TrainerCallback):
    """At the end of each generation batch: log it, save on the suite's boundaries, stop when the budget is used."""

    def __init__(self, trainer: RLVRTrainer, spec: TrainSpec) -> None:
        self.trainer = trainer
        self.spec = spec
        self.updates = spec.settings.updates_per_step
        self.paused = False
        """Whether training was told to stop before its end."""
        self.reached = False
        """Whether it has paused at the share of the budget where it was to."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The log is rewritten from the checkpoint: steps that were lost with a killed run leave no line."""
        if state.is_world_process_zero:
            lines = [_log_line(entry, self.updates) for entry in state.log_history if "loss" in entry]
            write_text_atomic(self.spec.folder / LOG_FILE, "".join(lines))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        """The order of an epoch's prompts depends on seed and epoch alone: a resumed run sees those that were to come.

        TRL's sampler is seeded once and forgets, when a run is resumed, how many epochs it has been through.
        """
        steps_per_epoch = len(self.spec.prompts) // self.spec.settings.prompts_per_step
        epoch = state.global_step // (steps_per_epoch * self.updates)
        batches = train_dataloader.batch_sampler
        while hasattr(batches, "batch_sampler"):  # one process's share of the batches
            batches = batches.batch_sampler
        batches.sampler.generator.manual_seed(args.seed if epoch == 0 else derive("epoch", args.seed, epoch))

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Where the optimiser's own time ends."""
        self.trainer.end_optimizer()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Only a generation boundary may save or stop: elsewhere TRL could not resume."""
        if state.global_step % self.updates:
            return
        step = state.global_step // self.updates
        if not _is_finite(self.trainer.model):
            raise Diverged(f"training diverged: weights of the policy are not finite after step {step}.")
        stop = self.trainer.budget_share() >= 1 or state.global_step >= state.max_steps
        wanted = step % self.spec.settings.save_every_steps == 0 or step in self.spec.settings.keep_steps
        self.paused = not stop and pause.is_asked(self.spec.folder, self.trainer.accelerator)
        self.reached = not stop and self.trainer.budget_share() >= self.spec.until
        control.should_save = wanted or stop or self.paused or self.reached
        control.should_training_stop = stop or self.paused or self.reached

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """One line a step; a loss or gradient that is not finite ends the run."""
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        with (self.spec.folder / LOG_FILE).open("a") as file:
            file.write(_log_line(state.log_history[-1], self.updates))
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise Diverged(
                    f"training diverged: {name} is {logs[name]} at step {state.global_step // self.updates}."
                )
        self.spec.progress(self.trainer.budget_share(), dict(logs))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Older checkpoints go, but for the one before the newest (should that be damaged) and those that are kept."""
        if not state.is_world_process_zero:
            return
        write_checksums(self.spec.folder / f"checkpoint-{state.global_step}")
        keep = {step * self.updates for step in self.spec.settings.keep_steps}
        for path in sorted(self.spec.folder.glob("checkpoint-*"), key=update_of)[:-2]:
            if update_of(path) not in keep:
                shutil.rmtree(path)


def _is_finite(model: torch.nn.Module) -> bool:
    """Whether all weights are, of this process's share. Sampling from others would end in an error of its own.

    The largest absolute value says so, in one pass and with one answer from the accelerator for all weights.
    """
    shares = [getattr(weight, "to_local", lambda weight=weight: weight)().detach() for weight in model.parameters()]
    largest = torch.nn.utils.get_total_norm([share for share in shares if share.numel()], norm_type=math.inf)
    return math.isfinite(float(largest))


def _log_line(entry: dict[str, Any], updates_per_step: int) -> str:
    # Sorted, as the trainer's state is after a checkpoint was read: a resumed run writes the same lines.
    line = {"step": entry["step"] // updates_per_step, "update": entry["step"], **_logged(entry)}
    return json.dumps(line, allow_nan=False) + "\n"


def _logged(entry: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a log entry; null where a number is not finite, which JSON has no word for."""
    kept = {key: entry[key] for key in sorted(entry) if key not in (*_TIMES, "step")}
    return {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in kept.items()}


def _finish(spec: TrainSpec) -> None:
    """The last checkpoint, written when the budget was used up, becomes the policy; the result is written last."""
    checkpoint = last_checkpoint(spec.folder)
    assert checkpoint is not None
    try:
        export_policy(checkpoint, spec.folder / FINAL)
    except OSError as error:
        raise Failure(f"cannot write the policy in {spec.folder}: {_one_line(error)}.") from error
    last = read_history(checkpoint)[-1]
    result = {
        "cost": read_state(checkpoint)["cost"].to_json(),
        "stopped_by": spec.settings.budget.unit, "processes": spec.processes,
        "metrics": _logged(last),
    }  # fmt: skip
    write_json_atomic(spec.folder / RESULT_FILE, result)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _read_result(spec: TrainSpec) -> TrainResult:
    state = json.loads((spec.folder / RESULT_FILE).read_text())
    return TrainResult(
        spec.folder / FINAL, Cost.from_json(state["cost"]), state["stopped_by"],
        state["metrics"],
    )  # fmt: skip


def _check_world(processes: int) -> None:
    found = int(os.environ.get("WORLD_SIZE", "1"))
    if found != processes:
        raise UsageError(
            f"{found} training processes run, {processes} were asked for: torchrun --nproc_per_node {processes}."
        )


def _lora(settings: Settings, revision: str | None) -> Any:
    """The adapters. Without dropout: the policy that is trained would not be the one that sampled."""
    if settings.lora is None:
        return None
    from peft import LoraConfig

    lora = settings.lora
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=modules, task_type="CAUSAL_LM",
        revision=revision,
    )  # fmt: skip
