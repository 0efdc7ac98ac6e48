"""Two processes compute what one does: the same advantages, loss, weights and costs from the same global batch.

distributed_worker.py does the work, in one launch of two processes for everything (starting them is what takes time).
What is compared is one update from one mini-batch: with several, rows are shuffled within each process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import pad

import algorithms
from algorithms.base import NeedsCritic, NeedsGreedyBaseline, NeedsRefill
from algorithms.train import train
from benchmarks.errors import UsageError
from tests.algorithms import distributed_worker as worker
from tests.algorithms import toy
from tests.benchmarks import micro

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(algorithms.ALGORITHMS)
WORLD = 2
LOGGED = (
    "loss", "grad_norm", "learning_rate", "reward", "reward_std", "accuracy", "invalid_rows", "groups_without_signal",
    "advantage/mean", "advantage/std", "entropy", "completions/mean_length", "completions/max_length",
    "critic/value_loss", "critic/grad_norm", "critic/explained_variance", "refill/rounds", "refill/short_groups",
)  # fmt: skip
"""What a step logs that must not depend on the number of processes."""


@dataclass
class Run:
    """What all processes of a run wrote."""

    folder: Path
    processes: int

    def told(self, name: str, rank: int = 0) -> dict[str, Any]:
        return json.loads((self.folder / f"{name}-{rank}.json").read_text())

    def weights(self, name: str, rank: int = 0) -> dict[str, Tensor]:
        return load_file(self.folder / f"{name}-{rank}-weights.safetensors")

    def parts(self, name: str) -> list[dict[str, Tensor]]:
        return [load_file(self.folder / f"{name}-{rank}.safetensors") for rank in range(self.processes)]

    def batch(self, name: str) -> dict[str, Tensor]:
        """The global batch: the processes' rows one after another, padded to the longest."""
        parts = self.parts(name)
        longest = max(part["completion_ids"].shape[1] for part in parts)
        return {
            key: torch.cat([widen(part[key], longest) for part in parts])
            for key in sorted({key for part in parts for key in part} - {"tool_mask", "tokens"})
        }

    def loss_mask(self, name: str) -> Tensor:
        """Of the global batch: TRL leaves `tool_mask` out where all rows of a process count."""
        parts = self.parts(name)
        longest = max(part["completion_ids"].shape[1] for part in parts)
        masks = [part["completion_mask"] * part.get("tool_mask", torch.tensor(1)) for part in parts]
        return torch.cat([widen(mask, longest) for mask in masks])


def widen(tensor: Tensor, tokens: int) -> Tensor:
    return tensor if tensor.ndim == 1 else pad(tensor, (0, tokens - tensor.shape[1]))


def launch(*arguments: str, processes: int = WORLD) -> subprocess.CompletedProcess[str]:
    """A module under torch.distributed.run, as `bench --processes` starts its training."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return subprocess.run([*command, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = worker.make_policy(tmp_path_factory.mktemp("policy"))
    worker.make_biased(folder / worker.BIASED)
    return folder


@pytest.fixture(scope="module")
def one(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every algorithm's step in this process alone."""
    folder = tmp_path_factory.mktemp("one")
    worker.given_steps(policy, folder, 1)
    worker.given_step("ppo", policy / worker.BIASED, folder / worker.BIASED, 1)
    return Run(folder, 1)


