"""What a cell needs of a cluster: a suite's section `resources`, or a small file, `cluster.yaml`. Strict YAML.

partition: gpu
time_min: 1440
gpus: 8
memory_gb: 900
array_limit: 6
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from benchmarks import strict_yaml
from benchmarks.errors import UsageError, all_wrong
from benchmarks.settings import Count, Fraction, Positive, Rate, Strict, findings


class Throughput(Strict):
    """What the cost of a grid is estimated from before it runs. State measured numbers; nothing is assumed."""

    sampling_tokens_per_s: Rate
    """Generated tokens per second of one GPU while it samples with the evaluation's engine."""
    training_tokens_per_s: Rate
    """Generated tokens per second of one GPU over whole training steps: rollouts, verification and updates."""
    tokens_per_completion: Rate
    """Mean length of a completion."""
    sequential_share: Fraction = 1.0
    """Share of a fixed design's samples that the suite's sequential design draws."""
    problems: dict[str, Positive] = {}
    """Size of each dataset that cannot be loaded where the cost is estimated."""


class Resources(Strict):
    """Resources of one job, which is one cell. Null leaves the cluster's default."""

    partition: str | None = None
    """The partition that jobs are submitted to."""
    account: str | None = None
    """The account that is charged."""
    qos: str | None = None
    """The quality of service that jobs ask for."""
    constraint: str | None = None
    """Features that a machine must have."""
    time_min: Positive = 60
    """Time limit of a job. A job that reaches it saves a checkpoint and is queued again."""
    nodes: Positive = 1
    """Machines that train one cell together."""
    gpus: Count = 0
    """GPUs per machine; each gets one training process."""
    cpus: Positive | None = None
    """Cores per machine."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Memory per machine."""
    array_limit: Positive = 256
    """Jobs of one array that run at the same time. An array is all cells that need the same base."""
    signal_s: Positive = 120
    """Seconds before the time limit at which a job is told to save a checkpoint; one training step must fit."""
    requeue_limit: Positive = 100
    """How often a cell may reach its time limit before it fails."""
    setup: tuple[str, ...] = ()
    """Shell lines that run first, such as `module load cuda`."""
    sbatch: dict[str, str | int] = {}
    """Further options of sbatch, by their long names. The job's name is fixed: jobs are found by it."""
    throughput: Throughput | None = None
    """Measured speeds, from which the cost of a grid is estimated (docs/scaling.md)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.signal_s >= 60 * self.time_min:
            raise ValueError(f"signal_s = {self.signal_s} is not below the time limit of {60 * self.time_min} s")
        if {"job-name", "job_name"} & set(self.sbatch):
            raise ValueError("sbatch has a job name, but `rlvr-gap status` finds jobs by the name that they have")
        return self

    @property
    def processes(self) -> int:
        """Training processes on each machine."""
        return max(1, self.gpus)


def load(path: Path, suite: Resources) -> Resources:
    """The suite's resources with what the file says in their place. Not readable, not valid: UsageError."""
    data: Any = strict_yaml.read(path, str(path)) or {}
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected keys and values, such as partition: gpu.")
    try:
        return Resources.model_validate(suite.model_dump(exclude_unset=True) | data)
    except ValidationError as error:
        raise all_wrong(str(path), findings(Resources, error)) from error
