"""The answer that the verifier extracted is stored with each completion, and counts the votes of maj@k."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import verifiers
from benchmarks.evaluation import completions, stage
from benchmarks.evaluation.grading import MOST_CHARS, extract
from benchmarks.evaluation.regrade_dataset import regrade
from benchmarks.evaluation.stored import read_samples, read_votes
from benchmarks.files import file_sha256, loads_strict, write_json_atomic
from benchmarks.statistics.maj import Votes
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict, Verifier
from benchmarks.verifiers.conformance import verifier_findings
from tests.benchmarks.evaluation.evaluations import PROBLEMS, VERIFIER, rows, run

PROBLEM = Problem("one", "3 7 12:22", "22", {"numbers": [3, 7, 12]})


@pytest.mark.parametrize(
    "name, text, answer",
    [
        ("countdown", "3+7=10\n\\boxed{ 3 + 7 +12}", "3+7+12"),
        ("countdown", "\\boxed{no expression}", "noexpression"),
        ("countdown", "\\boxed{1} and \\boxed{", "1"),
        ("countdown", "\\boxed{}", None),
        ("countdown", "", None),
        ("math", "so \\boxed{ \\frac{1}{2} }", "\\frac{1}{2}"),
        ("math", "\\boxed{4}, no: <answer>x =\n 5</answer>", "x = 5"),
        ("math", "It is 5.", None),
    ],
)
def test_what_is_extracted(name, text, answer):
    verifier = verifiers.get(name)
    assert verifier.extracts and verifier.extract(PROBLEM, text) == answer


def test_every_stored_row_has_its_answer(tmp_path):
    run(tmp_path / "e")
    found = rows(tmp_path / "e")
    problems = {problem.problem_id: problem for problem in PROBLEMS}
    assert all(row["answer"] == VERIFIER.extract(problems[row["problem_id"]], row["text"]) for row in found)
    assert any(row["answer"] for row in found)


def test_votes_are_those_of_the_first_round(tmp_path):
    run(tmp_path / "e")
    votes = read_votes(tmp_path / "e" / stage.COMPLETIONS)
    assert votes is not None and set(votes) == {problem.problem_id for problem in PROBLEMS}
    assert {one.n for one in votes.values()} == {8}
    one = PROBLEMS[3].problem_id
    first = [row for row in rows(tmp_path / "e") if row["problem_id"] == one and row["round"] == 0]
    assert votes[one] == Votes.of([r["answer"] for r in first], [r["verdict"] == "correct" for r in first])
    assert [row["sample"] for row in read_samples(tmp_path / "e" / stage.COMPLETIONS, one)][:8] == list(range(8))


def test_files_from_before_there_were_answers_are_read_and_a_regrade_adds_them(tmp_path):
    run(tmp_path / "e")
    path = tmp_path / "e" / stage.COMPLETIONS
    expected = pq.read_table(path)
    meta = completions.read_meta(path)
    older = expected.drop_columns(["answer"])
    pq.write_table(older, path, write_page_checksum=True)
    assert read_votes(path) is None
    assert (
        pa.concat_tables(completions.read_tables(path))
        .drop_columns(["answer"])
        .equals(older.replace_schema_metadata(None))
    )
    assert completions.read_meta(path) == meta

    class Newer(type(VERIFIER)):
        VERSION = VERIFIER.VERSION + 1

    result = tmp_path / "e" / stage.RESULT
    write_json_atomic(result, loads_strict(result.read_text()) | {"completions_sha256": file_sha256(path)})
    done = regrade(tmp_path / "e", PROBLEMS, Newer())
    assert done.changed == 0 and pq.read_table(path)["answer"].equals(expected["answer"])


class Own(Verifier):
    """Right is what contains the answer."""

    name = "own"
    VERSION = 1

    def verify(self, problem, text, finished=True):
        return Verdict.CORRECT if problem.answer in text else Verdict.WRONG


def test_a_verifier_need_not_extract():
    assert not Own().extracts and extract(Own(), [PROBLEM] * 2, ["a", "b"]) == [None, None]


def test_an_extraction_that_fails_on_one_text_costs_that_one_alone():
    class Fails(Own):
        def extract(self, problem, text):
            return {"long": "x" * 5_000, "other": "x" * 5_001}.get(text) or str(1 // len(text))

    one, none, long, other = extract(Fails(), [PROBLEM] * 4, ["a", "", "long", "other"])
    assert (one, none) == ("1", None)
    assert len(long) == len(other) == MOST_CHARS and long != other


@pytest.mark.parametrize("answer, words", [(5, "extract returns 5, expected a str or None"), (None, "extract raises")])
def test_conformance_covers_it(answer, words):
    class Wrong(Own):
        """Right is what contains the answer."""

        def extract(self, problem, text):
            if answer is None:
                raise RuntimeError("no luck")
            return answer

    assert any(words in sentence for sentence in verifier_findings(Wrong()))
