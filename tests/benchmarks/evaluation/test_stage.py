"""The evaluation stage on the scripted engine: the right counts, from the right chunks."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest

from benchmarks.base_models.recipe import make_tokenizer
from benchmarks.engines import Completion
from benchmarks.engines.pool import EngineSpec
from benchmarks.engines.scripted import ScriptedEngine, answer
from benchmarks.errors import UsageError
from benchmarks.evaluation import completions
from benchmarks.evaluation.grading import judge
from benchmarks.evaluation.plan import Question, plan_round, problems_hash
from benchmarks.evaluation.stage import powers_of_two
from benchmarks.evaluation.tally import Tally
from benchmarks.settings import Stops
from benchmarks.statistics.counts import read_counts
from benchmarks.statistics.passk import FixedDesign
from benchmarks.tasks import prompts
from benchmarks.tasks.prompts import Template
from benchmarks.verifiers import Verdict
from tests.benchmarks.evaluation.evaluations import DESIGN, PROBLEMS, VERIFIER, pool, rows, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished evaluation, to be read only."""
    folder = tmp_path_factory.mktemp("finished") / "eval" / "test"
    return folder, run(folder)


# ------------------------------------------------------------------------------------------------ what comes of it


def test_counts_are_those_of_the_completions(finished):
    folder, result = finished
    for problem_id, n, correct, tokens in zip(
        result.counts.problem_ids, result.counts.n_N, result.counts.c_N, result.counts.extra["tokens"], strict=True
    ):
        mine = [row for row in rows(folder) if row["problem_id"] == problem_id]
        assert [row["sample"] for row in mine] == list(range(n))
        assert sum(row["verdict"] == "correct" for row in mine) == correct
        assert sum(row["tokens"] for row in mine) == tokens
    assert result.counts.problem_ids == tuple(problem.problem_id for problem in PROBLEMS)
    assert set(result.counts.n_N) == {8, 16, 32}, "the problems should stop at every checkpoint"


def test_every_problem_stops_where_the_design_says(finished):
    """At the first checkpoint with three correct among its first n samples, in the order in which they were drawn."""
    for problem_id, n in zip(finished[1].counts.problem_ids, finished[1].counts.n_N, strict=True):
        verdicts = [row["verdict"] == "correct" for row in rows(finished[0]) if row["problem_id"] == problem_id]
        assert n == next((stop for stop in DESIGN.rounds if sum(verdicts[:stop]) >= 3), 32)


def test_verdicts_are_the_verifiers(finished):
    problems = {problem.problem_id: problem for problem in PROBLEMS}
    for row in rows(finished[0])[::7]:
        problem = problems[row["problem_id"]]
        assert row["verdict"] == VERIFIER.verify(problem, row["text"], row["finished"])
        assert row["chain"] == VERIFIER.check_chain(problem, row["text"])


def test_no_two_samples_of_a_problem_share_a_chunks_seed_and_text(finished):
    wrong = [(row["problem_id"], row["text"]) for row in rows(finished[0]) if row["verdict"] == "wrong"]
    assert len(set(wrong)) == len(wrong)  # a wrong text of the script holds a random number


def test_nothing_but_the_results_is_left(finished):
    assert sorted(file.name for file in finished[0].iterdir()) == [
        "completions.parquet", "counts.jsonl", "plan.json", "result.json",
    ]  # fmt: skip


def test_a_records_evaluation(finished):
    folder, result = finished
    found = result.evaluation(folder.parents[1], ks=(1, 8, 32))
    assert set(found.pass_at_k) == {1, 8, 32}
    assert found.counts.path == "eval/test/counts.jsonl"
    assert found.completions == found.verdicts.total == len(rows(folder)) == result.sampled
    assert found.tokens == sum(row["tokens"] for row in rows(folder))
    assert found.sampling.model_dump()["seed"] == 5
    assert found.chains.checked == found.completions
    assert (found.versions.task, found.versions.verifier, found.engine) == (1, VERIFIER.VERSION, "scripted 1")
    assert set(result.evaluation(folder.parents[1]).pass_at_k) == {1, 2, 4, 8, 16, 32}


@pytest.mark.parametrize("largest, expected", [(1, [1]), (6, [1, 2, 4, 6]), (256, [2**i for i in range(9)])])
def test_powers_of_two(largest, expected):
    assert powers_of_two(largest) == expected


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_does_not_matter(finished, tmp_path, workers):
    run(tmp_path / "e", pool(workers))
    assert (tmp_path / "e/counts.jsonl").read_bytes() == (finished[0] / "counts.jsonl").read_bytes()
    assert rows(tmp_path / "e") == rows(finished[0])


