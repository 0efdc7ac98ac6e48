"""Compares the evaluation stage with the naive way to the same numbers, on the same problems, cores and model.

    python -m benchmarks.perf.evaluation [--problems 256] [--every 8]

The naive way is one process with a thread for each core. It draws a fixed number of samples of every problem by plain
`generate(num_return_sequences=n)` and judges each completion separately. The stage uses a process for each core, drops
rows that have ended, judges answers once, and follows the suite's sequential design. It is also measured under the
fixed design, to separate the gain in speed from the gain by fewer samples. Neither includes loading the model.

The naive way takes the problems one by one, so its time is the sum over them. It is measured on every eighth problem
and multiplied by eight, as is that of the stage under the fixed design, which is slower than the sequential one.

On a machine with other work, processor time says more than wall clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from benchmarks.perf._stage import Setting, Timed, busy, evaluate, program, setting, warm_pool
from benchmarks.records.provenance import cores
from benchmarks.verifiers import Verdict


@dataclass(frozen=True)
class Naive:
    """What the naive way took."""

    completions: int
    correct: int
    seconds: float
    cpu_s: float
    """Processor time, all threads."""

    @property
    def pass_at_1(self) -> float:
        """The share of correct completions."""
        return self.correct / self.completions


def naive(asked: Setting, threads: int) -> Naive:
    """Samples and judges problem after problem, in this process."""
    import torch
    from transformers.utils import logging

    from benchmarks.engines.loading import end_ids, load_model, load_tokenizer

    sampling, n = asked.suite.evaluation.sampling, asked.fixed.max_k
    path, revision = asked.suite.base_path, asked.suite.base_revision
    logging.disable_progress_bar()
    tokenizer = load_tokenizer(path, revision)
    model = load_model(path, revision, "float32", len(tokenizer)).eval()
    settings = {
        "do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k,
        "max_new_tokens": sampling.max_new_tokens, "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": end_ids(model, tokenizer),
    }  # fmt: skip

    def sample(prompt: str, n: int) -> list[str]:
        inputs = tokenizer(prompt, return_tensors="pt")
        ids = model.generate(**inputs, num_return_sequences=n, **settings)[:, inputs["input_ids"].shape[1] :]
        return [tokenizer.decode(row, skip_special_tokens=True) for row in ids]

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            sample(asked.prompts[0], 2)  # as warm as the stage is
            began, used, correct = time.perf_counter(), time.process_time(), 0
            for problem, prompt in zip(asked.problems, asked.prompts, strict=True):
                texts = sample(prompt, n)
                correct += sum(asked.verifier.verify(problem, text) is Verdict.CORRECT for text in texts)
            taken, cpu_s = time.perf_counter() - began, time.process_time() - used
            return Naive(n * len(asked.problems), correct, taken, cpu_s)
    finally:
        torch.set_num_threads(before)


def times(plain: Naive, fixed: Timed, sequential: Timed) -> Table:
    """Returns a table of what was measured."""
    shown = Table(title="evaluation of one dataset")
    shown.add_column("")
    for name in ("completions", "seconds", "processor s", "completions/s", "pass@1", "verifying", "writing"):
        shown.add_column(name, justify="right")
    ways: list[tuple[str, Naive | Timed]] = [
        ("naive, fixed", plain), ("stage, fixed", fixed), ("stage, sequential", sequential)
    ]  # fmt: skip
    for name, way in ways:
        spent = way.result.spent if isinstance(way, Timed) else {}
        shares = [f"{100 * spent[p] / way.seconds:.1f} %" if p in spent else "-" for p in ("verify", "write")]
        speed = f"{way.completions / way.seconds:.0f}"
        figures = f"{way.completions}", f"{way.seconds:.1f}", f"{way.cpu_s:.1f}", speed, f"{100 * way.pass_at_1:.1f} %"
        shown.add_row(name, *figures, *shares)
    return shown


def ratios(plain: Naive, fixed: Timed, sequential: Timed, every: float) -> Table:
    """Returns a table of ratios; the first two multiplied give the third. `every`: one in so many problems was timed.

    That is for the naive way and the fixed design; the sequential one was measured on all problems.
    """
    shown = Table(title="time, as a share")
    shown.add_column("")
    for name in ("wall clock", "processor time"):
        shown.add_column(name, justify="right")
    rows: dict[str, tuple[Timed, Naive | Timed, float]] = {
        "from speed: stage / naive, both fixed": (fixed, plain, 1.0),
        "from fewer samples: sequential / fixed, both by the stage": (sequential, fixed, every),
        "both: stage, sequential / naive, fixed": (sequential, plain, every),
    }
    for name, (one, other, scale) in rows.items():
        walls, cpus = one.seconds / (other.seconds * scale), one.cpu_s / (other.cpu_s * scale)
        shown.add_row(name, f"{walls:.2f}", f"{cpus:.2f}")
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.evaluation", description="Stage over naive.")
    parser.add_argument("--suite", default="countdown")
    parser.add_argument("--dataset", default=None, help="of the suite; default: its first")
    parser.add_argument("--problems", type=int, default=256, help="the first so many of the dataset")
    parser.add_argument("--every", type=int, default=8, help="measure the fixed designs on one in so many problems")
    parser.add_argument("--workers", type=int, default=None, help="the stage's processes, and the naive way's threads")
    given = parser.parse_args(arguments)
    asked = setting(given.suite, given.problems, given.dataset, given.workers)
    some = replace(asked, problems=asked.problems[:: given.every])
    remark = busy()
    plain = naive(some, given.workers or cores())
    with warm_pool(asked, asked.suite.base_path, asked.suite.base_revision) as pool:
        fixed, sequential = evaluate(some, pool, asked.fixed), evaluate(asked, pool, asked.sequential)
    console = Console(width=120)
    console.print(times(plain, fixed, sequential))
    console.print(ratios(plain, fixed, sequential, len(asked.problems) / len(some.problems)))
    console.print(f"{len(asked.problems)} problems of {asked.dataset}, {pool.workers} workers on {cores()} cores")
    if remark:
        console.print(remark)


if __name__ == "__main__":
    program(main)
