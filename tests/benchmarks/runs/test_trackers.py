"""Trackers see every step, under a name and in a folder of the cell's own, and change no record and no hash.

The packages are not installed for this: stand-ins of a few lines are called by transformers' own callbacks, and write
down what they are told. Nothing leaves this process.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as program
from benchmarks.errors import Failure, UsageError
from benchmarks.records.training_log import headline, read_training_log
from benchmarks.runs import trackers
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.run_folder import Place
from benchmarks.runs.trackers import PROJECT, following, parse
from benchmarks.suites.schema import parse as suite_of
from tests.benchmarks.micro import data, write

CALLS = "import os\ncalls = []\nplaces = {}\n"
STAND_INS = {
    "tensorboard": {
        "tensorboardX/__init__.py": CALLS
        + """
class SummaryWriter:
    def __init__(self, log_dir): calls.append(("init", log_dir))
    def add_text(self, *_): pass
    def add_scalar(self, name, value, step): calls.append(("log", {name: value, "train/global_step": step}))
    def flush(self): pass
    def close(self): pass
""",
    },
    "wandb": {
        "wandb/__init__.py": CALLS
        + """
class Config(dict):
    def update(self, *_, **__): pass
class Run:
    id = name = url = "x"
    summary = {}
    def _label(self, **_): pass
run, config = None, Config()
def init(**options):
    global run
    run = Run()
    calls.append(("init", {**options, "folder": os.environ["WANDB_DIR"]}))
def define_metric(*_, **__): pass
def log(values, step=None): calls.append(("log", values))
def finish(): calls.append(("finish", None))
""",
        "wandb/sdk/__init__.py": "",
        "wandb/sdk/lib/__init__.py": "",
        "wandb/sdk/lib/config_util.py": "class ConfigError(Exception): pass\n",
    },
    "trackio": {
        "trackio/__init__.py": CALLS
        + """
from contextvars import ContextVar
from types import SimpleNamespace
context_vars = SimpleNamespace(current_space_id=ContextVar("space", default=None))
class Config(dict):
    def update(self, *_, **__): pass
config = Config()
def init(**options): calls.append(("init", options))
def log(values, step=None): calls.append(("log", values))
def finish(): calls.append(("finish", None))
""",
    },
}
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}


@pytest.fixture
def stand_in(tmp_path, monkeypatch, request):
    """The name of a tracker that looks as if its package were installed."""
    for path, text in STAND_INS[request.param].items():
        (tmp_path / "packages" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "packages" / path).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    for name in ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    yield request.param
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES.values()]:
        del sys.modules[name]


@pytest.mark.parametrize("stand_in", STAND_INS, indirect=True)
def test_every_step_is_reported(tmp_path, stand_in, monkeypatch):
    if stand_in != "tensorboard":  # TRL looks for these when it is first imported, which may be long ago
        profiling = importlib.import_module("trl.extras.profiling")
        monkeypatch.setattr(profiling, stand_in, importlib.import_module(stand_in), raising=False)
    place = Place(tmp_path / "runs", report_to=parse(stand_in))
    cell = CellRun(suite_of(data()), "grpo", 0, place)
    cell.training.train()
    calls = sys.modules[PACKAGES[stand_in]].calls
    log = read_training_log(cell.folder)
    told: dict[int, dict[str, float]] = {}
    for kind, values in calls:
        if kind == "log" and "train/global_step" in values:
            told.setdefault(values["train/global_step"], {}).update(values)
    for line in log:
        for name in ("reward", "accuracy", "entropy", "completions/mean_length", "loss"):
            assert told[line["update"]][f"train/{name}"] == pytest.approx(line[name])
    [first] = [values for kind, values in calls if kind == "init"]
    train = str(cell.folder / "train")
    if stand_in == "tensorboard":
        assert first == str(cell.folder / "train" / "tensorboard")
    elif stand_in == "wandb":
        assert first == {"project": PROJECT, "name": "micro/grpo-s0", "folder": train}
        assert calls[-1] == ("finish", None)
    else:
        assert (first["project"], first["name"], first["space_id"]) == (PROJECT, "micro/grpo-s0", None)
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ and "WANDB_DIR" not in os.environ


def test_it_is_no_part_of_what_is_asked(tmp_path):
    asked = [
        CellRun(suite_of(data()), "grpo", 0, Place(tmp_path, report_to=names)).question(SimpleNamespace(identity="x"))
        for names in ((), ("wandb",))
    ]
    assert asked[0] == asked[1]


def test_no_setting_of_the_record_says_who_watched(tmp_path):
    """So that two records of the same question do not differ."""
    from algorithms.config import config_fields
    from algorithms.train import Reports, refusal

    training = CellRun(suite_of(data()), "grpo", 0, Place(tmp_path)).training
    algorithm, settings = training.make_algorithm(), training.suite.training
    fields = config_fields(algorithm, settings, folder="", seed=0, processes=1, accelerator=False)
    assert not {"report_to", "run_name", "project"} & fields.keys()
    assert Reports().fields() == {"report_to": "none"} and refusal(algorithm, settings) is None


@pytest.mark.parametrize("command", [["bench", "--algo", "grpo"], ["grid", "--algos", "grpo"]])
def test_a_missing_package_is_one_line_before_anything_runs(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    suite = write(tmp_path)
    arguments = [*command, "--suite", str(suite), "--out", str(tmp_path / "runs"), "--report-to", "wandb"]
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", *arguments])
    assert program._run() == 2
    assert capsys.readouterr().err == "rlvr-gap: --report-to wandb needs the package wandb: pip install wandb.\n"
    assert not (tmp_path / "runs").exists()


def test_names(monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: name == "tensorboardX" or None)
    assert parse("") == () and parse("tensorboard, tensorboard") == ("tensorboard",)
    with pytest.raises(UsageError, match=r"unknown tracker 'tensorbord'. Did you mean 'tensorboard'\?"):
        parse("tensorbord")


def test_what_the_environment_says_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    with following(("wandb",), tmp_path):
        assert os.environ["WANDB_PROJECT"] == "mine" and os.environ["WANDB_DIR"] == str(tmp_path)
    assert os.environ["WANDB_PROJECT"] == "mine" and "WANDB_DIR" not in os.environ


# ---------------------------------------------------------------------------------------------- the log, and its line


def test_headline():
    metrics = {"reward": 0.3125, "accuracy": 0.25, "entropy": 0.15734, "completions/mean_length": 35.42, "loss": 1.0}
    assert headline(metrics) == "reward 0.312, accuracy 0.25, entropy 0.157, length 35.4"
    assert headline({"reward": float("nan"), "entropy": None}) == ""


def test_a_log_that_is_being_written(tmp_path):
    path = tmp_path / "train" / "log.jsonl"
    path.parent.mkdir()
    whole = [json.dumps({"step": step, "update": 2 * step, "reward": 0.5}) + "\n" for step in (1, 2)]
    path.write_text("".join(whole) + '{"step": 3, "upd')
    assert [row["step"] for row in read_training_log(tmp_path)] == [1, 2]
    assert read_training_log(Path(tmp_path / "none")) is None
    path.write_text('{"step": 1, "update": 2, "reward": "high"}\n')
    with pytest.raises(Failure, match="line 1: reward is 'high', which is no number"):
        read_training_log(tmp_path)
    path.write_text('{"step": 1\n' + whole[1])
    with pytest.raises(Failure, match=r"train/log.jsonl, line 1: .*expected a JSON object with step and update"):
        read_training_log(tmp_path)
