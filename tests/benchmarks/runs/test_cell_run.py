"""A cell from end to end on a suite of seconds: its record, its repetition, its interruption, and what it refuses."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from benchmarks import __main__ as program
from benchmarks.errors import Failure
from benchmarks.files import content_hash, file_sha256
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import read_record
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.cell_training import training_record
from benchmarks.runs.run_folder import Place
from benchmarks.statistics.counts import read_counts
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.tasks.countdown import SIZES
from tests.benchmarks.micro import cell, snapshot, write

ROOT = Path(__file__).parents[3]
BASE_MODEL = ROOT / "benchmarks" / "base_models" / "countdown"
SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}
COUNTS = "eval/test/counts.jsonl"
pytestmark = pytest.mark.usefixtures("few_problems")


@pytest.fixture(scope="module")
def done(tmp_path_factory, few_problems) -> CellRun:
    """A cell that is done, with its base."""
    run = cell(tmp_path_factory.mktemp("done"))
    run.run()
    return run


@pytest.fixture
def copied(done, tmp_path) -> CellRun:
    """The same in a folder of its own, to be broken."""
    shutil.copytree(done.place.out, tmp_path / "runs")
    return cell(tmp_path / "runs")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same_file(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()


# ------------------------------------------------------------------------------------------------ the record


def test_the_record_agrees_with_the_files(done):
    record = read_record(done.folder / "record.json")
    spec = json.loads((done.folder / "spec.json").read_text())
    assert record.valid and record.suite.hash == done.suite.hash
    assert record.spec_hash == spec["hash"] == content_hash(spec["asked"])
    evaluation = record.evaluations["test"]
    assert evaluation.counts.path == COUNTS and evaluation.counts.sha256 == file_sha256(done.folder / COUNTS)
    stored = evaluation.completions_file
    assert stored is not None and stored.sha256 == file_sha256(done.folder / stored.path)
    assert len(read_evaluated(evaluation, done.folder).problem_ids) == evaluation.n_problems == 4
    assert 4 * 2 <= evaluation.completions <= 4 * 8 and set(evaluation.pass_at_k) == {1, 2, 4, 8}


def test_the_gap_is_that_of_the_two_counts_files(done):
    record, base = read_record(done.folder / "record.json"), read_record(done.base.folder / "record.json")
    expected = sampling_efficiency_gap(read_counts(done.base.folder / COUNTS), read_counts(done.folder / COUNTS), 8)
    assert record.gap is not None and record.gap["test"] == expected
    assert expected.base_pass_at_k == base.evaluations["test"].pass_at_k[8]
    assert expected.trained_pass_at_1 == record.evaluations["test"].pass_at_k[1]
    assert (base.gap, base.training, base.cell.algorithm) == (None, None, "base")


def test_the_record_says_what_training_cost(done):
    training = read_record(done.folder / "record.json").training
    assert training is not None
    assert (training.steps, training.completions, training.stopped_by) == (2, 16, "steps")
    assert 0 < training.updates <= 4 and 16 <= training.tokens <= 16 * 48
    assert set(training.seconds) == {"generate", "verify", "train", "optimizer"}
    assert training.token_passes is not None and training.token_passes["sampling"] == training.tokens
    assert training.load is not None and training.load.wall_seconds > sum(training.seconds.values())
    log = lines(done.folder / "train")
    assert [(line["step"], line["update"]) for line in log] == [(1, 2), (2, 4)]
    assert training.metrics["cost/tokens"] == log[-1]["cost/tokens"] == training.tokens


def test_the_record_holds_every_setting_and_where_it_comes_from(done):
    record = read_record(done.folder / "record.json")
    assert record.settings["suite"] == done.suite.model_dump(mode="json")
    assert record.settings["algorithm"]["name"] == "grpo"
    assert record.settings["trl"]["learning_rate"] == 1e-3 and record.settings["trl"]["num_generations"] == 4
    assert {"python", "torch", "transformers", "trl"} <= set(record.provenance.versions)
    assert record.provenance.finished >= record.provenance.started and record.provenance.command


def test_training_moved_the_weights(done):
    """Else nothing below about weights that agree would mean a thing."""
    before, after = (
        load_file(BASE_MODEL / "model.safetensors"),
        load_file(done.folder / "train/final/model.safetensors"),
    )
    assert set(before) == set(after)
    assert any((before[name] != after[name]).any() for name in before)


def test_a_training_process_reads_its_cell_from_the_folder(done):
    found = CellRun.of_folder(done.folder, Place())
    assert (found.folder, found.suite.hash, found.name) == (done.folder, done.suite.hash, done.name)
    assert found.training.train().policy == done.folder / "train" / "final"


def test_numbers_that_are_not_finite_do_not_cost_the_record(done):
    result = done.training.train()
    result.metrics["reward"] = float("nan")
    assert training_record(result).metrics["reward"] is None


# ------------------------------------------------------------------------------------------------ again


def test_a_second_run_does_nothing(done):
    before = snapshot(done.place.out)
    assert done.run() == read_record(done.folder / "record.json")
    assert snapshot(done.place.out) == before


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_does_not(done, tmp_path):
    again = cell(tmp_path)
    record = again.run()
    for name in (COUNTS, "train/log.jsonl", "train/final/model.safetensors"):
        assert same_file(again.folder / name, done.folder / name), name
    assert same_file(again.base.folder / COUNTS, done.base.folder / COUNTS)
    assert record.gap == read_record(done.folder / "record.json").gap

    before = snapshot(again.base.folder)
    other = cell(tmp_path, seed=1)
    other.run()
    assert snapshot(again.base.folder) == before, "the base is run once for all"
    for name in (COUNTS, "train/log.jsonl", "train/final/model.safetensors"):
        assert not same_file(other.folder / name, done.folder / name), name


def test_another_engine_is_refused_in_the_same_folder(copied):
    before = snapshot(copied.place.out)
    with pytest.raises(Failure) as error:
        cell(copied.place.out, changes=SCRIPTED).run()
    words = "engine = 'transformers', but you asked for 'scripted'"
    assert f"{copied.folder} holds a run with {words}" in str(error.value) and "another OUT" in str(error.value)
    assert snapshot(copied.place.out) == before


@pytest.mark.parametrize(
    "changes", [{"training.learning_rate": 2e-3}, {"training.budget": {"tokens": 9}}, {"evaluation.k": 4}]
)
def test_a_changed_suite_has_another_folder(copied, changes):
    changed = cell(copied.place.out, changes=changes)
    assert changed.suite.hash != copied.suite.hash
    assert changed.folder == copied.place.out / f"micro-{changed.suite.hash[:8]}" / "grpo-s0"
    (copied.folder.parent / "suite.json").unlink()  # as runs of earlier versions are
    assert cell(copied.place.out, changes=changes).folder == changed.folder
    assert cell(copied.place.out).folder == copied.folder


def test_what_moves_no_number_is_not_refused(copied):
    before = snapshot(copied.place.out)
    cell(copied.place.out, changes={"description": "Other words.", "engine.workers": 2}).run()
    assert snapshot(copied.place.out) == before


def test_a_record_of_another_spec_is_refused(copied):
    record = json.loads((copied.folder / "record.json").read_text())
    (copied.folder / "record.json").write_text(json.dumps(record | {"spec_hash": "0" * 16}))
    before = snapshot(copied.place.out)
    with pytest.raises(Failure, match=r"record\.json is of another spec than"):
        copied.run()
    assert snapshot(copied.place.out) == before


def test_an_interrupted_evaluation_goes_on(copied):
    """Without record and counts, from the trained weights that are there."""
    shutil.rmtree(copied.folder / "eval")
    counts_before, train_before = read_record(copied.folder / "record.json"), snapshot(copied.folder / "train")
    (copied.folder / "record.json").unlink()
    record = copied.run()
    assert record.gap == counts_before.gap and snapshot(copied.folder / "train") == train_before


# ------------------------------------------------------------------------------------------------ killed

KILLED = ("grpo", "ppo", "dapo", "prorl")
LONGER = {
    "training.budget": {"steps": 4},
    "training.prompts_per_step": 4,
    "training.save_every_steps": 2,
    "training.algorithms": {"dapo": {"refill_rounds": 2}, "prorl": {"refill_rounds": 2, "reset_every_steps": 1}},
}
"""Two updates a step: checkpoints at updates 4 and 8."""
LAST = 7
"""The update after which the process is killed: in the middle of step 4."""


def train_and_die(folder: Path, algorithm: str) -> None:
    """In a process of its own, which gets SIGKILL between two mini-batches of the last step."""
    code = (
        f"from benchmarks.tasks.countdown import SIZES; SIZES['train'] = {SIZES['train']}; "
        "from tests.benchmarks.micro import train_and_die; "
        f"train_and_die({str(folder)!r}, {algorithm!r}, {LONGER!r}, {LAST})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", KILLED)
def test_a_killed_training_ends_as_one_that_was_not(tmp_path, algorithm):
    resumed, whole = (cell(tmp_path / name, algorithm, changes=LONGER) for name in ("killed", "whole"))
    train_and_die(tmp_path / "killed", algorithm)
    folder, expected = resumed.folder / "train", whole.folder / "train"
    assert len(lines(folder)) == 3 and not (folder / "final").exists()
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-4"]

    results = [run.training.train() for run in (whole, resumed)]
    assert same_file(folder / "final/model.safetensors", expected / "final/model.safetensors")
    assert same_file(folder / "log.jsonl", expected / "log.jsonl") and len(lines(folder)) == 4
    assert (results[0].metrics, results[0].stopped_by) == (results[1].metrics, results[1].stopped_by)
    for name in ("steps", "updates", "sampled", "discarded", "greedy"):
        assert getattr(results[0].cost, name) == getattr(results[1].cost, name), name
    compare_own_state(algorithm, folder / "checkpoint-8", expected / "checkpoint-8")


def compare_own_state(algorithm: str, checkpoint: Path, expected: Path) -> None:
    """What only some algorithms have: a critic with its optimiser, a place in the stream of fresh prompts."""
    state, wanted = (json.loads((folder / "rlvr_state.json").read_text()) for folder in (checkpoint, expected))
    assert state["refill_cursor"] == wanted["refill_cursor"]
    if algorithm == "ppo":
        critic, wanted_critic = snapshot(checkpoint / "critic"), snapshot(expected / "critic")
        assert {name: digest for name, (_, digest) in critic.items()} == {n: d for n, (_, d) in wanted_critic.items()}
        assert len(critic) == 2, "weights and optimiser"
    if algorithm == "prorl":
        reference = checkpoint / "reference" / "model.safetensors"
        assert same_file(reference, expected / "reference" / "model.safetensors")
        assert not same_file(reference, checkpoint / "model.safetensors"), "the policy has moved on since the reset"
    if algorithm == "dapo":
        assert state["refill_cursor"] > 0 and state["cost"]["discarded"]["completions"] > 0, "it did refill"


def unfinish(run: CellRun) -> None:
    """As if killed between the last checkpoint and the end."""
    shutil.rmtree(run.folder / "train" / "final")
    (run.folder / "train" / "result.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("budget", [{"steps": 2}, {"tokens": 500}])
def test_a_training_killed_at_its_last_checkpoint_makes_no_further_step(tmp_path, budget):
    run = cell(tmp_path, changes={"training.budget": budget})
    before = run.training.train()
    policy, log = (run.folder / "train" / name for name in ("final/model.safetensors", "log.jsonl"))
    expected = policy.read_bytes(), log.read_text()
    unfinish(run)
    after = run.training.train()
    assert log.read_text() == expected[1] and policy.read_bytes() == expected[0]
    assert (after.cost.steps, after.cost.sampled, after.metrics) == (
        before.cost.steps,
        before.cost.sampled,
        before.metrics,
    )


@pytest.mark.slow
def test_ctrl_c_in_training_and_the_same_command_goes_on(monkeypatch, capsys, tmp_path):
    from algorithms.train import StepCallback

    on_step_end, interrupted = StepCallback.on_step_end, []

    def interrupt(self, args, state, control, **rest):
        on_step_end(self, args, state, control, **rest)
        if state.global_step == 3 and not interrupted:
            interrupted.append(True)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(StepCallback, "on_step_end", interrupt)
    monkeypatch.setattr("benchmarks.cli.results.show", lambda *_: None)
    suite, out = write(tmp_path, SCRIPTED), tmp_path / "runs"
    monkeypatch.setattr(
        sys, "argv", ["rlvr-gap", "bench", "--algo", "grpo", "--suite", str(suite), "--out", str(out), "--quiet"]
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert program._run() == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.splitlines()[-1] == "rlvr-gap: interrupted; the same command goes on from here."
    assert program._run() == 0
    assert len(lines(out / "micro" / "grpo-s0" / "train")) == 2 and (out / "micro/grpo-s0/record.json").exists()


# ------------------------------------------------------------------------------------------------ no space, odd files


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [1, 4])
def test_no_space_for_a_checkpoint(tmp_path, megabytes):
    """1 MB: the weights do not fit. 4 MB: the optimiser's state, which torch writes in another way, does not."""
    run = cell(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 2**20, hard))
    try:
        with pytest.raises(Failure, match="cannot write the training in") as error:
            run.training.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(run.folder / "train") in str(error.value) and "\n" not in str(error.value)
    assert run.training.train().cost.steps == 2