@pytest.fixture(scope="module")
def two(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same in two processes that talk to one another."""
    folder = tmp_path_factory.mktemp("two")
    done = launch("tests.algorithms.distributed_worker", str(policy), str(folder), str(WORLD))
    assert done.returncode == 0, done.stderr[-4000:]
    return Run(folder, WORLD)


# ------------------------------------------------------------------------------------------------ one update


@pytest.mark.parametrize("name", NAMES)
def test_world(name: str, one: Run, two: Run) -> None:
    """Two processes really trained, and were asked for the same rollouts in the same order."""
    assert one.told(name)["world"] == 1
    for rank in range(WORLD):
        assert two.told(name, rank)["world"] == WORLD
        assert two.told(name, rank)["asked"] == one.told(name)["asked"]
    extra = {NeedsRefill: "fresh", NeedsGreedyBaseline: "greedy"}
    asked = [call for need, call in extra.items() if isinstance(algorithms.get(name), need)]
    assert one.told(name)["asked"] == ["given", *asked]


@pytest.mark.parametrize("name", NAMES)
def test_global_batch(name: str, one: Run, two: Run) -> None:
    """The same prompts and completions, row by row; the halves differ in length, so that padding was at work."""
    widths = [part["completion_ids"].shape[1] for part in two.parts(name)]
    assert widths[1] < widths[0] == worker.LIMIT
    ours, theirs = one.batch(name), two.batch(name)
    for key in ("prompt_sums", "completion_ids", "completion_mask"):
        assert torch.equal(ours[key], theirs[key]), key
    assert torch.equal(one.loss_mask(name), two.loss_mask(name))
    assert {int(part["tokens"]) for part in two.parts(name)} == {int(one.loss_mask(name).sum())}


@pytest.mark.parametrize("name", NAMES)
def test_advantages(name: str, one: Run, two: Run) -> None:
    ours, theirs = one.batch(name)["advantages"], two.batch(name)["advantages"]
    assert ours.shape == theirs.shape
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
    assert ours.abs().max() > 0.1
    assert (ours[2] == 0).all(), "the row whose verifier failed has no advantage"


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_metrics(name: str, one: Run, two: Run) -> None:
    """What is logged is of the whole batch and not of the main process's half."""
    ours, theirs = one.told(name)["log"], two.told(name)["log"]
    assert set(ours) == set(theirs)
    known = [key for key in LOGGED if key in ours]
    assert {key: theirs[key] for key in known} == pytest.approx({key: ours[key] for key in known}, abs=1e-5)
    assert ours["grad_norm"] > 0
    if algorithms.get(name).objective.loss != "sequence_mean":  # there, advantages of mean 0 make a loss of 0
        assert ours["loss"] != 0


@pytest.mark.parametrize("name", NAMES)
def test_weights(name: str, one: Run, two: Run, policy: Path) -> None:
    """After the update: the policy's and the critic's, the same on both processes and as one process has them."""
    ours, theirs = one.weights(name), two.weights(name)
    other = two.weights(name, rank=1)
    assert set(ours) == set(theirs) == set(other)
    for key, weight in ours.items():
        assert torch.equal(theirs[key], other[key]), key
        torch.testing.assert_close(theirs[key], weight, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}")
    before = load_file(policy / "model.safetensors")
    assert max(float((ours[f"policy.{key}"] - weight).abs().max()) for key, weight in before.items()) > 1e-3
    assert any(key.startswith("critic.") for key in ours) == isinstance(algorithms.get(name), NeedsCritic)


@pytest.mark.parametrize("name", NAMES)
def test_costs(name: str, one: Run, two: Run) -> None:
    """Counted over all processes, and the same on each."""
    assert two.told(name)["cost"] == two.told(name, rank=1)["cost"] == one.told(name)["cost"]


def test_critic(one: Run, two: Run) -> None:
    """Values before the update and what they are taught, on the tokens that are there."""
    mask_BT = one.batch("ppo")["completion_mask"]
    for key in ("values", "value_targets"):
        ours, theirs = one.batch("ppo")[key] * mask_BT, two.batch("ppo")[key] * mask_BT
        assert ours.std() > 0.1, "a critic that says nothing tests nothing"
        torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


def test_greedy_baseline(two: Run) -> None:
    """Rewards minus 1, minus 0, minus what is not known, minus 1; one greedy completion a prompt."""
    advantages_B = two.batch("remax")["advantages"]
    assert advantages_B.tolist() == [0, -1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, -1, -1, -1]
    tokens = sum(map(len, worker.GREEDY))
    assert two.told("remax")["cost"]["greedy"] == {"completions": 4, "tokens": tokens}


def test_refill(two: Run) -> None:
    """Each process lacked one group; the second found one, which went to the first, and its own stays as filler."""
    told, mask_BT = two.told("dapo"), two.loss_mask("dapo")
    ids = two.batch("dapo")["completion_ids"]
    assert [row[row != toy.PAD].tolist() for row in ids[4:8]] == [list(row) for row in worker.FRESH[2]]
    assert (mask_BT[8:12] == 0).all() and (two.batch("dapo")["advantages"][8:12] == 0).all()
    assert (mask_BT.sum(1)[[*range(8), *range(12, 16)]] > 0).tolist() == [row != 2 for row in range(12)]
    assert told["log"]["refill/rounds"] == 1 and told["log"]["refill/short_groups"] == 1

    def spent(groups: Any) -> dict[str, int]:
        return {"completions": 4 * len(groups), "tokens": sum(len(row) for group in groups for row in group)}

    given, fresh = worker.GIVEN, worker.FRESH
    assert told["cost"]["sampled"] == spent([given[0], fresh[2], given[3]])
    assert told["cost"]["discarded"] == spent([given[1], given[2], fresh[0], fresh[1], fresh[3]])


# ------------------------------------------------------------------------------------------------ whole runs


@pytest.mark.parametrize("name", worker.SHARDED)
def test_sharded_step(name: str, one: Run, two: Run) -> None:
    """Under FSDP every weight is spread over the processes, and the update is the same."""
    sharded = Run(two.folder / "sharded", WORLD)
    ours, theirs = one.weights(name), sharded.weights(name)
    assert sharded.told(name)["sharded"] == sorted(ours) == sorted(theirs)
    assert one.told(name)["sharded"] == two.told(name)["sharded"] == []
    for key, weight in ours.items():
        torch.testing.assert_close(theirs[key], weight, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}")
    known = [key for key in LOGGED if key in one.told(name)["log"]]
    told = [{key: run.told(name)["log"][key] for key in known} for run in (one, sharded)]
    assert told[1] == pytest.approx(told[0], abs=1e-5)


def test_sharded_step_of_a_head_with_a_bias(one: Run, two: Run) -> None:
    """Policy and critic have equally many weights then, which accelerate cannot tell apart."""
    ours = Run(one.folder / worker.BIASED, 1).weights("ppo")
    theirs = Run(two.folder / "sharded" / worker.BIASED, WORLD).weights("ppo")
    kinds = [sum(key.startswith(kind) for key in ours) for kind in ("policy.", "critic.")]
    assert kinds[0] == kinds[1] and set(ours) == set(theirs)
    for key, weight in ours.items():
        if not key.endswith("k_proj.bias"):  # softmax makes it idle: its gradient is rounding, AdamW's step is not
            torch.testing.assert_close(
                theirs[key], weight, atol=1e-5, rtol=0, msg=lambda text, key=key: f"{key}: {text}"
            )


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("", name) for name in worker.RESUMED), *(("sharded", name) for name in worker.RESUMED_SHARDED)],
)
def test_resume(kind: str, name: str, two: Run) -> None:
    """Two processes that go on from a checkpoint end, to the bit, where they would have ended."""
    straight, resumed = (two.folder / kind / way / name for way in ("straight", "resumed"))
    files = ["final/model.safetensors"]
    files += [f"checkpoint-10/critic/{part}.safetensors" for part in ("model", "optimizer") if name == "ppo"]
    files += ["checkpoint-10/reference/model.safetensors"] if name == "prorl" else []
    for file in files:
        ours, theirs = load_file(straight / file), load_file(resumed / file)
        assert ours and ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), file
    assert (straight / "log.jsonl").read_text() == (resumed / "log.jsonl").read_text()
    results = [json.loads((folder / "result.json").read_text()) for folder in (straight, resumed)]
    for result in results:
        assert result["processes"] == WORLD
        del result["cost"]["seconds"], result["cost"]["peak_memory_bytes"], result["cost"]["load"]
    assert results[0] == results[1]


