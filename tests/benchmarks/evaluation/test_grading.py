"""A verifier that cannot work is a Failure, wherever it is asked; what a completion does to it is an ERROR."""

from __future__ import annotations

import pytest

from benchmarks.errors import Failure
from benchmarks.evaluation import stage
from benchmarks.evaluation.grading import judge
from benchmarks.evaluation.regrade_dataset import regrade
from benchmarks.files import read_text
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict, Verifier
from benchmarks.verifiers.conformance import verifier_findings
from benchmarks.verifiers.math import MathVerifier
from tests.benchmarks.evaluation.evaluations import PROBLEMS, VERIFIER, run

PROBLEM = Problem("one", "What is 1 + 1?", "2")
TEXTS = ["\\boxed{2}", "\\boxed{3}", "nothing", "bomb"]


class Own(Verifier):
    """Right is what contains the answer; `fail` says what happens first."""

    name = "own"
    VERSION = 1

    def fail(self, text: str) -> None:
        """Raises what the test wants."""

    def verify(self, problem, text, finished=True):
        self.fail(text)
        return Verdict.CORRECT if problem.answer in text else Verdict.WRONG


def own(fail) -> Verifier:
    return type("Mine", (Own,), {"fail": fail, "__doc__": Own.__doc__})()


def raising(error: Exception, when=lambda text: True):
    def fail(self, text):
        if when(text):
            raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'judge_of_mine'"),
        OSError(28, "No space left on device"),
        OSError(12, "Cannot allocate memory"),
        Failure("a worker process could not start."),
    ],
)
@pytest.mark.parametrize("when", [lambda text: True, lambda text: "3" in text])
def test_what_the_machine_lacks_is_a_failure_even_if_one_text_alone_finds_it(error, when):
    """A judge may be imported only for what it compares, so that an empty completion would not find it missing."""
    with pytest.raises(Failure, match=str(error.args[-1])):
        judge(own(raising(error, when)), [PROBLEM] * 4, TEXTS, [True] * 4)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no luck"), OSError(36, "File name too long")])
def test_what_fails_on_everything_is_a_failure(error):
    with pytest.raises(Failure, match=r"verifier 'own' does not work: on '' for problem 'one', \w+"):
        judge(own(raising(error)), [PROBLEM] * 4, TEXTS, [True] * 4)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no luck"), OSError(36, "File name too long")])
def test_what_fails_on_one_completion_is_an_error(error):
    verdicts, _ = judge(own(raising(error, lambda text: "bomb" in text)), [PROBLEM] * 4, TEXTS, [True] * 4)
    assert verdicts == [Verdict.CORRECT, Verdict.WRONG, Verdict.WRONG, Verdict.ERROR]


def test_a_verifier_that_hides_its_failure_as_an_error_is_found():
    class Hiding(Own):
        """Needs a judge that is not there, and says error where it should raise."""

        def verify(self, problem, text, finished=True):
            if "boxed" not in text:
                return Verdict.WRONG
            return Verdict.ERROR

    with pytest.raises(Failure, match=r"verifier 'own' does not work: .* it gives the verdict ERROR"):
        judge(Hiding(), [PROBLEM] * 4, TEXTS, [True] * 4)
    found = [sentence for sentence in verifier_findings(Hiding()) if "cannot be to blame" in sentence]
    assert len(found) == 1 and "raise Failure where the verifier itself cannot work" in found[0]


def test_a_chain_check_that_fails_on_everything_is_a_failure():
    class Chains(Own):
        def check_chain(self, problem, text):
            raise RuntimeError("no luck")

    with pytest.raises(Failure, match="verifier 'own' cannot check chains: RuntimeError: no luck"):
        judge(Chains(), [PROBLEM], ["2"], [True])
    assert judge(Chains(), [PROBLEM], ["2"], [True], chains=False) == ([Verdict.CORRECT], [None])


def test_a_judge_that_cannot_be_imported_ends_an_evaluation_and_a_regrade(tmp_path):
    """It gave 32 of 32 ERROR and a finished evaluation."""
    run(tmp_path / "e", problems=PROBLEMS[:4])
    before = {name: read_text(tmp_path / "e" / name) for name in ("plan.json", stage.RESULT, stage.COUNTS)}

    class Broken(MathVerifier):
        name = "countdown"
        VERSION = VERIFIER.VERSION + 1

        def __init__(self):
            super().__init__(judge="no_such_module:make")

    with pytest.raises(Failure, match="could not start: ModuleNotFoundError"):
        run(tmp_path / "f", problems=PROBLEMS[:4], verifier=Broken())
    assert not (tmp_path / "f" / stage.RESULT).exists()
    with pytest.raises(Failure, match="could not start: ModuleNotFoundError"):
        regrade(tmp_path / "e", PROBLEMS[:4], Broken())
    assert before == {name: read_text(tmp_path / "e" / name) for name in before}, "the old grades stand"
