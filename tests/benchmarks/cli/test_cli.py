"""The command line: help, exit codes, one line for everything that goes wrong, and nothing lost when it does."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks import __main__ as program
from benchmarks.tasks.countdown import SIZES
from tests.benchmarks.micro import snapshot, write

ROOT = Path(__file__).parents[3]
COMMANDS = {name: command for name, command in typer.main.get_command(program.app).commands.items()}  # type: ignore[attr-defined]
SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}


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


@pytest.fixture
def bench(cli, tmp_path, no_page) -> Cli:
    """`bench --algo base` on the micro suite with the scripted engine; a call's changes are the suite's."""

    def call(*more: object, algo: str = "base", **changes: Any) -> Said:
        path = write(tmp_path, SCRIPTED | {name.replace("__", "."): value for name, value in changes.items()})
        return cli("bench", "--algo", algo, "--suite", path, "--out", tmp_path / "runs", "--quiet", *more)

    return call


@pytest.fixture
def base(bench, tmp_path) -> Path:
    """The folder of a base that is done."""
    assert bench().code == 0
    return tmp_path / "runs" / "micro" / "base"


# ------------------------------------------------------------------------------------------------ help and lists


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
    said = cli("list")
    assert said.code == 0
    for kind, names in {
        "algorithms": "dapo grpo ppo",
        "suites": "countdown countdown-smoke",
        "tasks": "countdown gsm8k",
    }.items():
        line = next(line for line in said.out.splitlines() if line.startswith(f"{kind}: "))
        assert set(names.split()) <= set(line.split())


def test_list_imports_nothing_heavy():
    code = "import sys; from benchmarks.__main__ import run; run(['list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


# ------------------------------------------------------------------------------------------------ gap


def counts(path: Path, correct: list[int], n: int = 8) -> Path:
    path.write_text(
        "".join(json.dumps({"problem_id": f"p{i}", "n": n, "correct": c}) + "\n" for i, c in enumerate(correct))
    )
    return path


@pytest.fixture
def pair(tmp_path) -> list[object]:
    first, second = counts(tmp_path / "b.jsonl", [0, 1, 4, 8]), counts(tmp_path / "t.jsonl", [0, 0, 8, 8])
    return ["gap", "--base", first, "--trained", second]


def test_gap_as_json(cli, pair):
    """pass@8 of the base: 3 of 4 problems have a right sample; pass@1 of the trained model: 16 of 32 samples."""
    said = cli(*pair, "--k", 8, "--json")
    assert said.code == 0 and not said.err
    found = json.loads(said.out)
    assert (found["k"], found["n_problems"], found["gap"]) == (8, 4, 0.25)
    assert (found["base_pass_at_k"], found["base_pass_at_1"]) == (0.75, 13 / 32)
    assert (found["trained_pass_at_1"], found["trained_pass_at_k"]) == (0.5, 0.5)
    assert found["low"] <= 0.25 <= found["high"]


def test_gap_in_words(cli, pair):
    said = cli(*pair, "--k", 8)
    assert said.code == 0 and said.out.startswith("gap 25.0 points [") and "4 problems" in said.out


def test_gap_refuses(cli, pair, tmp_path):
    assert "k=16 is above n=8" in cli(*pair, "--k", 16).line(2)
    assert "confidence must be between 0 and 1" in cli(*pair, "--k", 8, "--confidence", 95).line(2)
    assert "must share all problems" in cli(*pair[:-1], counts(tmp_path / "c.jsonl", [1, 2]), "--k", 8).line(2)
    assert "none.jsonl: No such file" in cli(*pair[:-1], tmp_path / "none.jsonl").line(1)
    (tmp_path / "t.jsonl").write_text('{"problem_id": "p0", "n": 8, "corr')
    assert "t.jsonl: line 1 is not JSON" in cli(*pair, "--k", 8).line(1)


# ------------------------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["bnech"], ["bnech", "bench"]),
        (["bench"], ["--algo"]),
        (["bench", "--algoo", "grpo"], ["--algoo", "--algo"]),
        (["bench", "--algo", "grpo", "--seed", "one"], ["--seed", "integer"]),
        (["bench", "--algo", "grpo", "--seed", "-1"], ["seed is -1", "0 or more"]),
        (["bench", "--algo", "grpo", "--workers", "0"], ["--workers", "1"]),
        (["bench", "--algo", "gprpo"], ["unknown algorithm 'gprpo'", "mean 'grpo'", "base"]),
        (["bench", "--algo", "grpo", "--suite", "countdwn"], ["unknown suite 'countdwn'", "mean 'countdown'"]),
        (["bench", "--algo", "base", "--engine", "transfomers"], ["unknown engine", "mean 'transformers'", "vllm"]),
        (["bench", "--algo", "base", "--model", "embedded:x"], ["unknown embedded base model 'x'", "countdown"]),
        (["bench", "--algo", "base", "--model", "./none"], ["'./none' does not exist", "config.json"]),
        (["grid", "--algos", "grpo pop"], ["unknown algorithm 'pop'", "mean 'ppo'"]),
        (["grid", "--seeds", "0 ²"], ["seed '²'", "whole number"]),
        (["grid", "--launcher", "slrum"], ["unknown launcher 'slrum'", "local"]),
        (["evaluate"], ["Missing argument", "model"]),
        (["evaluate", "embedded", "--dataset", "tset"], ["unknown dataset", "'tset'", "mean 'test'"]),
        (["leaderboard", "--runs", "./none"], ["none does not exist", "record.json"]),
    ],
)
def test_wrong_input_is_two_and_one_line(cli, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    line = cli(*arguments).line(2)
    assert [word for word in words if word not in line] == [], line
    assert not list(tmp_path.iterdir()), "wrong input leaves nothing behind"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"evaluation.datasets.test.task": "countdwn"}, ["micro.yaml", "unknown task 'countdwn'", "mean 'countdown'"]),
        ({"evaluation.datasets.test.split": "tset"}, ["unknown split", "'tset'", "mean 'test'"]),
        ({"evaluation.datasets.test.problems": 9999}, ["split 'test'", "9999"]),
        ({"evaluation.dataset": {}}, ["micro.yaml", "unknown key 'dataset'", "mean 'datasets'"]),
        ({"evaluation.k": 9}, ["micro.yaml", "k = 9", "n = 8"]),
        ({"training.group_size": 1}, ["group_size", "at least 2"]),
        ({"training.micro_batch_rows": 3}, ["micro_batch_rows = 3", "4 rows"]),
        ({"training.algorithms": {"gprpo": {}}}, ["unknown algorithm 'gprpo'", "mean 'grpo'"]),
        ({"training.algorithms": {"grpo": {"clip": 1}}}, ["algorithm 'grpo'", "no setting 'clip'"]),
        ({"training.dataset.split": "trian"}, ["unknown split", "'trian'", "mean 'train'"]),
        ({"prompt_template": "chat"}, ["no chat template", "use one of: boxed"]),
        ({"engine.settings": {"spraed": True}}, ["setting of engine 'scripted'", "'spraed'", "mean 'spread'"]),
    ],
)
def test_a_wrong_suite_is_two_and_leaves_its_folder_free(bench, tmp_path, changes, words):
    """Found before a run's folder is taken: with the slip corrected, the same command must not be refused."""
    line = bench(algo="grpo", **changes).line(2)
    assert [word for word in words if word not in line] == [], line
    assert not (tmp_path / "runs").exists()