def test_another_world_is_refused(two: Run, policy: Path, tmp_path: Path) -> None:
    """One process where two were asked for, and two where one was: one line each, and nothing is trained."""
    said = [(two.folder / f"refusal-{rank}.txt").read_text() for rank in range(WORLD)]
    with pytest.raises(UsageError) as error:
        train(worker.spec_of("grpo", policy, tmp_path / "run", WORLD))
    for line, found, asked in [*((line, 2, 1) for line in said), (str(error.value), 1, 2)]:
        assert line.startswith(f"{found} training processes run, {asked} were asked for")
        assert "\n" not in line
    assert not (tmp_path / "run").exists() and not (two.folder / "refused").exists()


def test_another_number_of_processes_cannot_go_on(two: Run, policy: Path, tmp_path: Path) -> None:
    """One process finds a checkpoint of two."""
    spec = worker.spec_of("dapo", policy, tmp_path / "run", 1, budget={"steps": 5}, mini_batches_per_step=2)
    shutil.copytree(two.folder / "straight" / "dapo" / "checkpoint-6", spec.folder / "checkpoint-6")
    with pytest.raises(UsageError, match=r"begun by 2 training processes and cannot go on with 1: train with 2"):
        train(spec)


def bench(folder: Path, *options: str, **changes: Any) -> subprocess.CompletedProcess[str]:
    suite = micro.write(folder, changes)
    command = [sys.executable, "-m", "benchmarks", "bench", "--suite", str(suite), "--out", str(folder / "runs")]
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_bench_trains_in_two_processes(tmp_path: Path) -> None:
    """From the command line to the record: two processes, counted together."""
    options = ("--algo", "remax", "--processes", "2", "--workers", "1", "--quiet")
    done = bench(tmp_path, *options, **{"evaluation.datasets.test.problems": 2})
    assert done.returncode == 0, done.stderr[-4000:]
    cell = tmp_path / "runs" / "micro" / "remax-s0"
    assert json.loads((cell / "train" / "result.json").read_text())["processes"] == WORLD
    config = json.loads((cell / "train" / "trl_config.json").read_text())
    assert config["per_device_train_batch_size"] == 2  # 8 rows, 2 mini-batches, 2 processes
    training = json.loads((cell / "record.json").read_text())["training"]
    # 2 steps of 2 prompts x 4, and one greedy completion a prompt. TRL's lengths are gathered over all processes.
    assert (training["steps"], training["updates"], training["completions"]) == (2, 4, 16)
    assert training["greedy"]["completions"] == 4
    log = [json.loads(line) for line in (cell / "train" / "log.jsonl").read_text().splitlines()]
    assert training["tokens"] == pytest.approx(sum(8 * entry["completions/mean_length"] for entry in log))
    assert log[-1]["cost/tokens"] == training["tokens"] + training["greedy"]["tokens"]


def test_bench_refuses_processes_that_do_not_fit(tmp_path: Path) -> None:
    done = bench(tmp_path, "--algo", "grpo", "--processes", "3", "--quiet")
    assert done.returncode == 2
    assert done.stderr.strip() == "rlvr-gap: 2 prompts a step do not split over 3 processes."
    assert not (tmp_path / "runs" / "micro" / "grpo-s0").exists()
