"""What a grid is expected to cost, from throughputs that are stated (`resources.throughput`) and never assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.errors import Failure, UsageError
from benchmarks.launchers.resources import Resources, Throughput
from benchmarks.records.schema import BASE
from benchmarks.runs.grid_plan import GridCell
from benchmarks.suites.schema import DesignSpec, Suite, SuiteTraining


@dataclass(frozen=True)
class Cost:
    """Tokens that are generated, and the GPU-hours that this takes; of training and of evaluation."""

    training_tokens: float = 0.0
    evaluation_tokens: float = 0.0
    training_hours: float = 0.0
    evaluation_hours: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def line(self) -> str:
        """`training 1.2 G tokens, 340 GPU-hours; evaluation ...`."""
        return (
            f"training {_tokens(self.training_tokens)} tokens, {self.training_hours:,.0f} GPU-hours; "
            f"evaluation {_tokens(self.evaluation_tokens)} tokens, {self.evaluation_hours:,.0f} GPU-hours; "
            f"together {self.training_hours + self.evaluation_hours:,.0f} GPU-hours"
        )


@dataclass(frozen=True)
class Work:
    """What is generated for a suite, in numbers that follow from it alone."""

    training: str
    """The budget of one training; empty if the suite trains nothing."""
    base: int | None
    """The most completions of an evaluation of the base. None: the size of a dataset is not known here."""
    trained: int | None
    """... and of a trained model."""

    def line(self, base: bool) -> str:
        """`trains for 80 steps of 256 completions, evaluates at most 91,136 completions`."""
        number = self.base if base else self.trained
        most = "an unknown number of" if number is None else f"at most {number:,}"
        return f"{'' if base else f'trains for {self.training}, '}evaluates {most} completions"


def work(suite: Suite) -> Work:
    """What the base and one trained model of the suite generate. A sequential design draws less than the most."""
    training = "" if suite.training is None else _steps(suite.training)
    try:
        problems = sum(len(dataset.load()) for dataset in suite.evaluation.datasets.values())
    except (UsageError, Failure, OSError):
        return Work(training, None, None)
    asked = suite.evaluation
    base = (asked.base_design or asked.design).rounds[-1]
    return Work(training, base * problems, (1 + len(asked.checkpoints)) * asked.design.rounds[-1] * problems)


def _steps(training: SuiteTraining) -> str:
    rows = f" of {training.rows_per_step:,} completions" if training.budget.unit == "steps" else ""
    return f"{training.budget.amount:,} {training.budget.unit}{rows}"


def expected(cells: Sequence[GridCell], throughput: Throughput) -> Cost:
    """The cost of all these cells. UsageError for a dataset whose size is not known here."""
    sizes: dict[tuple[int, str], int] = {}
    total = Cost()
    for cell in cells:
        total += of_one(cell.run.suite, cell.run.algorithm == BASE, throughput, sizes)
    return total


def of_one(suite: Suite, base: bool, throughput: Throughput, sizes: dict[tuple[int, str], int]) -> Cost:
    """The cost of the suite's base, or of one trained model. `sizes` remembers the datasets that were loaded."""
    length = throughput.tokens_per_completion
    sampled = 0.0 if base else trained_tokens(suite, length)
    evaluations = 1 if base else 1 + len(suite.evaluation.checkpoints)
    design = suite.evaluation.base_design if base and suite.evaluation.base_design else suite.evaluation.design
    samples = samples_per_problem(design, throughput)
    problems = sum(_size(suite, name, throughput, sizes) for name in suite.evaluation.datasets)
    evaluated = evaluations * problems * samples * length
    return Cost(
        sampled, evaluated,
        sampled / throughput.training_tokens_per_s / 3600, evaluated / throughput.sampling_tokens_per_s / 3600,
    )  # fmt: skip


def trained_tokens(suite: Suite, tokens_per_completion: float) -> float:
    """Tokens of a training's rollouts; what an algorithm samples beyond its batches comes on top."""
    budget, settings = suite.trained.budget, suite.trained
    if budget.unit == "tokens":
        return float(budget.amount)
    completions = budget.amount if budget.unit == "completions" else budget.amount * settings.rows_per_step
    return completions * tokens_per_completion


def samples_per_problem(design: DesignSpec, throughput: Throughput) -> float:
    """The largest number under the design, times the share that a sequential one is stated to draw."""
    return design.rounds[-1] * (1.0 if design.stop_after is None else throughput.sequential_share)


def _size(suite: Suite, dataset: str, throughput: Throughput, sizes: dict[tuple[int, str], int]) -> int:
    if dataset in throughput.problems:
        return throughput.problems[dataset]
    if (id(suite), dataset) not in sizes:
        try:
            sizes[id(suite), dataset] = len(suite.evaluation.datasets[dataset].load())
        except (UsageError, Failure, OSError) as error:
            raise UsageError(
                f"dataset '{dataset}' cannot be loaded here ({error}); state its size as throughput.problems."
            ) from error
    return sizes[id(suite), dataset]


def limits(cells: Sequence[GridCell], resources: Resources) -> str:
    """What the jobs may take at most in one go: `7 jobs of up to 1440 min on 1 machine with 8 GPUs`."""
    hours = len(cells) * resources.time_min / 60
    gpus = resources.nodes * resources.gpus
    machines = "1 machine" if resources.nodes == 1 else f"{resources.nodes} machines"
    most = f"{hours * gpus:,.0f} GPU-hours" if gpus else f"{hours:,.1f} hours"
    return (
        f"{len(cells)} jobs of up to {resources.time_min} min on {machines} with {resources.gpus} GPUs each: at most "
        f"{most} if no job is queued again"
    )


def _tokens(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"
