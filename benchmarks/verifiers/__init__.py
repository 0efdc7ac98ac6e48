"""What judges a completion. Add one: a file here, and a line in `VERIFIERS`."""

from __future__ import annotations

from benchmarks.registry import lookup
from benchmarks.verifiers.base import Verdict, Verifier

__all__ = ["VERIFIERS", "Verdict", "Verifier", "get"]

VERIFIERS = {
    "countdown": "benchmarks.verifiers.countdown:CountdownVerifier",
    "math": "benchmarks.verifiers.math:MathVerifier",
}


def get(name: str, **settings: object) -> Verifier:
    """The verifier called `name`. Unknown name: ValueError that lists the known ones."""
    return lookup(VERIFIERS, name, "verifier")(**settings)
