"""What the tests of sweeps share."""

from tests.benchmarks.runs.conftest import few_problems

__all__ = ["few_problems"]
