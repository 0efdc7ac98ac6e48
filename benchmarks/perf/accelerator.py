"""What one GPU can show of docs/scaling.md: a few steps with each setting for large models, as a table.

    python -m benchmarks.perf.accelerator [--steps 4] [--hidden 768 --layers 16]

The base has the embedded model's recipe in a larger size (113 M weights by default) and is not trained, so its
completions are noise up to the length limit; the table is about time and memory, and whether a setting works at all: a
row that fails says why, and the others go on. Without an accelerator it runs on the CPU, at the size of a toy.
"""

from __future__ import annotations

import argparse
import gc
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import tasks, verifiers
from benchmarks.errors import Failure, UsageError
from benchmarks.perf._stage import program
from benchmarks.progress import Progress
from benchmarks.verifiers import Verdict

BFLOAT16 = {"precision": "bfloat16"}
CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "float32": ("grpo", {}),
    "bfloat16": ("grpo", BFLOAT16),
    "bfloat16, micro-batches of 4": ("grpo", {**BFLOAT16, "micro_batch_rows": 4}),
    "bfloat16, gradient checkpointing": ("grpo", {**BFLOAT16, "gradient_checkpointing": True}),
    "bfloat16, LoRA": ("grpo", {**BFLOAT16, "lora": {"rank": 16, "alpha": 32}}),
    "bfloat16, critic": ("ppo", BFLOAT16),
    "bfloat16, critic, gradient checkpointing": ("ppo", {**BFLOAT16, "gradient_checkpointing": True}),
    "bfloat16, flash-attention": ("grpo", {**BFLOAT16, "kernels": {"attention": "flash_attention_2"}}),
    "bfloat16, Liger": ("grpo", {**BFLOAT16, "kernels": {"liger": True}}),
    "bfloat16, colocated vLLM": (  # last: an engine does not give all of its memory back
        "grpo", {**BFLOAT16, "vllm": {"mode": "colocate", "gpu_memory_utilization": 0.3}},
    ),
}  # fmt: skip
"""Row -> algorithm and what its training section has beside the common one."""


@dataclass(frozen=True)
class Size:
    """Of the model and of a step; `limit` is of completions, in tokens."""

    hidden: int
    layers: int
    steps: int
    prompts: int
    limit: int


@dataclass
class Outcome:
    """Of one row."""

    failed: str = ""
    """In one line; empty where all steps were made."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By phase, of a step; the first step is left out."""
    peak_memory_bytes: int = 0


def default_size() -> Size:
    """What a GPU is asked for, and a toy on a CPU."""
    import torch

    return Size(768, 16, 4, 16, 512) if torch.cuda.is_available() else Size(64, 1, 2, 2, 16)


