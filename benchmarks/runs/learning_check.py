"""Whether an algorithm learns at all: a short training on the embedded suite, and its accuracy before and after.

The accuracy is measured on problems that were not trained on. Problems are the sample: the difference after - before is
averaged over them, and its standard error comes from its spread over them. An algorithm passes if its mean difference
is more than `Z` standard errors above zero.

    An algorithm that changes nothing passes in 1 of 1,000 checks.
    One whose true gain is D standard errors is reported wrongly with probability Phi(Z - D), which is below 1e-4 from
    D = 6.9 on.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines.identity import identify
from benchmarks.engines.pool import open_pool
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation.stage import evaluate_dataset
from benchmarks.outside import Found, one_line
from benchmarks.progress import Progress
from benchmarks.runs.cell_training import CellTraining
from benchmarks.runs.run_folder import Place
from benchmarks.runs.suite_evaluation import engine_of
from benchmarks.seeds import derive
from benchmarks.statistics.counts import Counts
from benchmarks.statistics.passk import FixedDesign
from benchmarks.suites.schema import Suite, load, parse

Z = 3.0902
"""The normal quantile of 0.999."""
COMPLETIONS = 24 * 256
"""The budget of the training, which discarded and greedy completions use up as well."""
PROBLEMS, SAMPLES = 384, 8


@dataclass(frozen=True)
class Learning:
    """Accuracy before and after the training, as shares."""

    before: float
    after: float
    standard_error: float
    """Of after - before."""

    @property
    def learns(self) -> bool:
        """Whether the accuracy rose by more than chance explains."""
        return self.after - self.before > Z * self.standard_error

    def __str__(self) -> str:
        """Returns the numbers in a sentence's part, in %."""
        gain, error = 100 * (self.after - self.before), 100 * self.standard_error
        return (
            f"accuracy {100 * self.before:.1f} % before and {100 * self.after:.1f} % after a short training "
            f"({gain:+.1f} points with a standard error of {error:.1f}; more than {Z * error:.1f} are needed)"
        )


def learning_suite(suite: str = "countdown") -> Suite:
    """Returns the embedded suite with a short training, and with problems that were not trained on."""
    data = load(suite).model_dump(mode="json")
    data["evaluation"]["datasets"] = {"validation": {"task": "countdown", "split": "validation", "problems": PROBLEMS}}
    data["training"] |= {"budget": {"completions": COMPLETIONS}, "save_every_steps": 1000}
    return parse(data)


def check_learning(found: Found, progress: Progress, suite: Suite | None = None, seed: int = 0) -> Learning:
    """Trains the algorithm in a temporary folder and compares accuracies by what is rewarded."""
    asked = suite or learning_suite()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = Place(folder, workers=1, progress=progress)
        try:
            policy = CellTraining(asked, found, seed, folder / found.name, place).train().policy
        except (UsageError, Failure):
            raise
        except Exception as error:  # a user's algorithm may raise anything
            raise Failure(f"{found.name} cannot be trained: {one_line(error)}.") from error
        before = _counts(asked, asked.base_path, folder / "before", place)
        after = _counts(asked, str(policy), folder / "after", place)
    differences_N = after.c_N / after.n_N - before.c_N / before.n_N
    return Learning(
        before=float((before.c_N / before.n_N).mean()),
        after=float((after.c_N / after.n_N).mean()),
        standard_error=float(differences_N.std(ddof=1)) / math.sqrt(len(differences_N)),
    )


def _counts(suite: Suite, model: str, folder: Path, place: Place) -> Counts:
    """Samples the problems of the suite's first dataset."""
    name, source = next(iter(suite.evaluation.datasets.items()))
    path = identify(model).path
    with open_pool(engine_of(suite, place), path, None) as pool:
        result = evaluate_dataset(
            pool, source.load(), source.make_verifier(), dataset=f"{name}, {folder.name}",
            task_version=source.make_task().version,
            task_revision=source.make_task().data_revision, design=FixedDesign(SAMPLES),
            sampling=suite.evaluation.sampling,
            prompt_template=suite.template, seed=derive("learning", folder.name), folder=folder,
            progress=place.progress,
        )  # fmt: skip
    return result.counts.judged_by(suite.training.reward)
