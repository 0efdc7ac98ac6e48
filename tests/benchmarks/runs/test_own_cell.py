"""A cell with an algorithm, a task and a verifier of a user's own: what the record holds, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import algorithms
from algorithms.base import Rollouts
from algorithms.conformance import findings
from benchmarks.errors import Failure, UsageError
from benchmarks.files import file_sha256
from benchmarks.progress import Progress
from benchmarks.records.schema import read_record
from benchmarks.runs import cell_run
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.grid import GridRun
from benchmarks.runs.grid_plan import plan
from benchmarks.runs.learning_check import Learning, check_learning
from benchmarks.runs.model_run import ModelRun
from benchmarks.runs.regrade_run import RunFolder
from benchmarks.runs.run_folder import Place
from benchmarks.suites.datasets import Dataset
from benchmarks.suites.schema import load, parse
from benchmarks.tasks.countdown import SIZES
from benchmarks.verifiers.math import MathVerifier
from tests.benchmarks import micro
from tests.benchmarks.micro import cell, data, snapshot
from tests.benchmarks.outside.own import ALGORITHM, TASK, VERIFIER, write, write_task

ROOT = Path(__file__).parents[3]
SETTINGS = {"training.algorithms": {"mine": {"scale": 2.0}}}
SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}
pytestmark = pytest.mark.usefixtures("few_problems")


@pytest.fixture(scope="module")
def done(tmp_path_factory, few_problems) -> CellRun:
    """A finished cell with settings for its algorithm."""
    folder = tmp_path_factory.mktemp("own")
    run = cell(folder / "runs", str(write(folder)), changes=SETTINGS | SCRIPTED)
    run.run()
    return run


def test_the_record_holds_the_source(done):
    record = read_record(done.folder / "record.json")
    assert done.folder.name == "mine-s0" and record.cell.algorithm == "mine"
    described = record.settings["algorithm"]
    assert described["name"] == "mine" and described["settings"] == {"scale": 2.0}
    source = described["source"]
    assert source["files"] == {"mine.py": ALGORITHM} and source["sha256"] == done.found.source.sha256
    assert source["built_in"] == {"base.py": file_sha256(ROOT / "algorithms" / "base.py")}


def test_the_spec_holds_the_hash_and_where_to_find_it(done):
    spec = json.loads((done.folder / "spec.json").read_text())
    own, built_in = done.found.source.hashes, algorithms.find("grpo").code["algorithms/base.py"]
    assert spec["asked"]["source"].items() >= {**own, "algorithms/base.py": built_in}.items()
    assert str(done.place.out.parent) not in json.dumps(spec["asked"]), "a moved file asks the same question"
    assert spec["found_at"]["algorithm"] == f"{done.place.out.parent / 'mine.py'}:Mine"
    assert "found_at" not in json.loads((done.base.folder / "spec.json").read_text())


def test_a_second_run_does_nothing(done):
    before = snapshot(done.place.out)
    cell(done.place.out, str(done.place.out.parent / "mine.py"), changes=SETTINGS | SCRIPTED).run()
    assert snapshot(done.place.out) == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_changed_source_is_refused_by_name(done, tmp_path, finished):
    shutil.copytree(done.place.out, tmp_path / "runs")
    if not finished:
        (tmp_path / "runs/micro/mine-s0/record.json").unlink()
    path = write(tmp_path, text=ALGORITHM.replace("scale * (", "scale * -("))
    before = snapshot(tmp_path)
    words = r"mine-s0 holds a run with other code of mine\.py \(\w{16} there, \w{16} now\): start the cell afresh"
    with pytest.raises(Failure, match=words):
        cell(tmp_path / "runs", str(path), changes=SETTINGS | SCRIPTED).run()
    assert snapshot(tmp_path) == before


def test_a_moved_file_is_the_same_and_is_found_where_it_is(done, tmp_path):
    shutil.copytree(done.place.out, tmp_path / "runs")
    path = write(tmp_path / "elsewhere")
    moved = cell(tmp_path / "runs", str(path), changes=SETTINGS | SCRIPTED)
    assert moved.run() == read_record(done.folder / "record.json")
    child = CellRun.of_folder(moved.folder, Place())
    assert child.found is not None and child.found.reference == f"{path}:Mine" and child.name == "mine-s0"


def test_a_training_process_refuses_a_file_that_changed_since(done, tmp_path):
    shutil.copytree(done.place.out, tmp_path / "runs")
    path = write(tmp_path)
    run = cell(tmp_path / "runs", str(path), changes=SETTINGS | SCRIPTED)
    run.run()
    write(tmp_path, text=ALGORITHM + "# a comment is no other code\n")
    CellRun.of_folder(run.folder, Place())
    write(tmp_path, text=ALGORITHM + "LATER = 1\n")
    with pytest.raises(Failure, match=r"other code of mine\.py"):
        CellRun.of_folder(run.folder, Place())


def test_a_built_in_record_has_the_hashes_of_its_files(tmp_path):
    from algorithms import find
    from algorithms.config import source_of

    expected = {name: file_sha256(ROOT / "algorithms" / name) for name in ("base.py", "dapo.py", "grpo.py")}
    assert source_of(find("dapo")) == {"built_in": expected}


# ------------------------------------------------------------------------------------------------ settings of others


def test_settings_of_an_algorithm_that_nobody_named(tmp_path):
    with pytest.raises(UsageError, match="unknown algorithm 'mine'"):
        cell(tmp_path, "grpo", changes=SETTINGS)
    path = str(write(tmp_path))
    assert CellRun(parse(data(SETTINGS)), "grpo", 0, Place(tmp_path), (path,)).base.suite.training.algorithms
    assert cell(tmp_path, path, changes=SETTINGS).base.name == "base"


def test_a_grid_of_own_and_built_in_algorithms(tmp_path):
    path = str(write(tmp_path))
    place = Place(tmp_path / "runs")
    cells = plan(parse(data(SETTINGS)), ["rloo", path], ["0", "1"], place)
    assert [cell.name for cell in cells] == ["base", "rloo-s0", "mine-s0", "rloo-s1", "mine-s1"]
    tasks = [GridRun(cells, ["--no-page"]).task(cell, {"base"}) for cell in cells]
    mine = f"{path}:Mine"
    assert [task.command[2] for task in tasks] == ["base", "rloo", mine, "rloo", mine]
    assert all(task.command[-2:] == ("--beside", path) for task in tasks)
    assert len({cell.spec_hash for cell in cells}) == len(cells)
    with pytest.raises(UsageError, match="have the same name, 'mine'"):
        plan(parse(data()), [path, str(write(tmp_path, "again.py"))], ["0"], place)


# ------------------------------------------------------------------------------------------------ several processes


def train_and_die(folder: Path, algorithm: str) -> None:
    code = (
        f"from benchmarks.tasks.countdown import SIZES; SIZES['train'] = {SIZES['train']}; "
        f"from tests.benchmarks.micro import train_and_die; train_and_die({str(folder)!r}, {algorithm!r}, {{}}, 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_training_goes_on(tmp_path):
    path = str(write(tmp_path))
    train_and_die(tmp_path / "killed", path)
    resumed, whole = (cell(tmp_path / name, path) for name in ("killed", "whole"))
    assert [found.name for found in resumed.folder.glob("train/checkpoint-*")] == ["checkpoint-2"]
    for run in (resumed, whole):
        run.training.train()
    for name in ("train/final/model.safetensors", "train/log.jsonl"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_train_it(tmp_path, monkeypatch):
    """Each of them reads the cell, with algorithm and task, from the folder."""
    monkeypatch.chdir(ROOT)
    write_task(tmp_path)
    changes = {"training.dataset": {"task": "my_task.py", "split": "train", "problems": 8}}
    suite = load(str(micro.write(tmp_path, SCRIPTED | changes)))
    run = CellRun(suite, str(write(tmp_path)), 0, Place(tmp_path / "runs", processes=2))
    record = run.run()
    assert record.training is not None and record.training.steps == 2 and record.training.completions == 16
    assert json.loads((run.folder / "train/result.json").read_text())["processes"] == 2
    assert set(record.settings["sources"]) == {"task my_task", "verifier my_verifier"}


# ------------------------------------------------------------------------------------------------ tasks and verifiers

OWN_TASK = {"evaluation.datasets": {"test": {"task": "my_task.py", "split": "test", "problems": 4}}}


def base(folder: Path) -> CellRun:
    return CellRun(load(str(micro.write(folder, SCRIPTED | OWN_TASK))), "base", 0, Place(folder / "runs"))


def test_a_task_of_ones_own_in_a_suite(tmp_path):
    """Relative to the suite's file; the verifier relative to the task's."""
    write_task(tmp_path)
    run = base(tmp_path)
    record = run.run()
    versions = record.evaluations["test"].versions
    assert str(versions.task).startswith("2@") and str(versions.verifier).startswith("1@")
    assert record.settings["sources"]["task my_task"]["files"] == {"my_task.py": TASK}
    assert record.settings["sources"]["verifier my_verifier"]["files"] == {"my_verifier.py": VERIFIER}
    assert RunFolder.read(run.folder).suite.hash == run.suite.hash == record.suite.hash


def test_the_hash_of_a_suite_goes_by_the_source_and_not_by_the_place(tmp_path):
    for name in ("a", "b"):
        write_task(tmp_path / name)
    first, second = (base(tmp_path / name).suite for name in ("a", "b"))
    assert first.hash == second.hash and first != second
    assert first.asked["evaluation"]["datasets"]["test"]["task"].startswith("my_task@")
    write(tmp_path / "b", "my_verifier.py", VERIFIER + "# later\n")
    assert base(tmp_path / "b").suite.hash != first.hash


@pytest.mark.parametrize("name, text", [("my_task.py", TASK), ("my_verifier.py", VERIFIER)])
def test_a_changed_task_or_verifier_is_never_mixed(tmp_path, name, text):
    write_task(tmp_path)
    base(tmp_path).run()
    write(tmp_path, name, text + "# later\n")
    before = snapshot(tmp_path / "runs" / "micro")
    changed = base(tmp_path)
    assert changed.folder == tmp_path / "runs" / f"micro-{changed.suite.hash[:8]}" / "base"
    changed.run()
    assert snapshot(tmp_path / "runs" / "micro") == before


def test_a_verifier_that_is_edited_while_a_run_goes_on(tmp_path, monkeypatch):
    """Its verdicts are of one text, and what comes after them of another: there is no record of that."""
    write_task(tmp_path)
    run, evaluate = base(tmp_path), cell_run.evaluate_suite

    def edit(*arguments, **options):
        results = evaluate(*arguments, **options)
        write(tmp_path, "my_verifier.py", VERIFIER + "# later\n")
        return results

    monkeypatch.setattr(cell_run, "evaluate_suite", edit)
    with pytest.raises(Failure, match=r"my_verifier@\w{16}', but you asked for 'my_verifier@"):
        run.run()
    assert not (run.folder / "record.json").exists()


def test_a_regrade_records_the_verifier_that_it_used(tmp_path):
    write_task(tmp_path)
    run = base(tmp_path)
    before = run.run()
    write(tmp_path, "my_verifier.py", VERIFIER + "# later\n")
    after = RunFolder.read(run.folder).regrade(Place(tmp_path)).record
    assert after.settings["sources"] == before.settings["sources"]
    files = after.settings["regraded"]["sources"]["verifier my_verifier"]["files"]
    assert files == {"my_verifier.py": VERIFIER + "# later\n"}
    assert after.evaluations["test"].versions.verifier != before.evaluations["test"].versions.verifier


def test_any_model_is_recorded_with_the_source_of_the_task(tmp_path):
    write_task(tmp_path)
    run = base(tmp_path)
    record = ModelRun(run.suite, run.suite.base_path, run.place, None, "again").run()
    assert set(record.settings["sources"]) == {"task my_task", "verifier my_verifier"}


def test_a_task_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"there is no file .*my_task\.py"):
        base(tmp_path)


# ------------------------------------------------------------------------------------------------ documentation


def example() -> str:
    """The algorithm in docs/extend.md."""
    found = re.search(r"^```python\n(# my_dr_grpo\.py\n.*?)^```", (ROOT / "docs/extend.md").read_text(), re.M | re.S)
    assert found is not None
    return found[1]


def test_the_example_of_the_documentation_is_sound_and_is_what_it_says(tmp_path):
    """Rewards [1, 0, 0, 1] have the mean 1/2: the deviations are [1/2, -1/2, -1/2, 1/2], and no std divides them."""
    made = algorithms.get(str(write(tmp_path, "my_dr_grpo.py", example())))
    assert findings(made) == []
    rollouts = Rollouts(torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.ones(4, 2), group_size=4)
    assert made.advantages(rollouts).tolist() == [0.5, -0.5, -0.5, 0.5]


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(tmp_path):
    path = write(tmp_path, "my_dr_grpo.py", example())
    changes = SCRIPTED | {"training.algorithms": {"my_dr_grpo": {"scale": 0.5}}}
    record = cell(tmp_path / "runs", str(path), changes=changes).run()
    assert record.settings["algorithm"]["settings"] == {"scale": 0.5}
    assert read_record(tmp_path / "runs/micro/my_dr_grpo-s0/record.json") == record


# ------------------------------------------------------------------------------------------------ learning


@pytest.mark.slow
def test_an_algorithm_that_changes_nothing_does_not_learn(tmp_path):
    """The check as it is, with a training of two steps. That it sees what learns was measured (learning_check.py)."""
    path = write(tmp_path, text=ALGORITHM.replace("self.scale * (", "0 * ("))
    found = check_learning(algorithms.find(str(path)), Progress(quiet=True), parse(data({"training.reward": "answer"})))
    assert 0 <= found.before <= 1 and found.standard_error > 0 and not found.learns


def test_what_counts_as_learning():
    """Three standard errors are not enough, 3.1 are."""
    assert not Learning(0.2, 0.23, 0.01).learns and Learning(0.2, 0.231, 0.01).learns
    assert not Learning(0.2, 0.1, 0.01).learns and not Learning(0.2, 0.2, 0.0).learns


def test_an_algorithm_that_cannot_be_trained_is_named(tmp_path):
    path = write(tmp_path, text=ALGORITHM.replace("return rollouts", "return no_such_thing + rollouts"))
    with pytest.raises(Failure, match="mine cannot be trained: NameError: name 'no_such_thing' is not defined"):
        check_learning(algorithms.find(str(path)), Progress(quiet=True), parse(data()))


def test_a_judge_that_cannot_be_imported_ends_a_training(tmp_path, monkeypatch):
    """Every completion would have no verdict, and the policy no reward."""
    run = cell(tmp_path / "runs", "grpo", changes=SCRIPTED)
    run.base.run()
    monkeypatch.setattr(Dataset, "make_verifier", lambda *_: MathVerifier(judge="no_such_module:make"))
    with pytest.raises(Failure, match=r"could not start: ModuleNotFoundError: No module named 'no_such_module'\."):
        run.training.run()
    assert not (run.folder / "train" / "diverged.json").exists()
