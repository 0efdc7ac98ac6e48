"""Compares the evaluation stage with the naive way to the same numbers, on the same problems, cores and model.

    python -m benchmarks.perf.evaluation [--problems 24]

The naive way is one process with a thread for each core. It draws a fixed number of samples of every problem by plain
`generate(num_return_sequences=n)` and judges each completion separately. The stage uses a process for each core, drops
rows that have ended, judges answers once, and follows the suite's sequential design. It is also measured under the
fixed design, to separate the gain in speed from the gain by fewer samples. Neither includes loading the model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

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
            began, correct = time.perf_counter(), 0
            for problem, prompt in zip(asked.problems, asked.prompts, strict=True):
                texts = sample(prompt, n)
                correct += sum(asked.verifier.verify(problem, text) is Verdict.CORRECT for text in texts)
            return Naive(n * len(asked.problems), correct, time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)


def times(plain: Naive, fixed: Timed, sequential: Timed) -> Table:
    """Returns a table of what was measured."""
    shown = Table(title="evaluation of one dataset")
    shown.add_column("")
    for name in ("completions", "seconds", "completions/s", "pass@1", "verifying", "writing"):
        shown.add_column(name, justify="right")
    ways: list[tuple[str, Naive | Timed]] = [
        ("naive, fixed", plain), ("stage, fixed", fixed), ("stage, sequential", sequential)
    ]  # fmt: skip
    for name, way in ways:
        spent = way.result.spent if isinstance(way, Timed) else {}
        shares = [f"{100 * spent[p] / way.seconds:.1f} %" if p in spent else "-" for p in ("verify", "write")]
        speed = f"{way.completions / way.seconds:.0f}"
        shown.add_row(name, f"{way.completions}", f"{way.seconds:.1f}", speed, f"{100 * way.pass_at_1:.1f} %", *shares)
    return shown


def ratios(plain: Naive, fixed: Timed, sequential: Timed) -> Table:
    """Returns a table of ratios of wall times; the first two multiplied give the third."""
    shown = Table(title="wall time, as a share")
    shown.add_column("")
    shown.add_column("ratio", justify="right")
    rows = {
        "from speed: stage / naive, both fixed": fixed.seconds / plain.seconds,
        "from fewer samples: sequential / fixed, both by the stage": sequential.seconds / fixed.seconds,
        "both: stage, sequential / naive, fixed": sequential.seconds / plain.seconds,
    }
    for name, value in rows.items():
        shown.add_row(name, f"{value:.2f}")
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.perf.evaluation", description="Stage over naive.")
    parser.add_argument("--suite", default="countdown")
    parser.add_argument("--dataset", default=None, help="of the suite; default: its first")
    parser.add_argument("--problems", type=int, default=24, help="the first so many of the dataset")
    parser.add_argument("--workers", type=int, default=None, help="the stage's processes, and the naive way's threads")
    given = parser.parse_args(arguments)
    asked = setting(given.suite, given.problems, given.dataset, given.workers)
    remark = busy()
    plain = naive(asked, given.workers or cores())
    with warm_pool(asked, asked.suite.base_path, asked.suite.base_revision) as pool:
        fixed, sequential = (evaluate(asked, pool, design) for design in (asked.fixed, asked.sequential))
    console = Console(width=None if Console().is_terminal else 100)
    console.print(times(plain, fixed, sequential))
    console.print(ratios(plain, fixed, sequential))
    if remark:
        console.print(remark)


if __name__ == "__main__":
    program(main)
