"""`init` writes a suite that validates and runs, `config` prints it, and a dry run says what would happen."""

from __future__ import annotations

import json
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import __main__ as program
from benchmarks import tasks
from benchmarks.errors import UsageError
from benchmarks.suites import schema
from benchmarks.tasks.countdown import SIZES
from tests.benchmarks.micro import write

ROOT = Path(__file__).parents[3]
EMBEDDED = ("--model", "embedded:countdown")
SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """In an empty folder, where drawing training problems takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SIZES, "train", 64)
    return tmp_path


@pytest.fixture
def mine(here) -> Path:
    """Countdown's own problems as a file, which the embedded model can read."""
    return put(here / "data" / "mine.jsonl")


def put(path: Path, columns: tuple[str, str] = ("problem", "answer")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    problems = tasks.get("countdown").load("test")[:5]
    path.write_text(
        "".join(json.dumps(dict(zip(columns, (p.prompt, p.answer or "1"), strict=True))) + "\n" for p in problems)
    )
    return path


def run(*arguments: object) -> None:
    program.run([str(argument) for argument in arguments])


# ------------------------------------------------------------------------------------------------ init


def test_a_suite_for_evaluation_and_training_runs(mine, capsys):
    """Written in another folder than the data, with a model in a third; then trained and evaluated as it is."""
    shutil.copytree(schema.BASE_MODELS / "countdown", "models/base")
    put(Path("data/train.jsonl"))
    run(
        "init", "suites/own.yaml", "--data", mine, "--train-data", "data/train.jsonl", "--model", "models/base",
        "--template", "raw", "--n", 4, "--max-new-tokens", 8, "--steps", 1,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "5 problems to evaluate on, 5 problems to train on" in said and "--suite suites/own.yaml" in said
    text = Path("suites/own.yaml").read_text()
    assert "../models/base" in text and "../data/train.jsonl" in text
    run("bench", "--algo", "grpo", "--suite", "suites/own.yaml", "--quiet", "--no-page")
    record = json.loads(Path("runs/own/grpo-s0/record.json").read_text())
    assert record["training"]["steps"] == 1 and record["evaluations"]["test"]["n_problems"] == 5


@pytest.mark.skipif(schema.Suite.model_fields["training"].is_required(), reason="a suite must have a training section")
def test_a_suite_for_evaluation_alone_runs(mine, capsys):
    run("init", "own.yaml", "--data", mine, "--template", "raw", "--n", 4, "--max-new-tokens", 8, *EMBEDDED)
    assert schema.load("own.yaml").training is None and "5 problems to evaluate on" in capsys.readouterr().out
    run("config", "own.yaml")
    assert "# each trained model" not in capsys.readouterr().out
    run("bench", "--algo", "base", "--suite", "own.yaml", "--quiet", "--no-page")
    assert json.loads(Path("runs/own/base/record.json").read_text())["evaluations"]["test"]["n_problems"] == 5


def test_what_decides_a_comparison_is_written(mine):
    """Every key of these is in the file itself, whatever its default."""
    run("init", "own.yaml", "--data", mine, "--train-data", "countdown", *EMBEDDED)
    said = yaml.safe_load(Path("own.yaml").read_text())
    assert {"prompt_template", "base_model"} <= said.keys()
    assert {"datasets", "sampling", "design", "k"} <= said["evaluation"].keys()
    assert said["evaluation"]["sampling"].keys() == {"temperature", "top_p", "top_k", "max_new_tokens"}
    decide = {"budget", "prompts_per_step", "group_size", "mini_batches_per_step", "passes_per_step", "learning_rate"}
    assert decide | {"loss", "schedule", "kl_coefficient", "sampling"} <= said["training"].keys()
    assert said["prompt_template"] == "boxed", "the math verifier reads a box"
    assert len(re.findall(r"[^ ] # ", Path("own.yaml").read_text())) > 10, "it is commented"


def test_columns_and_a_folder_of_splits(here):
    put(here / "sets" / "test.jsonl", ("question", "gold"))
    put(here / "sets" / "train.jsonl", ("question", "gold"))
    columns = ("--problem-column", "question", "--answer-column", "gold")
    run("init", "own.yaml", "--data", "sets", "--train-data", "sets", *columns, *EMBEDDED)
    loaded = schema.load("own.yaml")
    assert len(loaded.training.dataset.load()) == len(loaded.evaluation.datasets["test"].load()) == 5


def test_a_published_set_and_a_task_of_ones_own(here):
    run("init", "hub.yaml", "--data", "gsm8k", "--train-data", "gsm8k", "--problems", 100, *EMBEDDED)
    assert schema.load("hub.yaml").evaluation.datasets["test"].problems == 100
    run("new-task", "my_task")
    run("init", "sub/own.yaml", "--data", "my_task.py", "--train-data", "my_task.py", *EMBEDDED)
    assert schema.load("sub/own.yaml").training.dataset.task == str(here / "my_task.py")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["own.yaml"], "--data is missing"),
        (["own.yaml", "--data", "countdown"], "--model is missing"),
        (["own", "--data", "countdown", *EMBEDDED], r"ends in \.yaml"),
        (["own.yaml", "--data", "mien.jsonl", *EMBEDDED], r"'mien\.jsonl'.*Did you mean 'mine\.jsonl'"),
        (["own.yaml", "--data", "countdwn", *EMBEDDED], "unknown task 'countdwn'.*mean 'countdown'"),
        (["own.yaml", "--data", "countdown", "--split", "tset", *EMBEDDED], "unknown split.*'tset'.*mean 'test'"),
        (["own.yaml", "--data", "countdown", "--model", "./none"], "'./none' does not exist"),
        (
            ["own.yaml", "--data", "countdown", "--model", "embedded:x", "--train-data", "countdown"],
            "unknown embedded base model 'x'",
        ),
        (["own.yaml", "--data", "countdown", "--template", "rwa", *EMBEDDED], "unknown prompt template 'rwa'"),
        (["own.yaml", "--data", "countdown", "--n", "8", "--k", "16", *EMBEDDED], "k = 16 is above"),
        (["own.yaml", "--data", "mine.jsonl", "--train-data", "mine.jsonl", *EMBEDDED], "one file and so one split"),
        (["own.yaml", "--data", "mine.jsonl", "--answer-column", "awnser", *EMBEDDED], "'awnser'.*mean 'answer'"),
    ],
)
def test_what_would_be_refused_is_not_written(here, arguments, words):
    put(here / "mine.jsonl")
    with pytest.raises(UsageError, match=words):
        run("init", *arguments)
    assert [path.name for path in here.iterdir()] == ["mine.jsonl"]