def make_base(size: Size, folder: Path) -> int:
    """Writes the untrained base; returns its number of weights."""
    from benchmarks.base_models.recipe import Recipe, make_model, make_tokenizer

    heads = max(1, size.hidden // 64)
    recipe = Recipe(
        hidden_size=size.hidden, layers=size.layers, heads=heads, feed_forward=size.hidden * 8 // 3, context=1024
    )
    model = make_model(recipe)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return int(model.num_parameters())


def run(name: str, size: Size, base: Path, folder: Path) -> Outcome:
    """Trains one row's steps; whatever goes wrong is its outcome."""
    import torch

    from algorithms.config import check_machine

    outcome = Outcome()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        spec = _spec(name, size, base, folder)
        check_machine(spec.settings, 1)
        _train(spec, outcome)
    except (UsageError, Failure, RuntimeError, ValueError, ImportError, OSError) as error:
        outcome.failed = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return outcome


def _spec(name: str, size: Size, base: Path, folder: Path) -> Any:
    import algorithms
    from algorithms.settings import Settings
    from algorithms.train import TrainSpec

    algorithm, changes = CASES[name]
    problems = tasks.get("countdown").load("train")[: 4 * size.prompts]
    verifier = verifiers.get("countdown")

    def verify(indices: Sequence[int], texts: Sequence[str], finished: Sequence[bool]) -> list[bool | None]:
        """Every second one is called right besides, so that an untrained base has something to learn from."""
        found = verifier.verify_many([problems[i] for i in indices], texts, finished)
        return [verdict is Verdict.CORRECT or number % 2 == 0 for number, verdict in enumerate(found)]

    settings = {
        "budget": {"steps": size.steps}, "prompts_per_step": size.prompts, "group_size": 8,
        "mini_batches_per_step": 2, "learning_rate": 1e-5, "save_every_steps": 10**6,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": size.limit}, **changes,
    }  # fmt: skip
    return TrainSpec(
        algorithm=algorithms.get(algorithm), settings=Settings.model_validate(settings), model=str(base),
        prompts=[problem.prompt for problem in problems], verify=verify, folder=folder, seed=0,
    )  # fmt: skip


def _train(spec: Any, outcome: Outcome) -> None:
    """Notes what the steps after the first took. Raises Failure where a step moved nothing."""
    from algorithms.cost import peak_memory_bytes
    from algorithms.train import make_trainer

    trainer: Any = make_trainer(spec)
    trainer._save_checkpoint = lambda *_: None
    seen: list[dict[str, float]] = []
    log = trainer.log

    def note(logs: dict[str, float], *rest: Any) -> None:
        if "loss" in logs:
            seen.append(dict(trainer.cost.seconds))
            if not (math.isfinite(logs["loss"]) and logs["grad_norm"] > 0):
                raise Failure(f"step {len(seen)} has loss {logs['loss']} and gradient norm {logs['grad_norm']}.")
        log(logs, *rest)

    trainer.log = note
    trainer.train()
    steps = len(seen) - 1
    outcome.seconds = {phase: (seen[-1][phase] - seen[0].get(phase, 0.0)) / steps for phase in seen[-1]}
    outcome.peak_memory_bytes = peak_memory_bytes()


def table(title: str, outcomes: Mapping[str, Outcome]) -> Table:
    """What was measured, in the form of docs/scaling.md."""
    shown = Table(title=title)
    shown.add_column("", no_wrap=True)
    for name in ("s a step", "generate", "critic", "peak GiB"):
        shown.add_column(name, justify="right")
    shown.add_column("failed")
    for name, outcome in outcomes.items():
        seconds = outcome.seconds
        if outcome.failed:
            shown.add_row(name, "-", "-", "-", "-", outcome.failed)
            continue
        whole = seconds.get("total", 0.0) + seconds.get("optimizer", 0.0)
        parts = [f"{seconds[phase]:.2f}" if phase in seconds else "-" for phase in ("generate", "critic")]
        shown.add_row(name, f"{whole:.2f}", *parts, f"{outcome.peak_memory_bytes / 2**30:.2f}", "")
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.accelerator", description="Settings on one GPU.")
    default = default_size()
    parser.add_argument("--hidden", type=int, default=default.hidden, help="width of the base, a multiple of 64")
    parser.add_argument("--layers", type=int, default=default.layers, help="its layers")
    parser.add_argument("--steps", type=int, default=default.steps, help="steps of each row; the first is not timed")
    parser.add_argument("--prompts", type=int, default=default.prompts, help="of a step, with 8 completions each")
    parser.add_argument("--limit", type=int, default=default.limit, help="tokens of a completion")
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
    given = parser.parse_args(arguments)
    names = [name for name in CASES if given.rows in name]
    if not names:
        raise UsageError(f"--rows '{given.rows}' is in no row's name; there are: {', '.join(CASES)}.")
    if given.steps < 2:
        raise UsageError(f"--steps {given.steps}: expected 2 or more.")
    size = Size(given.hidden, given.layers, given.steps, given.prompts, given.limit)
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder, Progress() as progress:
        weights = make_base(size, Path(folder) / "base")
        with progress.stage("rows", len(names), "rows") as stage:
            for number, name in enumerate(names):
                outcomes[name] = run(name, size, Path(folder) / "base", Path(folder) / str(number))
                stage.advance()
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table(f"{weights / 1e6:.1f} M weights on {device()}", outcomes))


def device() -> str:
    """The accelerator, or the CPU."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "the CPU"


if __name__ == "__main__":
    program(main)
