"""Our trainer beside plain TRL: processor time of a step on the same rollouts, in pairs, with an interval.

    python -m benchmarks.perf.trainer [--rounds 30] [--steps 4]

Both trainers get the same completions, so nothing is sampled and what is measured is all the rest: judging, padding,
log-probabilities, advantages, loss, backward pass, optimiser, logging. They run in turns in one process, a few steps
each, and change the order every round. A round gives one ratio of medians; the interval is a bootstrap of the rounds.
On a CPU, time is processor time of one thread: a busy machine does not stretch it as it does wall time, and several
threads would count the time that they wait for one another.

Three cases: a whole mini-batch at once, and lengths with a long tail in micro-batches of two, where ours puts rows of
like length together and trims them (docs/scaling.md); then the same lengths with ours as it would be without.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.errors import UsageError
from benchmarks.perf._stage import busy, program
from benchmarks.progress import Progress
from benchmarks.seeds import derive
from benchmarks.suites.schema import BASE_MODELS

MODEL = str(BASE_MODELS / "countdown")
BOUND = 1.03
"""What our trainer may take of plain TRL's time."""
CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class Case:
    """What is compared, on which lengths."""

    name: str
    median: float
    spread: float
    """Of the logarithm of lengths, which are log-normal and cut at the limit."""
    micro_batch_rows: int | None
    group: bool = True
    """Whether ours groups and trims, where there are micro-batches."""


CASES = (
    Case("lengths alike, whole mini-batches", 33, 0.15, None),
    Case("long tail, micro-batches of 2", 24, 1.0, 2),
    Case("the same, neither grouped nor trimmed", 24, 1.0, 2, group=False),
)


@dataclass(frozen=True)
class Size:
    """How large a step is, and how many there are."""

    rounds: int
    steps: int
    prompts: int = 8
    group: int = 8
    limit: int = 256


@dataclass(frozen=True)
class Ratio:
    """Ours over plain TRL's."""

    case: str
    value: float
    low: float
    high: float
    ours: float
    plain: float
    """Medians of a step's seconds."""


def lengths(case: Case, size: Size, step: int) -> list[int]:
    """Of the completions of a step, EOS included."""
    rows = size.prompts * size.group
    drawn = np.random.default_rng(derive("perf", str(case.median), str(case.spread), step)).lognormal(
        0, case.spread, rows
    )
    return [int(length) for length in np.clip(drawn * case.median, 2, size.limit)]


class Rollouts:
    """In place of sampling: the completions of one step after another."""

    def __init__(self, case: Case, size: Size, vocabulary: int, end: int) -> None:
        self.case, self.size, self.vocabulary, self.end = case, size, vocabulary, end
        self.step = 0

    def __call__(self, prompt_ids: list[list[int]], *_: Any) -> tuple[list[list[int]], None]:
        """What `_generate_single_turn` returns."""
        draw = np.random.default_rng(derive("perf", "tokens", self.step))
        drawn = lengths(self.case, self.size, self.step)
        self.step += 1
        return [[*draw.integers(4, self.vocabulary, length - 1).tolist(), self.end] for length in drawn], None


def right(text: str) -> bool:
    """The verdict; every second text's, so that groups have signal."""
    return derive(text) % 2 == 0


