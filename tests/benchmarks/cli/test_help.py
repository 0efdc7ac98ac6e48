"""The command line explains itself: help, lists, completion and the version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from benchmarks import __main__ as program

ROOT = Path(__file__).parents[3]
COMMANDS = {name: command for name, command in typer.main.get_command(program.app).commands.items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not command.hidden])
def test_help_names_every_option(cli, name):
    said = cli(name, "--help")
    assert said.code == 0 and not said.err
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("-")]
    assert [option for option in options if option not in said.out] == []
    assert all(getattr(parameter, "help", None) for parameter in COMMANDS[name].params)


def test_no_arguments_are_a_question_for_help(cli):
    said = cli()
    assert (said.code, said.err) == (0, "") and said.out == cli("--help").out
    assert [name for name in ("bench", "grid", "evaluate", "gap", "leaderboard", "list") if name not in said.out] == []


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
    assert "unknown kind of name 'engine'. Did you mean 'engines'?" in cli("list", "engine").line(2)


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