@pytest.mark.slow
def test_a_checkpoint_of_another_architecture(tmp_path):
    """Weights that do not fit must not be left out quietly: the training would go on from the base."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    run = cell(tmp_path)
    run.training.train()
    unfinish(run)
    checkpoint = run.folder / "train" / "checkpoint-4"
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=25, n_positions=64, n_embd=16, n_layer=1, n_head=2)).save_pretrained(
        checkpoint
    )
    before = snapshot(tmp_path)
    with pytest.raises(Failure) as error:
        run.training.train()
    assert str(checkpoint) in str(error.value) and "\n" not in str(error.value)
    assert {name: at for name, at in snapshot(tmp_path).items() if "checkpoint" in name} == {
        name: at for name, at in before.items() if "checkpoint" in name
    }


# ------------------------------------------------------------------------------------------------ budgets


@pytest.mark.slow
@pytest.mark.parametrize("algorithm, unit, amount", [("grpo", "tokens", 500), ("dapo", "completions", 20)])
def test_a_budget_ends_on_the_step_that_uses_it_up(tmp_path, algorithm, unit, amount):
    """The last whole step is the first after which the budget is used; discarded rollouts count."""
    run = cell(tmp_path, algorithm, changes={"training.budget": {unit: amount}, "training.save_every_steps": 50})
    training = training_record(run.training.train())
    used = [line[f"cost/{unit}"] for line in lines(run.folder / "train")]
    assert used == sorted(used) and used[-1] >= amount and all(value < amount for value in used[:-1])
    assert training.stopped_by == unit and training.steps == len(used)
    assert getattr(training, unit) + getattr(training.discarded, unit) == used[-1]
    assert lines(run.folder / "train")[-1]["update"] == 2 * training.steps, "on a generation boundary"
