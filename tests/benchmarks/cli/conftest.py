"""Calls the program in the test's own process, as a shell would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from benchmarks import __main__ as program
from benchmarks.tasks.countdown import SIZES


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def line(self, code: int) -> str:
        """The one line on standard error of a command that ended with this code."""
        lines = self.err.splitlines()
        assert (self.code, len(lines)) == (code, 1), self
        assert lines[0].startswith("rlvr-gap: ")
        return lines[0]


Cli = Callable[..., Said]


@pytest.fixture
def cli(monkeypatch, capsys) -> Cli:
    """Calls the program in this process: cli("bench", "--algo", "base")."""

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["rlvr-gap", *map(str, arguments)])
        capsys.readouterr()
        code = program._run()
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(autouse=True)
def few_problems(monkeypatch):
    """Drawing all that one could train on takes longer than training on them."""
    monkeypatch.setitem(SIZES, "train", 64)


@pytest.fixture
def no_page(monkeypatch):
    """Pictures take longer than all the rest of these tests."""
    monkeypatch.setattr("benchmarks.cli.results.show", lambda *_: None)