def test_a_model_without_its_tokenizer(bench, tmp_path):
    source = ROOT / "benchmarks" / "base_models" / "countdown"
    model = shutil.copytree(source, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    line = bench("--model", model).line(2)
    assert f"'{model}' has no tokenizer" in line and "tokenizer.json" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_model_that_is_not_causal(bench, tmp_path):
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    from benchmarks.base_models.recipe import make_tokenizer

    torch.manual_seed(0)
    config = T5Config(vocab_size=25, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    line = bench("--model", tmp_path / "model", engine={"name": "transformers", "workers": 1}).line(2)
    assert f"cannot load '{tmp_path / 'model'}' as a causal language model" in line and "T5Config" in line


# ------------------------------------------------------------------------------------------------ damaged files


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content = content[:middle] if how == "cut" else content[:middle] + b"\xff" + content[middle + 1 :]
    path.write_bytes(content)


def test_a_half_written_record(bench, base):
    damage(base / "record.json", "cut")
    before = snapshot(base)
    for algorithm in ("base", "grpo"):
        line = bench(algo=algorithm).line(1)
        assert f"{base / 'record.json'} is not a whole JSON file" in line and "expected a record" in line
    assert snapshot(base) == before


@pytest.mark.parametrize("how", ["cut", "changed"])
@pytest.mark.parametrize("name", ["completions.parquet", "counts.jsonl", "result.json", "plan.json"])
def test_a_damaged_evaluation(bench, base, name, how):
    (base / "record.json").unlink()
    damage(base / "eval" / "test" / name, how)
    before = snapshot(base)
    line = bench().line(1)
    assert str(base / "eval" / "test" / name) in line
    assert json.loads((base / "status.json").read_text())["state"] == "failed"
    (base / "status.json").unlink()
    assert snapshot(base) == before


def test_a_damaged_spec(bench, base):
    damage(base / "spec.json", "cut")
    before = snapshot(base)
    assert f"{base / 'spec.json'} is damaged" in bench().line(1)
    assert snapshot(base) == before


def test_counts_that_are_not_the_records_are_found_before_training(bench, base):
    damage(base / "eval" / "test" / "counts.jsonl", "changed")
    before = snapshot(base)
    line = bench(algo="grpo").line(1)
    assert f"{base / 'eval' / 'test' / 'counts.jsonl'}: its sha256 is" in line
    assert snapshot(base) == before and not (base.parent / "grpo-s0" / "train").exists()


# ------------------------------------------------------------------------------------------------ no space


@pytest.fixture
def full_disk(monkeypatch):
    """From the n-th file on, nothing reaches the disk."""

    def fill(n: int) -> None:
        count, fsync = itertools.count(1), os.fsync

        def failing(descriptor: int) -> None:
            if next(count) >= n:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", failing)

    return fill


def test_no_space_for_any_of_the_files(bench, full_disk, monkeypatch, tmp_path):
    """Whichever file the disk is full at: one line, no rest of a file, and later the same counts as without."""
    assert bench().code == 0
    whole = snapshot(tmp_path / "runs")["micro/base/eval/test/counts.jsonl"][1]
    for n in itertools.count(1):
        shutil.rmtree(tmp_path / "runs")
        with monkeypatch.context():
            fsync = os.fsync
            full_disk(n)
            said = bench()
            os.fsync = fsync
        if said.code == 0:
            break
        line = said.line(1)
        assert "cannot write " in line and "No space left on device" in line
        written = snapshot(tmp_path / "runs") if n > 1 else {}
        assert len(written) >= n - 1 - 3 and not [name for name in written if name.endswith(".tmp")]
        assert bench().code == 0
        after = snapshot(tmp_path / "runs")
        assert after["micro/base/eval/test/counts.jsonl"][1] == whole
        timed = ("completions.parquet", "result.json")  # written again, with the seconds of both runs
        kept = [name for name in written if name in after and not name.endswith(timed)]
        assert [name for name in kept if after[name][1] != written[name][1]] == []
    assert n > 6, "spec, plan, shards, completions, counts, result, record"


def test_a_file_where_runs_should_be(bench, tmp_path):
    (tmp_path / "runs").write_text("mine")
    line = bench().line(1)
    assert str(tmp_path / "runs") in line and "Not a directory" in line
    assert (tmp_path / "runs").read_text() == "mine"


# ------------------------------------------------------------------------------------------------ Ctrl-C

TYPED = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('benchmarks', run_name='__main__', alter_sys=True)"
)
"""As from a terminal: a test that runs in the background inherits that Ctrl-C is ignored."""
SLOW = SCRIPTED | {
    "evaluation.design": {"rounds": [16]},
    "engine": {"name": "scripted", "workers": 2, "rows_per_batch": 2, "settings": {"p": 0.5, "delay_s": 0.2}},
}
"""32 chunks of 0.2 s each, on two workers."""


def test_ctrl_c_and_the_same_command_goes_on(cli, no_page, tmp_path):
    command = ["bench", "--algo", "base", "--suite", write(tmp_path, SLOW), "--out", tmp_path / "runs", "--quiet"]
    evaluation = tmp_path / "runs" / "micro" / "base" / "eval" / "test"
    process = subprocess.Popen(
        [sys.executable, "-c", TYPED, *map(str, command)], cwd=ROOT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while process.poll() is None and not list(evaluation.glob("shards/*.parquet")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    said = Said(process.returncode, out, err)
    assert "interrupted; the same command goes on" in said.line(130) and not said.out
    shards = snapshot(evaluation / "shards")
    assert 0 < len(shards) < 32 and not (evaluation / "counts.jsonl").exists()

    assert cli(*command).code == 0
    write(tmp_path, SLOW | {"engine": {"name": "scripted", "workers": 1, "rows_per_batch": 2, "settings": {"p": 0.5}}})
    assert cli(*command[:-2], tmp_path / "whole", "--quiet").code == 0
    whole = tmp_path / "whole" / evaluation.relative_to(tmp_path / "runs")
    assert (whole / "counts.jsonl").read_bytes() == (evaluation / "counts.jsonl").read_bytes()


# ------------------------------------------------------------------------------------------------ the result


@pytest.mark.slow
def test_the_table_and_the_page(cli, tmp_path):
    command = ["bench", "--algo", "base", "--suite", write(tmp_path, SCRIPTED), "--out", tmp_path / "runs", "--quiet"]
    first = cli(*command)
    assert (first.code, first.err) == (0, "")
    shown = " ".join(first.out.split())
    assert [word for word in ("pass@1", "pass@8", "record.json", "index.html") if word not in shown] == []
    before = snapshot(tmp_path / "runs" / "micro" / "base")
    second = cli(*command)
    assert (second.code, second.out) == (0, first.out)
    assert snapshot(tmp_path / "runs" / "micro" / "base") == before
    page = (tmp_path / "runs" / "micro" / "index.html").read_text()
    assert "<svg" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert "1 records" in cli("leaderboard", "--runs", tmp_path / "runs", "--out", tmp_path / "page.html").out
