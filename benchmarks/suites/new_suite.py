"""Writes a commented suite to start from: `rlvr-gap init`. What decides a comparison is said in it, default or not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from benchmarks import tasks
from benchmarks.engines.identity import check_folder
from benchmarks.errors import UsageError, unknown
from benchmarks.files import write_text_atomic
from benchmarks.suites.datasets import Dataset
from benchmarks.suites.outside import whole_path
from benchmarks.suites.schema import parse
from benchmarks.tasks.problem_files import SUFFIXES

_EVALUATION = """\
# A suite says everything that a comparison holds equal. docs/suites.md explains every key, and
#     rlvr-gap config $FILE
# prints it with all defaults and what it costs. Paths are relative to this file.
name: $NAME # names the folder of its runs, runs/$NAME
description: $DESCRIPTION
base_model: $MODEL # a folder, the id of a model on the hub, or embedded:countdown
prompt_template: $TEMPLATE # what a problem is put into; rlvr-gap list templates

evaluation:
  datasets: # one or more, under names of your own
    $DATASET_NAME: $DATASET
  sampling: {temperature: $TEMPERATURE, top_p: $TOP_P, top_k: 0, max_new_tokens: $TOKENS} # top_k: 0 is off
  design: $DESIGN # samples of a problem; $STOPS
  k: $K # the gap is pass@$K of the base - pass@1 of a trained model
"""
_TRAINING = """
training:
  dataset: $DATASET
  budget: {steps: $STEPS} # or completions, or tokens
  prompts_per_step: $PROMPTS
  group_size: $GROUP # completions of a prompt
  mini_batches_per_step: $MINI_BATCHES # updates of the policy in a step
  passes_per_step: 1
  learning_rate: $RATE
  schedule: constant # or linear, cosine
  loss: token_mean # or sequence_mean
  kl_coefficient: 0.0 # weight of the divergence from the base
  sampling: {temperature: 1.0, top_p: 1.0, top_k: 0, max_new_tokens: $TOKENS} # of the rollouts
  save_every_steps: $SAVE # an interrupted training goes on from there
"""
GROUP, MINI_BATCHES, PROMPTS = 8, 4, 32
STOP_AFTER = 4


@dataclass(frozen=True)
class Wanted:
    """What a new suite is to be about. Paths are relative to the working directory."""

    path: Path
    """The file to write."""
    task: str
    """The name of a task, a task of one's own, or a file or folder of problems."""
    model: str
    split: str = "test"
    problems: int | None = None
    training: str | None = None
    """Likewise a task or problems, to train on. None: a suite that only evaluates."""
    training_split: str = "train"
    template: str | None = None
    """None: what fits the task's verifier."""
    columns: tuple[str, str] = ("problem", "answer")
    """Of a file: the problem's and the answer's."""
    n: int = 256
    """The largest number of samples of a problem."""
    k: int | None = None
    """None: n."""
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 1024
    steps: int = 100
    learning_rate: float = 1e-6


def write_suite(wanted: Wanted, force: bool = False) -> dict[str, int]:
    """Writes the file, and returns the sizes of `test` and `train` as far as they could be counted here.

    Nothing is written that would be refused when it is used. UsageError for a file that is there, unless `force`; for a
    task, data or model that do not exist; and for what makes no valid suite.
    """
    path = wanted.path
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"'{path}' is no name for a suite: expected one that ends in .yaml, such as {path}.yaml.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already: choose another name, or overwrite it with --force.")
    if not wanted.model.startswith("embedded:"):
        check_folder(wanted.model)
    asked = {"test": _dataset(wanted, wanted.task, wanted.split, wanted.problems)}
    if wanted.training is not None:
        asked["train"] = _dataset(wanted, wanted.training, wanted.training_split, None)
    sizes = _sizes(path.parent, asked)
    text = _text(wanted, asked, sizes)
    _ = parse(yaml.safe_load(text), str(path), path.parent).base_path
    write_text_atomic(path, text)
    return sizes


