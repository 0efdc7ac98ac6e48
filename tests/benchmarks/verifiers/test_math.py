"""The math verifier: how an answer is found, what is equal, and that nothing an answer does can hang it or make it lie.

Deadlines are in seconds of processor time and belong to the verifier: no test here measures time.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import tasks, verifiers
from benchmarks.tasks import Problem
from benchmarks.verifiers import Verdict, math_worker
from benchmarks.verifiers.math import MathVerifier, extract_answer

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "math"


def gold(answer: str) -> Problem:
    return Problem("p", "What is it?", answer)


def boxed(answer: str) -> str:
    return f"So it is $\\boxed{{{answer}}}$."


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    made = verifiers.get("math", workers=1)
    assert isinstance(made, MathVerifier)
    yield made
    made.close()


@pytest.fixture
def judged_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., MathVerifier]]:
    """A verifier whose judge is the body of a function `judge(gold, answer)` given as source."""
    made: list[MathVerifier] = []
    monkeypatch.syspath_prepend(tmp_path)

    def make(source: str, **settings: object) -> MathVerifier:
        name = f"injected_{len(made)}"
        body = "".join(f"    {line}\n" for line in source.splitlines())
        (tmp_path / f"{name}.py").write_text(
            f"import os, sys, time\ndef judge(gold, answer):\n{body}\ndef make():\n    return judge\n"
        )
        made.append(MathVerifier(judge=f"{name}:make", **{"workers": 1, **settings}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


# ------------------------------------------------------------------------------------------- the extraction


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"thus \boxed{5}.", "5"),
        (r"\boxed{4}, no: \boxed{5}", "5"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {5}", "5"),
        (r"\\boxed{5}", "5"),
        (r"\{ \boxed{5} \}", "5"),
        (r"\boxed{x = \boxed{5}}", "5"),
        (r"<answer> 5 </answer>", "5"),
        (r"<answer>4</answer> <answer>5</answer>", "5"),
        (r"<answer>\boxed{5}</answer>", "5"),
        (r"\boxed{<answer>5</answer>}", "5"),
        (r"\boxed{4} <answer>5</answer>", "5"),
        (r"<answer>4</answer> \boxed{5}", "5"),
        (r"\boxed{5}, which can be written as \boxed{5", "5"),
        (r"\boxed{6 \boxed{5}", "5"),
        (r"<answer>5</answer> or <answer>6", "5"),
        (r"<answer>5</answer> or </answer>", "5"),
        (r"\boxed{5}. I was asked for a \boxed{}.", "5"),
        (r"<answer>5</answer><answer> </answer>", "5"),
        (r"} stray \boxed{5} { braces", "5"),
        (r"\boxed{5", None),
        (r"\boxed{5\}", None),
        (r"\boxed{\frac{1}{2}", None),
        (r"<answer>5", None),
        (r"</answer>5<answer>", None),
        (r"\boxed 5", None),
        (r"\fbox{5} or \boxedfoo{5}", None),
        (r"\boxed{ }", None),
        ("It is 5.", None),
        ("", None),
    ],
)
def test_the_last_complete_answer_is_extracted(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "piece", [r"\boxed{", "{", "}", "<answer>", "</answer>", "\\", r"\boxed{}", "<answer></answer>"]
)
def test_extraction_takes_linear_time(piece: str) -> None:
    """Quadratic time would run for hours on these."""
    assert extract_answer(piece * 200_000) is None
    assert extract_answer(piece * 200_000 + r" \boxed{5}") == "5"


# ------------------------------------------------------------------------------------------------ verdicts


def test_the_four_verdicts(verifier: MathVerifier) -> None:
    rows = [
        (boxed("0.5"), True, Verdict.CORRECT),
        (boxed("0.5") + " Let me check that again, bec", False, Verdict.CORRECT),
        (boxed("2"), True, Verdict.WRONG),
        (boxed("2"), False, Verdict.TRUNCATED),
        ("It is one half.", True, Verdict.WRONG),
        ("It is one", False, Verdict.TRUNCATED),
        (r"\boxed{\frac{1}{", False, Verdict.TRUNCATED),
    ]
    texts, finished, expected = zip(*rows, strict=True)
    problems = [gold(r"\frac{1}{2}")] * len(rows)
    assert verifier.verify_many(problems, texts, finished) == list(expected)
    assert [verifier.verify(*row) for row in zip(problems, texts, finished, strict=True)] == list(expected)


def test_the_default_is_a_finished_completion(verifier: MathVerifier) -> None:
    assert verifier.verify_many([gold("1")], ["no answer"]) == [Verdict.WRONG]
    assert verifier.verify_many([], []) == []
    with pytest.raises(ValueError, match=r"shorter|longer"):
        verifier.verify_many([gold("1")], [])


def test_nothing_is_said_of_the_chain(verifier: MathVerifier) -> None:
    assert verifier.check_chain(gold("1"), boxed("1")) is None


EQUAL = [
    ("5", "x = 5"),
    ("5", "5."),
    ("5", "$5$"),
    ("5", r"\(5\)"),
    ("5", r"\[ 5 \]"),
    ("5", "5.0"),
    ("42", "The answer is $42$."),
    ("1,234", "1234"),
    ("1234", "1 234"),
    ("25", "025"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac{3}{2}", "1 1/2"),
    (r"\frac{1}{3}", "0.333333"),
    ("42", r"42\text{ cm}"),
    (r"90^\circ", "90"),
    ("10", r"10\%"),
    ("-7, 7", r"\pm 7"),
    (r"\{1, 2\}", "2, 1"),
    (r"(3, \infty)", r"(3, +\infty)"),
    ("a^2 + 3a - 10", "(a-2)(a+5)"),
    (r"50 \cdot \binom{9}{3}", r"50\binom{9}{3}"),
    ("1.6e-7", r"1.6 \times 10^{-7}"),
    (r"\text{Evelyn}", "Evelyn"),
    ("$2$", "2"),
    (r"\frac{81}{82^{10}", r"\frac{81}{82^{10}}"),  # golds that lack a brace exist
]
DIFFERENT = [
    ("5", "6"),
    ("3", "1 2"),
    ("5", "5 or 6"),
    ("3", "1, 2, 3"),
    ("5", r"\frac{1}{0}"),
    ("5", "5x"),
    ("5", "yes"),
    ("5", "5}{6"),
    ("(1, 2)", "(2, 1)"),
    ("(1, 2)", "[1, 2]"),
    ("0.00000016", "0.0000003"),
    (r"6.67 \times 10^{-20}", r"1.2 \times 10^{-20}"),
    (r"\frac{1}{3}", "0.33"),
    ("3.14", r"\pi"),
    ("x + 1", "y + 1"),
    (r"\text{Monday}", r"\text{Tuesday}"),
    ("42", "The first is $41$ and not 42."),
]


def test_what_is_equal_and_what_is_not(verifier: MathVerifier) -> None:
    rows = [(*pair, Verdict.CORRECT) for pair in EQUAL] + [(*pair, Verdict.WRONG) for pair in DIFFERENT]
    # In tags, where an answer need not have balanced braces.
    verdicts = verifier.verify_many([gold(g) for g, _, _ in rows], [f"<answer>{a}</answer>" for _, a, _ in rows])
    assert [row for row, verdict in zip(rows, verdicts, strict=True) if verdict != row[2]] == []


def test_gold_comes_first(judged_by: Callable[..., MathVerifier]) -> None:
    picky = judged_by("return 'equal' if (gold, answer) == ('the gold', 'the answer') else 'different'")
    assert picky.verify(gold("the gold"), boxed("the answer")) == Verdict.CORRECT
    assert picky.verify(gold("the answer"), boxed("the gold")) == Verdict.WRONG


def test_the_own_problems(verifier: MathVerifier) -> None:
    problems = tasks.get("jsonl", path=str(FIXTURES / "problems.jsonl")).load("test")
    assert verifier.verify_many(problems, [boxed(p.answer) for p in problems]) == [Verdict.CORRECT] * len(problems)
    swapped = [*problems[1:], problems[0]]
    assert verifier.verify_many(problems, [boxed(p.answer) for p in swapped]) == [Verdict.WRONG] * len(problems)


def test_a_problem_without_a_gold_answer_is_an_error(verifier: MathVerifier) -> None:
    assert verifier.verify_many([gold(" "), gold("5")], [boxed("5")] * 2) == [Verdict.ERROR, Verdict.CORRECT]


# ------------------------------------------------------------------------------------------ hostile answers


def test_bombs_end_at_the_deadline_and_cost_nobody_else() -> None:
    bombs = [
        "9^{9^{9^9}}",
        "100000000!",
        r"\binom{10^9}{5 \cdot 10^8}",
        r"\sum_{n=1}^{10^9} n^{99}",
        "{" * 300 + "5" + "}" * 300,
    ]
    answers = ["5", *bombs[:2], "6", *bombs[2:], "5.0"]
    verifier = MathVerifier(timeout_s=1.0, workers=2)
    try:
        verdicts = verifier.verify_many([gold("5")] * len(answers), [boxed(answer) for answer in answers])
        assert verdicts[0] == verdicts[-1] == Verdict.CORRECT
        assert verdicts[3] == Verdict.WRONG
        judged = [verdicts[i] for i in (1, 2, 4, 5, 6)]
        assert Verdict.CORRECT not in judged
        assert verdicts[1] == Verdict.ERROR
        assert verifier.failures.total() == judged.count(Verdict.ERROR), "the others were found to be different in time"
        assert verifier.verify(gold("7"), boxed("14/2")) == Verdict.CORRECT
    finally:
        verifier.close()


@pytest.mark.parametrize(
    "text",
    [
        boxed("1+" * 50_000 + "1"),
        boxed("(" * 50_000),
        f"<answer>{'5' * 100_000}</answer>",
        r"\frac{" * 20_000,
        boxed("{" * 50_000 + "}" * 50_000),
    ],
)
def test_very_long_answers_are_not_equal_and_reach_no_parser(judged_by: Callable[..., MathVerifier], text: str) -> None:
    strict = judged_by("raise AssertionError('a parser was reached')")
    assert strict.verify(gold("5"), text) == Verdict.WRONG
    assert strict.verify(gold("5"), text, finished=False) == Verdict.TRUNCATED
    assert not strict.failures


def test_a_long_gold_can_be_answered(judged_by: Callable[..., MathVerifier]) -> None:
    generous = judged_by("return 'equal'")
    assert generous.verify(gold("5+" * 2_000 + "5"), boxed("5 + " * 1_000)) == Verdict.CORRECT


def test_a_worker_that_dies_costs_its_own_item(judged_by: Callable[..., MathVerifier]) -> None:
    fragile = judged_by("if answer == 'die':\n    os._exit(3)\nreturn 'equal' if gold == answer + '!' else 'different'")
    answers = ["a", "die", "b", "c", "d"]
    problems = [gold("a!"), gold("b!"), gold("b!"), gold("x"), gold("d!")]
    correct, wrong, error = Verdict.CORRECT, Verdict.WRONG, Verdict.ERROR
    verdicts = fragile.verify_many(problems, [boxed(answer) for answer in answers])
    assert verdicts == [correct, error, correct, wrong, correct]
    assert fragile.failures == {"died": 1}
    assert fragile.verify(gold("b!"), boxed("die"), finished=False) == error
    assert fragile.failures == {"died": 2}, "a death may have other causes: it is not remembered"


def test_a_judge_that_waits_is_killed_too(judged_by: Callable[..., MathVerifier]) -> None:
    sleepy = judged_by("if answer == 'sleep':\n    time.sleep(10_000)\nreturn 'equal'", timeout_s=0.1)
    verdicts = sleepy.verify_many([gold("1")] * 3, [boxed(answer) for answer in ("a", "sleep", "b")])
    assert verdicts == [Verdict.CORRECT, Verdict.ERROR, Verdict.CORRECT]
    assert sleepy.failures == {"deadline": 1}


def test_a_judge_that_swallows_every_exception_is_killed(judged_by: Callable[..., MathVerifier]) -> None:
    source = "while answer == '2':\n    try:\n        while True: pass\n    except BaseException: pass\nreturn ''"
    stubborn = judged_by(source, timeout_s=0.2)
    assert stubborn.verify(gold("1"), boxed("2")) == Verdict.ERROR
    assert stubborn.failures == {"deadline": 1}


def test_memory_is_limited(judged_by: Callable[..., MathVerifier]) -> None:
    source = "if answer == 'eat':\n    bytearray(4 << 30)\nreturn 'different'"
    hungry = judged_by(source, memory_mb=512)
    verdicts = hungry.verify_many([gold("1")] * 3, [boxed(answer) for answer in ("a", "eat", "b")])
    assert verdicts == [Verdict.WRONG, Verdict.ERROR, Verdict.WRONG]
    assert hungry.failures == {"MemoryError": 1}


@pytest.mark.parametrize("kind", [MemoryError, RecursionError])
def test_an_exhaustion_that_is_swallowed_is_no_difference(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def equal(expected: object, given: object) -> bool:
        def parse() -> None:
            raise kind

        try:
            parse()
        except Exception:  # noqa: BLE001  (what math-verify and sympy do)
            return False
        return True

    monkeypatch.setattr(math_worker, "_equal", equal)
    with pytest.raises(kind):
        math_worker.judge("2^3", "2^{30!}")
    assert sys.gettrace() is None or "watched" not in repr(sys.gettrace())


def test_a_real_recursion_is_no_difference() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        with pytest.raises(RecursionError):
            math_worker.judge("8", "(" * 20 + "2^3" + ")" * 20)
    finally:
        sys.setrecursionlimit(limit)


def test_an_exception_of_the_comparison_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(*_: object, **__: object) -> bool:
        raise TypeError("cannot compare these")

    monkeypatch.setattr("math_verify.verify", verify)
    with pytest.raises(TypeError):
        math_worker.judge("5", "x")


# ---------------------------------------------------------------------------------------------------- memo

COUNTING = (
    "with open({path!r}, 'a') as log: log.write((answer + chr(10)) * (answer != '0.5'))  # which is the probe's\n"
    "return 'equal' if answer == 'yes' else 'different'"
)


def test_each_pair_is_judged_once(judged_by: Callable[..., MathVerifier], tmp_path: Path) -> None:
    log = tmp_path / "log"
    counting = judged_by(COUNTING.format(path=str(log)))
    texts = [boxed("yes"), "<answer>yes</answer>", boxed("no"), boxed(" no "), boxed("gold")] * 20
    for _ in range(3):
        verdicts = counting.verify_many([gold("gold")] * len(texts), texts)
        correct, wrong = Verdict.CORRECT, Verdict.WRONG
        assert verdicts == [correct, correct, wrong, wrong, correct] * 20
    assert sorted(log.read_text().split()) == ["no", "yes"], "and the gold itself needs no judge"
    assert counting.verify(gold("another"), boxed("no")) == Verdict.WRONG
    assert sorted(log.read_text().split()) == ["no", "no", "yes"]


def test_the_memo_is_bounded(judged_by: Callable[..., MathVerifier], tmp_path: Path) -> None:
    log = tmp_path / "log"
    small = judged_by(COUNTING.format(path=str(log)), memo_size=2)
    for answer in ["a", "b", "a", "c", "a", "b"]:  # when c comes, b is the one that was not used for longest
        small.verify(gold("1"), boxed(answer))
    assert log.read_text().split() == ["a", "b", "c", "b"]


def test_a_bomb_is_not_judged_twice(judged_by: Callable[..., MathVerifier], tmp_path: Path) -> None:
    log = tmp_path / "log"
    counting = judged_by(
        f"if answer != '2': return ''\nopen({str(log)!r}, 'a').write('x')\nwhile True: pass", timeout_s=0.2
    )
    for _ in range(3):
        assert counting.verify_many([gold("1")] * 8, [boxed("2")] * 8) == [Verdict.ERROR] * 8
    assert counting.failures == {"deadline": 1}
    assert log.read_text() == "x"


# ------------------------------------------------------------------------------------------------- threads


def test_threads_may_share_a_verifier(verifier: MathVerifier) -> None:
    verdicts: dict[int, list[Verdict]] = {}

    def work(number: int) -> None:
        answers = [str(number), f"{number}.0", str(number + 1)]
        verdicts[number] = verifier.verify_many([gold(str(number))] * 3, [boxed(answer) for answer in answers])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(100, 104)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {n: [Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG] for n in range(100, 104)}