def test_nothing_is_overwritten_without_force(mine):
    Path("own.yaml").write_text("mine")
    command = ["init", "own.yaml", "--data", mine, "--train-data", "countdown", *EMBEDDED]
    with pytest.raises(UsageError, match=r"exists already.*--force"):
        run(*command)
    assert Path("own.yaml").read_text() == "mine"
    run(*command, "--force")
    assert schema.load("own.yaml").name == "own"


def test_a_terminal_is_asked(here):
    """A real one: the answers are typed, and the file is as with options."""
    put(here / "mine.jsonl")
    outside, inside = pty.openpty()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmarks.__main__ import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "init", "own.yaml"], stdin=inside, stdout=inside, stderr=inside
    )
    with open(outside, "wb", buffering=0) as typed:
        typed.write(b"mine.jsonl\nembedded:countdown\ny\ncountdown\n")
        assert process.wait(timeout=120) == 0
    loaded = schema.load("own.yaml")
    assert (loaded.base_model, loaded.training.dataset.task) == ("embedded:countdown", "countdown")


# ------------------------------------------------------------------------------------------------ config


def test_a_resolved_suite_is_the_same_suite(here, capsys):
    write(here)
    capsys.readouterr()
    run("config", "micro.yaml", "--set", "training.learning_rate=1e-6")
    printed = capsys.readouterr().out
    (here / "again").mkdir()
    (here / "again" / "micro.yaml").write_text(printed)
    asked = schema.with_changes(schema.load("micro.yaml"), ["training.learning_rate=1e-6"])
    assert schema.load("again/micro.yaml") == asked and asked.hash in printed


def test_what_a_suite_costs(here, capsys):
    """4 problems with at most 8 samples; 2 steps of 2 prompts times 4. At 36 tokens/s 3,600 tokens take 100 s each."""
    speeds = {"sampling_tokens_per_s": 0.01, "training_tokens_per_s": 0.01, "tokens_per_completion": 9}
    write(here, {"resources": {"throughput": speeds}})
    run("config", "micro.yaml")
    printed = capsys.readouterr().out
    assert "# the base: evaluates at most 32 completions\n" in printed
    assert "# each trained model: trains for 2 steps of 8 completions, evaluates at most 32 completions\n" in printed
    assert "# each trained model: training 144 tokens, 4 GPU-hours; evaluation 288 tokens, 8 GPU-hours" in printed


# ------------------------------------------------------------------------------------------------ dry runs and lists


def test_a_dry_run_says_what_it_would_do_and_does_nothing(here, capsys):
    write(here, SCRIPTED)
    run("bench", "--algo", "grpo", "--suite", "micro.yaml", "--dry-run", "--processes", 2, "--quiet")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "base: first; evaluates at most 32 completions"
    assert lines[1].startswith("grpo-s0: after base; trains for 2 steps of 8 completions")
    assert lines[2] == "2 of 2 cells are left to run, in runs/micro."
    assert lines[-1] == "on this machine, with 2 training processes; scripted evaluates."
    assert [path.name for path in here.iterdir()] == ["micro.yaml"]


def test_a_dry_run_knows_what_is_done_and_what_would_be_refused(here, capsys):
    write(here, SCRIPTED)
    run("bench", "--algo", "base", "--suite", "micro.yaml", "--quiet", "--no-page")
    capsys.readouterr()
    run("bench", "--algo", "grpo", "--suite", "micro.yaml", "--dry-run", "--quiet")
    assert capsys.readouterr().out.startswith("base: done\n")
    with pytest.raises(UsageError, match="unknown split"):
        wrong = write(here, SCRIPTED | {"training.dataset.split": "trian"})
        run("bench", "--algo", "grpo", "--suite", wrong, "--dry-run", "--quiet")


@pytest.mark.parametrize("algos", ["grpo,rloo", "grpo rloo", "grpo, rloo"])
def test_names_are_separated_by_commas_or_spaces(here, capsys, algos):
    write(here, SCRIPTED)
    run("grid", "--suite", "micro.yaml", "--algos", algos, "--seeds", "0,1", "--dry-run")
    named = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[:5]]
    assert named == ["base", "grpo-s0", "rloo-s0", "grpo-s1", "rloo-s1"]


def test_the_path_of_a_record_is_whole(here, capsys, monkeypatch):
    """It is longer than the terminal is wide, and must still be one line, so that it can be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    out = here / "a-folder-with-a-long-name-in-which-results-are-kept" / "and-another-one-of-this-kind"
    write(here, SCRIPTED)
    run("bench", "--algo", "base", "--suite", "micro.yaml", "--out", out, "--quiet")
    lines = capsys.readouterr().out.splitlines()
    assert f"record  {out / 'micro' / 'base' / 'record.json'}" in lines
    assert f"page    {out / 'micro' / 'index.html'}" in lines