def test_another_seed_gives_other_samples(finished, tmp_path):
    run(tmp_path / "e", seed=6)
    assert {row["text"] for row in rows(tmp_path / "e") if row["verdict"] == "wrong"}.isdisjoint(
        row["text"] for row in rows(finished[0])
    )


def test_a_fixed_design(tmp_path):
    result = run(tmp_path / "e", pool(rows_per_batch=5), design=FixedDesign(12))  # more samples than a chunk has rows
    assert set(result.counts.n_N) == {12}
    assert {row["round"] for row in rows(tmp_path / "e")} == {0}
    assert len({row["seed"] for row in rows(tmp_path / "e")}) == 3 * len(PROBLEMS)


# ------------------------------------------------------------------------------------------------ chunks


def question(**changes) -> Question:
    asked = {
        "dataset": "test", "model": "m", "problems": "h", "n_problems": 24, "task_version": 1, "verifier": "v",
        "task_revision": None, "verifier_version": 1, "prompt_template": "raw", "prompts": "p", "chat": False,
        "sampling": {}, "design": {}, "seed": 5, "engine": "e", "engine_version": "1", "precision": "",
        "rows_per_batch": 48,
    }  # fmt: skip
    return Question(**asked | changes)


def test_chunks_hold_each_sample_once_and_prompts_of_like_length():
    planned = plan_round(question(), PROBLEMS, 1, DESIGN)
    held = [(i, s) for p in planned for i in p.problem_ids for s in range(p.first, p.first + p.chunk.n)]
    assert sorted(held) == sorted((problem.problem_id, s) for problem in PROBLEMS for s in range(8, 16))
    assert all(p.chunk.rows <= 48 for p in planned)
    lengths = [len(prompt) for p in planned for prompt in p.chunk.prompts]
    assert lengths == sorted(lengths, reverse=True)


def test_seeds_depend_on_everything_that_they_must():
    first = {p.chunk.seed for p in plan_round(question(), PROBLEMS, 0, DESIGN)}
    assert len(first) == len(plan_round(question(), PROBLEMS, 0, DESIGN))
    for other, number in ((question(dataset="ood"), 0), (question(seed=6), 0), (question(), 1)):
        assert first.isdisjoint(p.chunk.seed for p in plan_round(other, PROBLEMS, number, DESIGN))
    assert first == {p.chunk.seed for p in plan_round(question(), PROBLEMS[::-1], 0, DESIGN)}


class Listening(ScriptedEngine):
    """Keeps what it is asked."""

    asked: ClassVar[list] = []

    def sample(self, chunk, sampling):
        self.asked.append((chunk, sampling))
        return super().sample(chunk, sampling)


@pytest.fixture
def listening(monkeypatch):
    monkeypatch.setattr(Listening, "asked", [])
    monkeypatch.setattr(EngineSpec, "make", lambda self: Listening(**self.settings))
    return Listening.asked


def test_templates_are_put_around_the_problem_and_bring_their_stops(tmp_path, listening):
    result = run(tmp_path / "e", prompt_template="boxed")
    boxed = prompts.find("boxed")
    rendered = {prompts.render(boxed, problem.prompt) for problem in PROBLEMS}
    assert {prompt for chunk, _ in listening for prompt in chunk.prompts} == rendered
    assert {(chunk.chat, sampling.stops) for chunk, sampling in listening} == {(False, boxed.stops)}
    record = result.evaluation(tmp_path)
    assert record.sampling.model_extra["stops"] == boxed.stops.model_dump(mode="json")


def test_a_chat_template_is_applied_before_the_engine(tmp_path, listening, monkeypatch):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "<{{ messages[0].content }}>"
    monkeypatch.setattr(ScriptedEngine, "load_tokenizer", classmethod(lambda *_: tokenizer))
    run(tmp_path / "e", prompt_template="chat")
    assert {chunk.chat for chunk, _ in listening} == {True}
    assert all(prompt[0] + prompt[-1] == "<>" for chunk, _ in listening for prompt in chunk.prompts)


def test_an_unknown_template_is_named(tmp_path):
    with pytest.raises(UsageError, match="unknown prompt template 'box'"):
        run(tmp_path / "e", prompt_template="box")
    with pytest.raises(UsageError, match="engine 'scripted' has no tokenizer"):
        run(tmp_path / "e", prompt_template="chat")


