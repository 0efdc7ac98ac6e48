"""`new-...` writes files that pass, `check-...` says what is wrong, and `list` says what packages offer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks.runs import learning_check
from benchmarks.runs.learning_check import Learning
from tests.benchmarks.outside.own import ALGORITHM, install, write, write_task


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Calls the program in a folder of its own: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlvr-gap", *map(str, arguments)])
        capsys.readouterr()
        code = program._run()
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("kind, more", [("algorithm", ["--no-learning"]), ("task", []), ("verifier", [])])
def test_what_is_written_passes(cli, kind, more):
    code, out, _ = cli(f"new-{kind}", "my_own")
    assert code == 0 and Path("my_own.py").exists() and f"rlvr-gap check-{kind} my_own.py" in out
    code, out, err = cli(f"check-{kind}", "my_own.py", *more)
    assert (code, err) == (0, "") and "nothing is wrong" in out and out.startswith("my_own: MyOwn, ")


@pytest.mark.parametrize("kind", ["algorithm", "task", "verifier"])
def test_nothing_is_overwritten(cli, kind):
    Path("my_own.py").write_text("mine")
    code, _, err = cli(f"new-{kind}", "my_own")
    assert code == 2 and "my_own.py exists already" in err and Path("my_own.py").read_text() == "mine"


@pytest.mark.parametrize("name, near", [("My-Own.py", "my_own"), ("1x", "1x"), ("class", "class"), ("a/b", "a_b")])
def test_a_name_that_no_file_can_have(cli, name, near):
    code, _, err = cli("new-algorithm", name)
    assert code == 2 and near in err and not list(Path().iterdir())


def test_what_is_wrong_is_said_and_counted(cli):
    write(
        Path(),
        text=ALGORITHM.replace("scale * (", "scale * -(").replace("    scale: float", "    k = 2\n    scale: float"),
    )
    code, out, err = cli("check-algorithm", "mine.py")
    said = [line for line in out.splitlines() if line.startswith("- ")]
    assert code == 1 and err == "rlvr-gap: mine: 2 things are wrong.\n"
    assert any("'k' is no declared setting" in line for line in said)
    assert any("not worth more than a wrong one" in line for line in said) and len(said) == 2


@pytest.mark.parametrize("kind", ["algorithm", "task", "verifier"])
def test_no_such_thing(cli, kind):
    code, _, err = cli(f"check-{kind}", "no_such.py")
    assert code == 2 and len(err.splitlines()) == 1 and "there is no file" in err


@pytest.mark.parametrize(
    "after, code, words", [(0.30, 0, "learning: accuracy"), (0.22, 1, "it does not learn: accuracy")]
)
def test_what_is_said_of_learning(cli, monkeypatch, after, code, words):
    monkeypatch.setattr(learning_check, "check_learning", lambda *_: Learning(0.20, after, 0.01))
    write(Path())
    assert (found := cli("check-algorithm", "mine.py"))[0] == code and words in found[1]


def test_a_task_that_is_wrong(cli):
    write_task(Path())
    assert cli("check-task", "my_task.py")[0] == 0
    text = Path("my_task.py").read_text()
    Path("my_task.py").write_text(text + "\n    def _load(self, split):\n        return super()._load('test')\n")
    code, out, err = cli("check-task", "my_task.py")
    assert code == 1 and "splits 'train' and 'test' share 512 prompts" in out and "things are wrong" in err


def test_the_list_says_who_offers_what(cli, monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "[rlvr_gap.algorithms]\nmine = a.b:Mine\ngrpo = a.b:G\n[rlvr_gap.tasks]\nt = a:T\n")
    lines = cli("list")[1].splitlines()
    said = " ".join(" ".join(lines).split())  # long ones go on in the next line
    assert "mine offered by rlvr-mine 1.2: a.b:Mine" in said and "t offered by rlvr-mine 1.2: a:T" in said
    assert "(grpo) offered by rlvr-mine 1.2: a.b:G, hidden by the built-in one" in said


def test_bench_says_what_is_wrong_with_a_file(cli):
    code, _, err = cli("bench", "--algo", "mine.py", "--suite", "countdown-smoke")
    assert code == 2 and len(err.splitlines()) == 1 and "there is no file" in err
    assert not Path("runs").exists()
