"""Verifiers judge completions. To add one, add a file here and a line in `VERIFIERS`."""

from __future__ import annotations

from benchmarks.registry import lookup
from benchmarks.verifiers.base import Verdict, Verifier

__all__ = ["VERIFIERS", "Verdict", "Verifier", "get"]

VERIFIERS = {
    "countdown": "benchmarks.verifiers.countdown:CountdownVerifier",
    "math": "benchmarks.verifiers.math:MathVerifier",
}


def get(name: str, **settings: object) -> Verifier:
    """Returns the verifier `name`. Raises ValueError with all known names for an unknown one."""
    return lookup(VERIFIERS, name, "verifier")(**settings)
