"""Re-grading: the same text under another verifier, without a model; the stop applied anew, more samples if asked."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.engines import Completion
from benchmarks.engines.scripted import ScriptedEngine
from benchmarks.errors import Failure, UsageError
from benchmarks.evaluation import regrade_dataset as regrade
from benchmarks.evaluation import stage as evaluate
from benchmarks.evaluation.regrade_dataset import regrade as regrade_
from benchmarks.settings import Stops
from benchmarks.tasks.prompts import Template
from benchmarks.verifiers import Verdict
from tests.benchmarks.evaluation.evaluations import DESIGN, PROBLEMS, VERIFIER, pool, rows, run


class Verifier(type(VERIFIER)):
    """Ours, at a later version."""

    VERSION = VERIFIER.VERSION + 1


class Kinder(Verifier):
    """Takes some wrong answers for right ones, so that problems stop earlier."""

    def verify(self, problem, text, finished=True):
        verdict = super().verify(problem, text, finished)
        return Verdict.CORRECT if "3" in text else verdict


class Stricter(Verifier):
    """Takes some right answers for wrong ones, so that problems that had stopped go on."""

    def verify(self, problem, text, finished=True):
        verdict = super().verify(problem, text, finished)
        return Verdict.WRONG if len(problem.data["numbers"]) == 3 else verdict


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "test"
    run(folder)
    return folder


@pytest.fixture
def own(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "own")


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_same_verdicts_give_the_same_counts(finished, own):
    result = regrade_(own, PROBLEMS, Verifier())
    assert (result.lacking, result.changed) == ((), 0)
    assert result.result.question.verifier_version == 2
    assert result.result.engine == "scripted 1"
    assert (own / "counts.jsonl").read_bytes() == (finished / "counts.jsonl").read_bytes()
    assert rows(own) == rows(finished)
    assert run(own, verifier=Verifier()).sampled == 0  # and it is what the new verifier's evaluation would be


def test_earlier_stops_leave_samples_out_of_the_counts_and_in_the_file(finished, own):
    result = regrade_(own, PROBLEMS, Kinder()).result
    assert [row["text"] for row in rows(own)] == [row["text"] for row in rows(finished)]
    assert result.counts.n_N.sum() < len(rows(own))
    for problem, n, correct in zip(PROBLEMS, result.counts.n_N, result.counts.c_N, strict=True):
        mine = [row for row in rows(own) if row["problem_id"] == problem.problem_id][:n]
        verdicts = [Kinder().verify(problem, row["text"], row["finished"]) for row in mine]
        assert [row["verdict"] for row in mine] == verdicts
        assert sum(verdict == "correct" for verdict in verdicts) == correct
    assert regrade_(own, PROBLEMS, Kinder()).changed == 0


def test_a_regrade_can_be_taken_back(finished, own):
    regrade_(own, PROBLEMS, Kinder())
    regrade_(own, PROBLEMS, VERIFIER)
    assert (own / "counts.jsonl").read_bytes() == (finished / "counts.jsonl").read_bytes()
    assert rows(own) == rows(finished)


def test_lacking_samples_are_told_and_nothing_is_touched(own):
    before = content(own)
    result = regrade_(own, PROBLEMS, Stricter())
    assert result.result is None and result.changed > 0
    assert result.lacking
    assert all(problem_id.count("-") == 2 for problem_id in result.lacking)  # those of three numbers
    assert content(own) == before


def test_lacking_samples_are_drawn_where_there_is_an_engine(finished, own):
    with pool() as engines:
        result = regrade_(own, PROBLEMS, Stricter(), pool=engines)
    now, before = rows(own), rows(finished)
    assert result.result.sampled == len(now) - len(before) > 0
    for problem, n in zip(PROBLEMS, result.result.counts.n_N, strict=True):
        mine = [row for row in now if row["problem_id"] == problem.problem_id]
        assert [row["sample"] for row in mine] == list(range(len(mine)))
        assert n == 32 or len(problem.data["numbers"]) == 4
    random = [(row["problem_id"], row["text"]) for row in now if row["text"].startswith("0.")]
    assert len(set(random)) == len(random)  # the new samples are new


@pytest.mark.parametrize("when", ["write_question", "_sample"])
def test_a_killed_regrade_goes_on(own, monkeypatch, when):
    expected = content(shutil.copytree(own, own.parent / "other"))
    with monkeypatch.context() as patch:
        patch.setattr(regrade, when, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            regrade_(own, PROBLEMS, Kinder())
    assert not (own / evaluate.RESULT).exists()
    result = regrade_(own, PROBLEMS, Kinder())
    assert result.result is not None
    regrade_(own.parent / "other", PROBLEMS, Kinder())
    assert content(own)["counts.jsonl"] == content(own.parent / "other")["counts.jsonl"]
    assert content(own)["counts.jsonl"] != expected["counts.jsonl"]
    assert not list(own.glob(".*"))


def test_a_regrade_killed_between_plan_and_completions_is_told_so(own, monkeypatch):
    """The plan is new, the verdicts are old: going on would count them as the new verifier's."""
    with monkeypatch.context() as patch:
        patch.setattr(regrade.Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            regrade_(own, PROBLEMS, Kinder())
    with pytest.raises(Failure, match="graded for another plan: run the re-grade"):
        run(own, verifier=Kinder())
    assert regrade_(own, PROBLEMS, Kinder()).result is not None


def test_what_cannot_be_regraded(own, tmp_path):
    with pytest.raises(Failure, match="sampled for other problems"):
        regrade_(own, PROBLEMS[1:], Kinder())
    with pool(p=0.9) as engines, pytest.raises(UsageError, match="completions are of another model"):
        regrade_(own, PROBLEMS, Kinder(), pool=engines)
    (own / "completions.parquet").unlink()
    with pytest.raises(Failure, match="not finished: finish it first"):
        regrade_(own, PROBLEMS, Kinder())
    with pytest.raises(Failure, match=r"cannot read .*plan.json"):
        regrade_(tmp_path, PROBLEMS, Kinder())


def test_the_design_is_the_folders(own):
    assert regrade_(own, PROBLEMS, Kinder()).result.counts.design == DESIGN


def test_a_regrade_killed_while_it_samples_goes_on(own, monkeypatch):
    """The stored completions are judged by then; what is lacking is drawn, and nothing is refused or lost."""
    engines = pool()
    with monkeypatch.context() as patch:
        patch.setattr(evaluate.Run, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            regrade_(own, PROBLEMS, Stricter(), pool=engines)
    assert not (own / "result.json").exists()
    assert regrade_(own, PROBLEMS, Stricter()).result is None, "without an engine it says that samples are lacking"
    result = regrade_(own, PROBLEMS, Stricter(), pool=engines).result
    assert result is not None and result.question.verifier_version == Stricter.VERSION


# ------------------------------------------------------------------------------------------------ other stops


MORE = Stops(before=("\n", "3"))


@pytest.fixture
def stopped(tmp_path):
    """Sampled with a stop at a digit that some completions have; the scripted engine has no tokens, so by the text."""

    def sample(self, chunk, sampling):
        whole = original(self, chunk, sampling)
        return [[cut(completion, sampling.stops) for completion in row] for row in whole]

    def cut(completion, stops):
        found = stops.find(completion.text)
        if found is None:
            return completion
        return Completion(completion.text[:found], 5, True, completion.text[: found + 1], found)

    original = ScriptedEngine.sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptedEngine, "sample", sample)
        run(tmp_path / "stopped", prompt_template=Template(text="{question}", stops=Stops(before=("3",))))
        yield tmp_path / "stopped"


def test_completions_are_cut_at_other_stops(finished, own):
    """Without stops before: each text ends where the first of the new stops begins, and is finished."""
    result = regrade_(own, PROBLEMS, VERIFIER, stops=MORE, pool=None)
    if result.result is None:  # the new verdicts ask for more samples: nothing was touched
        assert rows(own) == rows(finished)
        with pool() as engines:
            result = regrade_(own, PROBLEMS, VERIFIER, stops=MORE, pool=engines)
    assert result.changed > 0
    assert result.result.question.sampling["stops"] == MORE.model_dump(mode="json")
    for before, after in zip(rows(finished), rows(own), strict=False):
        cut = MORE.find(before["text"])
        assert after["raw"] == (None if cut is None else before["text"])
        assert after["text"] == before["text"][:cut]
        assert (after["cut"], after["finished"], after["tokens"]) == (
            cut, before["finished"] or cut is not None, before["tokens"],
        )  # fmt: skip


def test_stops_can_be_added_and_not_dropped(stopped):
    before = rows(stopped)
    with pytest.raises(Failure, match=r"a completion that the stop '3' has ended, and how it goes on is not known"):
        regrade_(stopped, PROBLEMS, VERIFIER, stops=Stops(before=("\n",)))
    assert rows(stopped) == before
    with pool() as engines:
        regrade_(stopped, PROBLEMS, VERIFIER, stops=MORE, pool=engines, template="raw")
    assert all("\n" not in row["text"] for row in rows(stopped)[: len(before)])
    assert [row["raw"] or row["text"] for row in rows(stopped)[: len(before)]] == [
        row["raw"] or row["text"] for row in before
    ]


@pytest.mark.parametrize(
    "name, now, message",
    [
        ("installed_version", "2", "with version 1, and further ones would be with 2: restore 1"),
        ("precision", "bfloat16", "with precision , and further ones would be with bfloat16"),
    ],
)
def test_no_samples_of_another_version_or_precision_are_added(own, monkeypatch, name, now, message):
    monkeypatch.setattr(ScriptedEngine, name, classmethod(lambda *_: now))
    with pool() as engines, pytest.raises(UsageError, match=message):
        regrade_(own, PROBLEMS, Stricter(), pool=engines)


def test_no_samples_of_an_edited_template_are_added(own):
    with (
        pool() as engines,
        pytest.raises(Failure, match="with other prompts than template 'raw' makes now"),
    ):
        regrade_(own, PROBLEMS, Stricter(), pool=engines, template=Template(text="{question}!"))