def _dataset(wanted: Wanted, task: str, split: str, problems: int | None) -> dict[str, Any]:
    """The keys of a dataset, with paths relative to the suite's file."""
    keys: dict[str, Any] = {"task": task, "split": split}
    if task not in tasks.TASKS and (Path(task).suffix in SUFFIXES or Path(task).expanduser().is_dir()):
        settings = {"path": _relative(task, wanted.path)}
        named = {"problem_column": wanted.columns[0], "answer_column": wanted.columns[1]}
        settings |= {key: name for key, name in named.items() if name != key.partition("_")[0]}
        keys |= {"task": "jsonl", "settings": settings}
    elif task.endswith(".py"):
        keys["task"] = _relative(task, wanted.path)
    return keys | ({"problems": problems} if problems else {})


def _located(folder: Path, keys: dict[str, Any]) -> Dataset:
    """The dataset with whole paths. UsageError for an unknown task."""
    task = whole_path(keys["task"], folder)
    tasks.find(task)
    return Dataset.model_validate({**keys, "task": task}).located(folder)


def _relative(path: str, suite: Path) -> str:
    whole = Path(path).expanduser()
    if whole.is_absolute():
        return str(whole)
    return os.path.relpath(whole.absolute(), suite.parent.absolute())


def _sizes(folder: Path, asked: dict[str, dict[str, Any]]) -> dict[str, int]:
    """How many problems each dataset has, of those that need neither a hub nor a long time."""
    found = {}
    for name, keys in asked.items():
        dataset = _located(folder, keys)
        task = dataset.make_task()
        if dataset.settings or dataset.outside:
            found[name] = len(dataset.load())
        elif dataset.split not in task.splits:
            raise unknown(f"split of task '{dataset.task}'", dataset.split, task.splits)
    return found


def _text(wanted: Wanted, asked: dict[str, dict[str, Any]], sizes: dict[str, int]) -> str:
    n, k = wanted.n, wanted.k or wanted.n
    rounds = [n] if n < 4 * STOP_AFTER else [n // 4, n // 2, n]
    design = {"rounds": rounds} | ({"stop_after": STOP_AFTER} if len(rounds) > 1 else {})
    stops = f"one with {STOP_AFTER} right ones after a round gets no more" if len(rounds) > 1 else "all get as many"
    test = asked["test"]
    text = Template(_EVALUATION).substitute(
        FILE=wanted.path, NAME=_yaml(wanted.path.stem), DESCRIPTION=_yaml(_description(test, wanted)),
        MODEL=_yaml(_model(wanted)), TEMPLATE=_yaml(wanted.template or _fitting_template(wanted.path.parent, test)),
        DATASET_NAME=_yaml(test["split"]), DATASET=_yaml(test), TEMPERATURE=wanted.temperature, TOP_P=wanted.top_p,
        TOKENS=wanted.max_new_tokens, DESIGN=_yaml(design), STOPS=stops, K=k,
    )  # fmt: skip
    if "train" not in asked:
        return text
    return text + Template(_TRAINING).substitute(
        DATASET=_yaml(asked["train"]), STEPS=wanted.steps, GROUP=GROUP, MINI_BATCHES=MINI_BATCHES,
        PROMPTS=min(PROMPTS, sizes.get("train", PROMPTS)), RATE=_yaml(wanted.learning_rate),
        TOKENS=wanted.max_new_tokens, SAVE=max(1, wanted.steps // 5),
    )  # fmt: skip


def _description(dataset: dict[str, Any], wanted: Wanted) -> str:
    what = Path(dataset.get("settings", {}).get("path", dataset["task"])).name
    return f"{'Training and evaluation' if wanted.training else 'Evaluation'} of {Path(wanted.model).name} on {what}."


def _model(wanted: Wanted) -> str:
    """A folder by its path relative to the suite, with `./` in front, so that it is not taken for a hub id."""
    if wanted.model.startswith("embedded:") or not Path(wanted.model).expanduser().is_dir():
        return wanted.model
    path = _relative(wanted.model, wanted.path)
    return path if path.startswith((".", "/")) else f"./{path}"


def _fitting_template(folder: Path, keys: dict[str, Any]) -> str:
    """The math verifier reads a box, which a problem must ask for."""
    return "boxed" if _located(folder, keys).make_task().verifier == "math" else "raw"


def _yaml(value: Any) -> str:
    """A value in one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()
