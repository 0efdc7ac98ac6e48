"""All that is wrong with a suite is said at once: each key, what was expected, and the nearest valid one."""

from __future__ import annotations

import pytest
import yaml

from benchmarks.errors import ITEM, UsageError
from benchmarks.suites import schema as suite
from tests.benchmarks.micro import GONE, data, write

MANY = {
    "nmae": "x",
    "base_model": GONE,
    "prompt_template": "rwa",
    "engine.name": "vlm",
    "evaluation.datasets.test.task": "countdwn",
    "evaluation.datasets.test.spilt": "test",
    "evaluation.n": 4,
    "evaluation.temperature": 0.6,
    "evaluation.design": {"rounds": [8, 2], "stop_after": 2},
    "training.lr": 1e-4,
    "training.learning_rate": GONE,
    "training.group_size": "four",
    "training.schedule": "cosin",
    "training.budget": {"steps": 2, "tokens": 9},
    "resources": {"gpu": 8},
}
SAID = [
    "nmae: unknown key 'nmae'. Did you mean 'name'?",
    "base_model: this key is missing (`embedded:NAME`, a folder",
    "prompt_template: unknown prompt template 'rwa'. Did you mean 'raw'?",
    "engine.name: unknown engine 'vlm'. Did you mean 'vllm'?",
    "evaluation.datasets.test.task: unknown task 'countdwn'. Did you mean 'countdown'?",
    "evaluation.datasets.test.spilt: unknown key 'spilt'. Did you mean 'split'?",
    "evaluation.n: unknown key 'n'. Did you mean 'design'?",
    "evaluation.temperature: unknown key 'temperature'. Did you mean 'sampling.temperature'?",
    "evaluation.design: rounds must ascend",
    "training.lr: unknown key 'lr'. Did you mean 'learning_rate'?",
    "training.learning_rate: this key is missing (Learning rate of the policy",
    "training.group_size: expected a valid integer, got 'four'.",
    "training.schedule: expected 'constant', 'linear' or 'cosine', got 'cosin'. Did you mean 'cosine'?",
    "training.budget: a budget is exactly one of steps, completions, tokens.",
    "resources.gpu: unknown key 'gpu'. Did you mean 'gpus'?",
]


def refused(changes):
    with pytest.raises(UsageError) as error:
        suite.parse(data(changes), "mine.yaml")
    return str(error.value)


def test_everything_that_is_wrong_is_said_at_once():
    first, *others = refused(MANY).splitlines()
    assert first == f"mine.yaml: {len(SAID)} things are wrong:"
    assert [said for said in SAID if not any(line.startswith(ITEM + said) for line in others)] == []
    assert len(others) == len(SAID)


def test_chains_that_cannot_be_told_are_all_said():
    """Each verifier that cannot check chains is named, with the key that asks it to."""
    math = {"task": "aime24"}
    message = refused({"training.reward": "sound", "training.dataset": {"task": "gsm8k"}, "evaluation.datasets.m": math,
                       "evaluation.design.stop_on": "sound"})  # fmt: skip
    assert "2 things" in message and "training.reward" in message and "evaluation.design.stop_on" in message


@pytest.mark.parametrize(
    "change, words",
    [
        ("training.lora={rank: 4", ["--set 'training.lora={rank: 4'", "not YAML", "expected ',' or '}'"]),
        ("training.lr=1e-4", ["training.lr: unknown key 'lr'. Did you mean 'learning_rate'?"]),
        ("training.batch_size=4", ["Did you mean 'prompts_per_step'?"]),
        ("training.n=4", ["Did you mean 'group_size'?"]),
        ("training.temperature=1", ["Did you mean 'sampling.temperature'?"]),
        ("training.learning_rate", ["expected a key of the suite and a value"]),
        ("=3", ["expected a key of the suite and a value"]),
        ("training.learning_rate.x=3", ["expected a key of the suite and a value"]),
        ("training.learning_rate=-1e-4", ["training.learning_rate: should be greater than 0, got -0.0001."]),
    ],
)
def test_a_change_that_is_not_valid(change, words):
    with pytest.raises(UsageError) as error:
        suite.with_changes(suite.parse(data()), [change])
    assert "\n" not in str(error.value) and [word for word in words if word not in str(error.value)] == []


def test_the_least_that_a_suite_says(tmp_path):
    """Whatever else there is has a default, and its file names it."""
    least = {
        "base_model": "embedded:countdown",
        "evaluation": {"datasets": {"test": {"task": "countdown"}}, "sampling": {"max_new_tokens": 96}},
        "training": {
            "dataset": {"task": "countdown"}, "budget": {"steps": 2}, "learning_rate": 1e-4,
            "sampling": {"max_new_tokens": 96},
        },
    }  # fmt: skip
    path = tmp_path / "my-suite.yaml"
    path.write_text(yaml.safe_dump(least))
    loaded = suite.load(str(path))
    assert (loaded.name, loaded.training.dataset.split) == ("my-suite", "train")
    assert (loaded.evaluation.datasets["test"].split, loaded.evaluation.k) == ("test", 256)
    assert loaded.evaluation.design.make().max_k == 256


def test_a_missing_section_says_what_it_needs():
    """So that all keys are known at once, and not one section after the other."""
    with pytest.raises(UsageError) as error:
        suite.parse({"name": "x", "training": {}}, "mine.yaml")
    said = str(error.value)
    assert "evaluation: this key is missing (How every model is measured); it needs datasets, sampling.max_new" in said
    assert "training.sampling: this key is missing (How rollouts are sampled); it needs max_new_tokens." in said
    assert "training.dataset: this key is missing (The problems to train on); it needs task." in said
    assert "training.budget: this key is missing" in said and "training.learning_rate: this key is missing" in said


def test_a_cluster_file_says_everything_too(tmp_path):
    from benchmarks.launchers.resources import Resources, load

    (tmp_path / "cluster.yaml").write_text("gpu: 8\ntime_min: 0\n")
    with pytest.raises(UsageError, match=r"2 things are wrong:\n.*time_min: should be greater.*\n.*gpu: .*mean 'gpus'"):
        load(tmp_path / "cluster.yaml", Resources())


def test_one_finding_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"micro\.yaml: training\.group_size: expected a valid integer, got 'four'\.$"):
        suite.load(str(write(tmp_path, {"training.group_size": "four"})))