def test_what_the_verifier_reads_is_kept_beside_all_that_was_written(tmp_path, monkeypatch):
    """A stop comes after the answer, and another box after the stop: the cut and the raw text are stored."""
    raw = "\\boxed{%s}\nHuman: again?\n\\boxed{1}"

    def sample(self, chunk, sampling):
        def written(prompt):
            text = raw % answer(prompt).removeprefix("\\boxed{").removesuffix("}")
            cut = sampling.stops.find(text)
            return Completion(text if cut is None else text[:cut], 9, cut is not None, text, cut)

        return [[written(prompt)] * chunk.n for prompt in chunk.prompts]

    monkeypatch.setattr(ScriptedEngine, "sample", sample)
    stopping = Template(text="{question}", stops=Stops(before=("\nHuman:",)))
    assert run(tmp_path / "with", prompt_template=stopping, design=FixedDesign(2)).counts.c_N.tolist() == [2] * 24
    assert run(tmp_path / "without", design=FixedDesign(2)).counts.c_N.tolist() == [0] * 24
    row = rows(tmp_path / "with")[0]
    assert row["raw"][: row["cut"]] == row["text"] and row["raw"].endswith("\\boxed{1}")
    assert (row["finished"], row["verdict"]) == (True, "correct")
    assert {row["verdict"] for row in rows(tmp_path / "without")} == {"truncated"}


def test_a_round_is_whole_before_its_stop_is_tested():
    """Three correct among the first samples to come back do not stop a problem whose round is not all there."""
    tally = Tally(["a"], DESIGN)
    tally.add(table("a", ["correct"] * 3))
    assert tally.lacking() == {0: ["a"]}
    tally.add(table("a", ["wrong"] * 5))
    assert tally.lacking() == {}
    assert tally.counts().n_N.tolist() == [8]


def table(problem_id: str, verdicts: list[str]):
    n = len(verdicts)
    columns = {"problem_id": [problem_id] * n, "round": [0] * n, "sample": range(n), "text": ["x"] * n}
    columns |= {"verdict": verdicts, "chain": [None] * n, "tokens": [1] * n, "finished": [True] * n, "seed": [0] * n}
    return completions.make_table(columns)


# ------------------------------------------------------------------------------------------------ odd cases


class Crashing(type(VERIFIER)):
    """Fails on some texts, as a verifier of untrusted text may."""

    def verify(self, problem, text, finished=True):
        if "7" in text:
            raise RecursionError("too deep")
        return super().verify(problem, text, finished)

    def check_chain(self, problem, text):
        raise MemoryError


def test_a_crash_of_the_verifier_is_an_error_of_that_completion_alone(tmp_path):
    result = run(tmp_path / "e", verifier=Crashing())
    for row in rows(tmp_path / "e"):
        assert (row["verdict"] == Verdict.ERROR) == ("7" in row["text"])
        assert row["chain"] is None
    assert result.chains is None
    assert sum(result.counts.extra["error"]) > 0
    assert read_counts(tmp_path / "e/counts.jsonl").verdicts("error").sum() == sum(result.counts.extra["error"])


def test_rows_that_are_alike_are_judged_once():
    asked = []

    class Counting(type(VERIFIER)):
        def verify_many(self, problems, texts, finished=None):
            asked.extend(texts)
            return super().verify_many(problems, texts, finished)

    problems = [PROBLEMS[0], PROBLEMS[1], PROBLEMS[0], PROBLEMS[0]]
    found = judge(Counting(), problems, ["a", "a", "a", "a"], [True, True, True, False])
    assert found == ([Verdict.WRONG] * 3 + [Verdict.TRUNCATED], [False] * 4)
    assert asked == ["a"] * 3
    assert judge(Counting(), [], [], []) == ([], [])


def test_text_that_is_no_unicode_is_kept_as_far_as_it_goes():
    columns = {name: [0] for name in completions.COMPLETIONS_SCHEMA.names}
    columns |= {
        "problem_id": ["p"],
        "text": ["a\ud800\nb\x00"],
        "verdict": ["wrong"],
        "chain": [True],
        "raw": ["\ud800"],
        "special": [None],
    }
    columns |= {"finished": [True]}
    assert completions.make_table(columns)["text"].to_pylist() == ["a?\nb\x00"]


def test_the_plan_is_readable(finished):
    plan = json.loads((finished[0] / "plan.json").read_text())
    assert plan["question"]["problems"] == problems_hash(PROBLEMS)
    assert plan["question"]["design"] == {"rounds": [8, 16, 32], "stop_after": 3}
