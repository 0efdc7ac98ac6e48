"""What the program says of itself: names with descriptions, help, its version, and completion in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks import __main__ as program

ROOT = Path(__file__).parents[3]


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys) -> Callable[..., Said]:
    """Calls the program in this process: cli("list")."""

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["rlvr-gap", *arguments])
        capsys.readouterr()
        return Said(program._run(), *capsys.readouterr())

    return call


def test_list_names_what_exists(cli):
    """Every kind has a title, and every name a description beside it."""
    said = cli("list")
    assert said.code == 0
    sections = {part.split()[0]: part.splitlines()[1:] for part in said.out.strip().split("\n\n")}
    for kind, names in {
        "algorithms": "dapo grpo ppo",
        "suites": "countdown countdown-smoke",
        "tasks": "countdown gsm8k jsonl",
        "verifiers": "countdown math",
        "engines": "transformers vllm",
        "templates": "raw boxed chat",
        "launchers": "local slurm",
        "formats": "counts lm-eval",
    }.items():
        described = {
            line.split()[0]: line.split()[1:] for line in sections[kind] if line.startswith("  ") and line[2] != " "
        }
        assert set(names.split()) <= set(described)
        assert [name for name, words in described.items() if not words] == []


@pytest.mark.parametrize("width", [80, 120])
def test_list_keeps_to_the_width(cli, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, cli("list").out.splitlines())) <= width


def test_list_of_one_kind(cli):
    assert cli("list", "engines").out.startswith("engines (--engine)\n  transformers ")
    assert "unknown kind of name 'engine'. Did you mean 'engines'?" in cli("list", "engine").err


def test_the_version(cli):
    said = cli("--version")
    assert said.code == 0 and said.out.startswith("rlvr-gap 0.")


def test_help_shows_whole_sentences(cli, monkeypatch):
    """No description of a command is cut: typer's own list ends most of them in dots."""
    monkeypatch.setenv("COLUMNS", "80")
    said = cli("--help").out
    assert "..." not in said.partition("Commands:")[2] and max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    "words, found",
    [
        ("bench --algo reinf", ["reinforce_pp", "reinforce_pp_baseline"]),
        ("config countdown-s", ["countdown-smoke"]),
        ("eval", ["evaluate"]),
    ],
)
def test_a_shell_completes(words, found):
    """As bash asks: what stands on the line, and which of its words is to be completed."""
    line = f"rlvr-gap {words}"
    environment = {"_RLVR_GAP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words.split()))}
    code = "from benchmarks.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == found


def test_list_imports_nothing_heavy():
    code = "import sys; from benchmarks.__main__ import run; run(['list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
