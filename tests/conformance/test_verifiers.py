"""What every verifier must do; one of the project joins by its line in `VERIFIERS`, and one of a user by its file."""

from __future__ import annotations

import pytest

from benchmarks import verifiers
from benchmarks.errors import Failure
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict, Verifier
from benchmarks.verifiers.base import probes
from benchmarks.verifiers.conformance import verifier_findings
from benchmarks.verifiers.math import MathVerifier

PROBLEMS = {
    "countdown": Problem("one", "3 7 12:22", "22", {"numbers": [3, 7, 12]}),
    "choice": Problem("one", "Which?\nA) 1\nB) 2", "B", {"letters": "AB"}),
    "math": Problem("one", "What is 1 + 1?", "2"),
}


@pytest.mark.parametrize("name", verifiers.VERIFIERS)
def test_it_keeps_to_what_every_verifier_must(name: str) -> None:
    settings = {"timeout_s": 1.0, "workers": 1} if name == "math" else {}
    verifier = verifiers.get(name, **settings)
    assert verifier_findings(verifier, [PROBLEMS[name]]) == []
    verifier.close()


@pytest.mark.parametrize("name", verifiers.VERIFIERS)
def test_a_probe_is_never_an_error(name: str) -> None:
    """An ERROR on one of these ends a run, so no working verifier may give it."""
    verifier = verifiers.get(name)
    for text in probes(PROBLEMS[name]):
        assert verifier.verify(PROBLEMS[name], text) in (Verdict.CORRECT, Verdict.WRONG)
    verifier.close()


class Broken(MathVerifier):
    """Compares with a judge that is not installed."""

    def __init__(self) -> None:
        super().__init__(judge="no_such_module:make")


class Missing(Verifier):
    """Needs a module that is not installed, and says so when it is first used."""

    name = "missing"
    VERSION = 1

    def verify(self, problem: Problem, text: str, finished: bool = True) -> Verdict:
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401

        return Verdict.WRONG


def test_a_verifier_that_cannot_work_does_not_pass() -> None:
    with pytest.raises(Failure, match="could not start: ModuleNotFoundError"):
        verifier_findings(Broken())
    assert any("No module named 'no_such_module'" in sentence for sentence in verifier_findings(Missing()))
