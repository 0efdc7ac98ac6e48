"""The embedded suite's task and verifier: what is asked, what is right, and what a sound chain is."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
from scipy.stats import ks_2samp

from benchmarks import tasks, verifiers
from benchmarks.base_models import corpus
from benchmarks.tasks.countdown import (
    LARGEST_TARGET,
    LARGEST_VALUE,
    draw_numbers,
    draw_solution,
    make_problem,
    split_of,
)
from benchmarks.verifiers.expression import NotAnExpression, parse

PROBLEM = make_problem([3, 7, 12], 15)  # 3*(12-7) = 15
VERIFIER = verifiers.get("countdown")


# ------------------------------------------------------------------------------------------------ task


def test_splits_are_the_same_on_every_load_and_disjoint_by_the_numbers_in_them() -> None:
    task = tasks.get("countdown")
    splits = {split: task.load(split) for split in task.splits}
    assert splits == {split: tasks.get("countdown").load(split) for split in task.splits}
    sets = {split: {tuple(sorted(p.data["numbers"])) for p in problems} for split, problems in splits.items()}
    for one, other in itertools.combinations(sets, 2):
        assert not sets[one] & sets[other], (one, other)
    assert len(splits["test"]) >= 200
    assert all(len({p.problem_id for p in problems}) == len(problems) for problems in splits.values())


def test_problems_are_what_the_task_says() -> None:
    task = tasks.get("countdown")
    for split, sizes in {"test": {3, 4}, "ood": {5}}.items():
        problems = task.load(split)
        assert {len(p.data["numbers"]) for p in problems} == sizes
        assert all(1 <= int(p.answer) <= LARGEST_TARGET for p in problems)
        assert all(p.prompt == f"{' '.join(map(str, p.data['numbers']))}:{p.answer}\n" for p in problems)


def test_in_domain_splits_are_draws_of_one_distribution() -> None:
    """Sizes and targets of the splits agree. The problems are fixed, so the p-values are too: there is no false alarm.

    In version 1, whose training problems were all distinct, a quarter of them had three numbers instead of a third, and
    the targets of the training and the test split gave p = 0.04.
    """
    splits = {split: tasks.get("countdown").load(split) for split in ("train", "validation", "test")}
    for problems in splits.values():
        threes = sum(len(problem.data["numbers"]) == 3 for problem in problems)
        assert abs(threes / len(problems) - 1 / 3) < 0.02
    targets = {split: [int(problem.answer) for problem in problems] for split, problems in splits.items()}
    assert ks_2samp(targets["train"], targets["test"]).pvalue > 0.05
    assert ks_2samp(targets["train"], targets["validation"]).pvalue > 0.05


def test_a_training_problem_that_comes_again_has_an_id_of_its_own() -> None:
    train = tasks.get("countdown").load("train")
    again = [problem for problem in train if "#" in problem.problem_id]
    assert 0.15 < len(again) / len(train) < 0.25
    first = {problem.problem_id: problem for problem in train}
    for problem in again:
        assert problem.answer == first[problem.problem_id.partition("#")[0]].answer


def test_the_first_problem_never_changes() -> None:
    # A change here is a change of the task's meaning: bump VERSION, and measure the base model anew.
    assert tasks.get("countdown").load("test")[0].problem_id == "6-15-18=3"


def test_an_unknown_split_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'test'"):
        tasks.get("countdown").load("tset")


def test_drawn_solutions_are_right_sound_and_within_bounds() -> None:
    rng = random.Random(0)
    for size in [3, 4, 5] * 100:
        numbers = draw_numbers(rng, "train", size)
        solution = draw_solution(rng, numbers)
        problem = make_problem(numbers, solution.value)
        assert VERIFIER.verify(problem, solution.text()) == "correct"
        assert VERIFIER.check_chain(problem, solution.text()) is True
        assert all(1 <= step.value <= LARGEST_VALUE for step in solution.steps)


def test_no_test_numbers_are_in_the_pretraining_corpus() -> None:
    rows = [corpus.trace(i) for i in range(500)]
    numbers = [list(map(int, row.prompt.split(":")[0].split())) for row in rows]
    assert {split_of(n) for n in numbers if len(n) < 5} == {"train"}
    five = {tuple(sorted(p.data["numbers"])) for p in tasks.get("countdown").load("ood")}
    assert not five & {tuple(sorted(n)) for n in numbers if len(n) == 5}


# ------------------------------------------------------------------------------------------------ verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (r"12-7=5" "\n" r"3*5=15" "\n" r"\boxed{3*(12-7)}", "correct"),
        (r"\boxed{(12-7)*3}", "correct"),  # no chain: the answer's verdict does not look at it
        (r"\boxed{1} no: \boxed{3*(12-7)}", "correct"),  # the last box counts
        (r"\boxed{3 \times (12 - 7)}", "correct"),
        (r"\boxed{3*12-7}", "wrong"),  # 29
        (r"\boxed{15}", "wrong"),  # the value, not an expression over the numbers
        (r"\boxed{3+12}", "wrong"),  # 15, but the 7 is left over
        (r"\boxed{3*(12-7)+7-7}", "wrong"),  # 15, but numbers are used again
        (r"\boxed{3*(12-7)", "wrong"),  # not closed
        (r"\boxed{__import__('os').system('true')}", "wrong"),
        (r"\boxed{3**(12-7)}", "wrong"),
        (r"\boxed{3/(7-7)*12}", "wrong"),
        (r"\boxed{3.0*(12-7)}", "wrong"),
        ("", "wrong"),
    ],
)
def test_verdicts(text: str, verdict: str) -> None:
    assert VERIFIER.verify(PROBLEM, text) == verdict


def test_fractions_are_exact() -> None:
    problem = make_problem([3, 3, 8, 8], 24)  # 8/(3-8/3) = 24: no integer path
    assert VERIFIER.verify(problem, r"\boxed{8/(3-8/3)}") == "correct"
    assert VERIFIER.check_chain(problem, "8/3=8/3\n3-8/3=1/3\n8/(1/3)=24\n" + r"\boxed{8/(3-8/3)}") is True


def test_truncation_is_not_wrong_and_a_right_answer_before_the_limit_is_right() -> None:
    assert VERIFIER.verify(PROBLEM, "12-7=5\n3*", finished=False) == "truncated"
    assert VERIFIER.verify(PROBLEM, r"\boxed{3*(12-7)}", finished=False) == "correct"
    assert VERIFIER.verify(PROBLEM, r"\boxed{3*(12-7)} or \boxed{3*(", finished=False) == "correct"
    assert VERIFIER.check_chain(PROBLEM, "12-7=5\n3*5=15\n" + r"\boxed{3*(12-7)} or \boxed{3*(") is True


def test_nothing_can_make_it_slow_or_crash() -> None:
    bombs = ["(" * 100_000, r"\boxed{" + "(" * 399 + "}", r"\boxed{" + "9" * 300 + "}", r"\boxed{" + "-" * 399 + "1}"]
    for bomb in bombs:
        assert VERIFIER.verify(PROBLEM, bomb) == "wrong"
        assert VERIFIER.check_chain(PROBLEM, "9" * 100_000 + bomb) is False


# ------------------------------------------------------------------------------------------------ chain


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("12-7=5\n3*5=15\n\\boxed{3*(12-7)}", True),
        ("12-7=5\n5*3=15\n\\boxed{3*(12-7)}", True),  # a product either way round
        ("3*7=21\n21+12=33\n\\boxed{3*7+12}", True),  # sound, though it misses the target
        ("12-7=6\n3*6=15\n\\boxed{3*(12-7)}", False),  # arithmetic
        ("12-7=5\n3*5=15\n\\boxed{12-7+3}", False),  # another expression than the chain's
        ("3*5=15\n12-7=5\n\\boxed{3*(12-7)}", False),  # 5 is used before it is made
        ("12-7=5\n12+3=15\n\\boxed{3*(12-7)}", False),  # 12 is used twice
        ("5*3=15\n\\boxed{3*(12-7)}", False),  # 5 comes from nowhere
        ("so 12-7=5\n3*5=15\n\\boxed{3*(12-7)}", False),  # not one operation a line
        ("12-7=5\n3*5=15\n", False),  # no box
        ("1/0=1\n\\boxed{3*(12-7)}", False),
    ],
)
def test_chains(text: str, sound: bool) -> None:
    assert VERIFIER.check_chain(PROBLEM, text) is sound


def test_a_right_answer_can_stand_under_a_wrong_chain() -> None:
    text = "12-7=4\n3*4=15\n\\boxed{3*(12-7)}"
    assert VERIFIER.verify(PROBLEM, text) == "correct"
    assert VERIFIER.check_chain(PROBLEM, text) is False


# ------------------------------------------------------------------------------------------------ expressions


@pytest.mark.parametrize(
    ("text", "value"),
    [("2+3*4", 14), ("(2+3)*4", 20), ("2-3-4", -5), ("8/4/2", 1), ("-2*-3", 6), ("1/3+1/6", Fraction(1, 2))],
)
def test_expressions_have_the_usual_precedence(text: str, value: int | Fraction) -> None:
    assert parse(text).value == value


@pytest.mark.parametrize("text", ["", "2 3", "2+", "+2", "()", "2^3", "a", "1/0", "٣+1", "2)"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(NotAnExpression):
        parse(text)
