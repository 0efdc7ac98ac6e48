"""What counts as other code: statements do; comments, docstrings and layout do not."""

from __future__ import annotations

import pytest

import algorithms
from benchmarks import tasks, verifiers
from benchmarks.outside.source import code_hash

TEXT = '''"""What it is."""
class A:
    """Says so."""
    sign = 1.0
    def f(self, x):
        """Returns x."""
        return self.sign * x
'''


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""What it is."""\n', "# nothing\n\n"),
        ('    """Says so."""\n', '    """Says something else."""\n'),
        ('        """Returns x."""\n', ""),
        ("self.sign * x", "(self.sign *\n        x)"),
    ],
)
def test_comments_docstrings_and_layout_are_no_other_code(old, new):
    assert TEXT.replace(old, new) != TEXT and code_hash(TEXT.replace(old, new)) == code_hash(TEXT)


@pytest.mark.parametrize(
    "old, new",
    [("1.0", "-1.0"), ("1.0", "1"), ("* x", "+ x"), ("def f", "def g"), ("return ", ""), ("(self, x)", "(self, x=0)")],
)
def test_statements_are(old, new):
    assert code_hash(TEXT.replace(old, new)) != code_hash(TEXT)


def test_a_text_that_is_no_docstring_counts():
    assert code_hash("x = 1\n'text'\n") != code_hash("x = 1\n")


def test_the_hash_is_the_same_in_every_version_of_python():
    """Written down on Python 3.11. Fields that newer versions add are empty in such code."""
    assert code_hash(TEXT) == "2e54a730fc1aed28"


def test_the_code_of_a_built_in_algorithm_is_that_of_its_bases_and_what_they_import():
    assert list(algorithms.find("dapo").code) == [
        "algorithms/base.py", "algorithms/dapo.py", "algorithms/grpo.py", "algorithms/settings.py",
    ]  # fmt: skip
    assert "algorithms/critic.py" in algorithms.find("ppo").code


def test_the_code_of_a_task_and_of_a_verifier():
    assert set(tasks.find("countdown").code) >= {"benchmarks/tasks/countdown.py", "benchmarks/tasks/base.py"}
    assert set(verifiers.find("countdown").code) >= {
        "benchmarks/verifiers/countdown.py", "benchmarks/verifiers/expression.py",
    }  # fmt: skip
