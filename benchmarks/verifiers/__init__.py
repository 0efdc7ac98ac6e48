"""Verifiers judge completions. To add one, add a file here and a line in `VERIFIERS`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.outside import Found, Kind
from benchmarks.outside import find as find_outside
from benchmarks.verifiers.base import Verdict, Verifier

__all__ = ["KIND", "VERIFIERS", "Verdict", "Verifier", "find", "get"]

VERIFIERS = {
    "countdown": "benchmarks.verifiers.countdown:CountdownVerifier",
    "choice": "benchmarks.verifiers.choice:ChoiceVerifier",
    "math": "benchmarks.verifiers.math:MathVerifier",
}
KIND = Kind(
    "verifier", VERIFIERS, "benchmarks.verifiers.base:Verifier", "rlvr_gap.verifiers", needs=("VERSION",)
)  # fmt: skip


def find(reference: str, folder: Path | None = None) -> Found:
    """Returns the class of a verifier by its name, its file (relative to `folder`) or `package.module:Class`."""
    return find_outside(KIND, reference, folder)


def get(reference: str, folder: Path | None = None, **settings: object) -> Verifier:
    """Returns the verifier that `reference` names. UsageError if there is none. Its version covers its source."""
    found = find(reference, folder)
    if found.source is not None:
        found.made_by.SOURCE = found.source.sha256[:16]
    verifier: Verifier = found.made_by(**settings)
    return verifier