def make_pair(case: Case, size: Size, folder: Path) -> tuple[Any, Any]:
    """Ours and plain TRL's trainer, with the same model, settings and rollouts."""
    import algorithms
    from algorithms.config import config_fields
    from algorithms.settings import Settings
    from algorithms.train import TrainSpec, load_policy, make_trainer

    settings = Settings.model_validate(
        {
            "budget": {"steps": size.steps}, "prompts_per_step": size.prompts, "group_size": size.group,
            "mini_batches_per_step": 4, "learning_rate": 1e-6, "micro_batch_rows": case.micro_batch_rows,
            "sampling": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": size.limit},
            "save_every_steps": 10**6,
        }
    )  # fmt: skip
    prompts = [" ".join(map(str, range(1, 2 + i % 4))) for i in range(8 * size.prompts)]
    spec = TrainSpec(
        algorithm=algorithms.get("grpo"), settings=settings, model=MODEL, prompts=prompts,
        verify=lambda problems, texts, finished: [right(text) for text in texts], folder=folder, seed=0,
    )  # fmt: skip
    ours: Any = make_trainer(spec)
    ours._trims = ours._trims and case.group
    fields = config_fields(
        spec.algorithm, settings, folder=str(folder), seed=0, processes=1, accelerator=not ours.args.use_cpu
    )
    model, tokenizer = load_policy(MODEL, None)
    plain = _trls_own(type(ours))(
        model=model, processing_class=tokenizer, args=type(ours.args)(**{**fields, "scale_rewards": "group"}),
        reward_funcs=[lambda completions, **_: [float(right(text)) for text in completions]],
        train_dataset=ours.train_dataset,
    )  # fmt: skip
    for trainer in (ours, plain):
        trainer._generate_single_turn = Rollouts(case, size, len(tokenizer), tokenizer.eos_token_id)
        trainer._save_checkpoint = lambda *_: None
        trainer.remove_callback(_printer())
    return ours, plain


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def clock(trainer: Any) -> Callable[[], float]:
    """Processor time on a CPU; wall time, once all is done, on an accelerator."""
    from algorithms import cost

    return time.process_time if trainer.args.use_cpu else cost.clock


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it, torch computes in one thread on a CPU."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_steps(trainer: Any, updates: int) -> list[float]:
    """Trains for the settings' steps; seconds of each but the first and the last."""
    from transformers import TrainerCallback

    from algorithms.cost import Cost

    began: list[float] = []
    now = clock(trainer)

    class Times(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % updates == 0:
                began.append(now())

    trainer.cost = Cost()  # ours counts what is left of its budget
    trainer._generate_single_turn.step = 0
    times = Times()
    trainer.add_callback(times)
    trainer.train()
    trainer.remove_callback(times)
    return [end - start for start, end in itertools.pairwise(began[1:])]


def compare(case: Case, size: Size, progress: Progress) -> Ratio:
    """Rounds of both trainers in turns."""
    with tempfile.TemporaryDirectory() as folder:
        pair = make_pair(case, size, Path(folder))
        seconds: list[tuple[float, float]] = []
        with progress.stage(case.name, size.rounds, "rounds") as stage:
            for number in range(size.rounds + 1):
                order = (0, 1) if number % 2 else (1, 0)
                medians = {index: statistics.median(run_steps(pair[index], 4)) for index in order}
                if number:  # the first round warms up
                    seconds.append((medians[0], medians[1]))
                    stage.advance()
    ratios = [ours / plain for ours, plain in seconds]
    low, high = interval(ratios)
    progress.say(f"{case.name}: ratio {geometric_mean(ratios):.3f} [{low:.3f}, {high:.3f}]")  # the next one takes long
    ours, plain = (statistics.median(column) for column in zip(*seconds, strict=True))
    return Ratio(case.name, geometric_mean(ratios), low, high, ours, plain)


def geometric_mean(ratios: Sequence[float]) -> float:
    """The mean of ratios that does not depend on which is the numerator."""
    return float(np.exp(np.mean(np.log(ratios))))


def interval(ratios: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of their geometric mean, over rounds."""
    logs = np.log(ratios)
    drawn = np.random.default_rng(seed).choice(logs, (RESAMPLES, len(logs))).mean(1)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(np.exp(low)), float(np.exp(high))


def table(found: Sequence[Ratio]) -> Table:
    """What was measured."""
    shown = Table(title="time of a step on the same rollouts: ours over plain TRL")
    shown.add_column("")
    for name in ("ours, s", "TRL, s", "ratio [95 %]", f"at most {BOUND}"):
        shown.add_column(name, justify="right")
    for row in found:
        verdict = "shown" if row.high <= BOUND else "refuted" if row.low > BOUND else "not shown"
        ratio = f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
        shown.add_row(row.case, f"{row.ours:.3f}", f"{row.plain:.3f}", ratio, verdict)
    return shown


def _trls_own(ours: type[Any]) -> Any:
    """Returns the class of TRL's that our trainer is a subclass of. Only the trainer imports TRL."""
    return next(kind for kind in ours.__mro__ if kind.__module__.startswith("trl."))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.trainer", description="Ours over plain TRL.")
    parser.add_argument("--rounds", type=int, default=30, help="pairs of short trainings in each case")
    parser.add_argument("--steps", type=int, default=4, help="steps of a training; the first and last are not timed")
    parser.add_argument("--prompts", type=int, default=8, help="of a step, with 8 completions each")
    parser.add_argument("--limit", type=int, default=256, help="the longest completion, in tokens")
    given = parser.parse_args(arguments)
    if given.rounds < 2 or given.steps < 3:
        raise UsageError("expected --rounds of 2 or more and --steps of 3 or more.")
    size = Size(given.rounds, given.steps, given.prompts, limit=given.limit)
    remark = busy()
    with Progress() as progress, one_thread():
        found = [compare(case, size, progress) for case in CASES]
    console = Console(width=None if Console().is_terminal else 110)
    console.print(table(found))
    if remark:
        console.print(remark)


if __name__ == "__main__":
    program(main)
