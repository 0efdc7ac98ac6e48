"""Suites: strict YAML, a hash over everything that can move a number, and the seeds that are derived from names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from benchmarks import strict_yaml, tasks
from benchmarks.errors import UsageError
from benchmarks.seeds import derive
from benchmarks.statistics.passk import FixedDesign, SequentialDesign, StopOnSound
from benchmarks.suites import schema as suite
from benchmarks.suites.datasets import Dataset
from tests.benchmarks.micro import GONE, data, write

DESIGN = "evaluation.design"
REFUSED = {
    "unknown key": ({"nmae": "x"}, ["nmae", "Did you mean 'name'?"]),
    "unknown key inside": ({"training.prompts_per_stepp": 2}, ["training.prompts_per_stepp", "'prompts_per_step'"]),
    "unknown key of a dataset": ({"evaluation.datasets.test.spilt": "test"}, ["datasets.test.spilt", "'split'"]),
    "missing key": ({"base_model": GONE}, ["base_model", "missing"]),
    "word for a number": ({"training.group_size": "four"}, ["training.group_size", "integer", "'four'"]),
    "number in quotes": ({"training.group_size": "4"}, ["training.group_size", "integer", "'4'"]),
    "fraction for a count": ({"training.group_size": 4.5}, ["training.group_size", "integer", "4.5"]),
    "zero": ({"training.prompts_per_step": 0}, ["training.prompts_per_step", "greater than or equal to 1"]),
    "list for an object": ({"training": []}, ["training: expected keys and values, got []"]),
    "endless rate": ({"training.learning_rate": float("inf")}, ["training.learning_rate", "finite"]),
    "no rate": ({"training.learning_rate": float("nan")}, ["training.learning_rate"]),
    "other schedule": ({"training.schedule": "cosin"}, ["training.schedule", "'cosine'", "'cosin'"]),
    "two budget units": ({"training.budget": {"steps": 2, "tokens": 9}}, ["training.budget", "exactly one", "tokens"]),
    "no budget unit": ({"training.budget": {}}, ["training.budget", "exactly one", "steps"]),
    "mini-batches": ({"training.mini_batches_per_step": 3}, ["8 completions", "3 mini-batches"]),
    "k above n": ({"evaluation.k": 16}, ["k = 16", "n = 8"]),
    "rounds not ascending": ({f"{DESIGN}.rounds": [2, 8, 8]}, ["design", "rounds must ascend", "[2, 8, 8]"]),
    "rounds without a stop": ({f"{DESIGN}.stop_after": GONE}, ["design", "stop_after"]),
    "no rounds": ({f"{DESIGN}.rounds": []}, [f"{DESIGN}.rounds", "at least 1"]),
    "k above the base's n": ({"evaluation.base_design": {"rounds": [4]}}, ["k = 8", "base_design's n = 4"]),
    "the base's rounds": ({"evaluation.base_design": {"rounds": [9, 8], "stop_after": 1}}, ["rounds must ascend"]),
    "what stops": ({f"{DESIGN}.stop_on": "sond"}, [f"{DESIGN}.stop_on", "'sound'", "'sond'"]),
    "what stops a fixed design": ({DESIGN: {"rounds": [8], "stop_on": "sound"}}, ["design", "needs stop_after"]),
    "other reward": ({"training.reward": "chain"}, ["training.reward", "'sound'", "'chain'"]),
    "reward that cannot be told": (
        {"training.reward": "sound", "training.dataset": {"task": "gsm8k", "split": "train"}},
        ["training.reward: expected answer, got 'sound'", "verifier 'math' of task 'gsm8k'"],
    ),
    "stop that cannot be told": (
        {f"{DESIGN}.stop_on": "sound", "evaluation.datasets.other": {"task": "aime24", "split": "test"}},
        ["evaluation.design.stop_on: expected answer, got 'sound'", "verifier 'math' of task 'aime24'"],
    ),
    "no datasets": ({"evaluation.datasets": {}}, ["evaluation.datasets", "at least 1"]),
    "unknown task": ({"evaluation.datasets.test.task": "countdwn"}, ["unknown task 'countdwn'", "'countdown'"]),
    "unknown task to train on": ({"training.dataset.task": "gsm8"}, ["unknown task 'gsm8'", "'gsm8k'"]),
    "unknown template": ({"prompt_template": "rwa"}, ["unknown prompt template 'rwa'", "'raw'"]),
    "unknown engine": ({"engine.name": "vlm"}, ["unknown engine 'vlm'", "'vllm'"]),
    "a path for a name": ({"name": "../elsewhere"}, ["name", "'../elsewhere'"]),
    "a path for a dataset": ({"evaluation.datasets": {"a/b": {"task": "countdown", "split": "test"}}}, ["a/b"]),
}


@pytest.mark.parametrize("changes, words", REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_said_in_one_line(tmp_path, changes, words):
    path = write(tmp_path, changes)
    with pytest.raises(UsageError) as error:
        suite.load(str(path))
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "is empty: expected the keys of a suite"),
        ("# nothing", "is empty"),
        ("- 1", "holds a list"),
        ("a: [", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_what_is_not_a_suite_at_all(tmp_path, text, word):
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"odd\.yaml") as error:
        suite.load(str(tmp_path / "odd.yaml"))
    assert word in str(error.value) and "\n" not in str(error.value)


def test_unknown_suites(tmp_path):
    with pytest.raises(UsageError, match=r"unknown suite 'cuontdown'.*mean 'countdown'"):
        suite.load("cuontdown")
    with pytest.raises(UsageError, match=r"cannot read suite .*none\.yaml: No such file or directory\.$"):
        suite.load(str(tmp_path / "none.yaml"))
    write(tmp_path)
    with pytest.raises(UsageError, match=r"cannot read suite .*mirco\.yaml: .*Did you mean '.*micro\.yaml'"):
        suite.load(str(tmp_path / "mirco.yaml"))


def test_unknown_embedded_model():
    with pytest.raises(UsageError, match=r"unknown embedded base model 'countdwn'.*mean 'countdown'"):
        _ = suite.parse(data({"base_model": "embedded:countdwn"})).base_path


def test_datasets():
    whole = Dataset(task="countdown", split="test").load()
    assert Dataset(task="countdown", split="test", problems=5).load() == whole[:5]
    for wrong, words in (
        ({"split": "tset"}, "unknown split of task 'countdown' 'tset'.*mean 'test'"),
        ({"problems": len(whole) + 1}, f"has {len(whole)} problems, not {len(whole) + 1}"),
        ({"settings": {"data_dri": "x"}}, "does not take these settings.*data_dri"),
    ):
        with pytest.raises(UsageError, match=words):
            Dataset(**{"task": "countdown", "split": "test", **wrong}).load()
    with pytest.raises(UsageError, match=r"unknown verifier 'maths'.*Did you mean 'math'"):
        Dataset(task="jsonl", split="test", settings={"path": "mine.jsonl", "verifier": "maths"}).make_task()


def test_designs():
    assert suite.DesignSpec(rounds=(8,)).make() == FixedDesign(8)
    assert suite.DesignSpec(rounds=(8, 16), stop_after=2).make() == SequentialDesign((8, 16), 2)
    assert suite.DesignSpec(rounds=(8, 16), stop_after=2, stop_on="sound").make() == StopOnSound((8, 16), 2)
    plain, own = (suite.parse(data({"evaluation.base_design": base})).evaluation for base in (None, {"rounds": [64]}))
    assert plain.design_of(base=True) == plain.design_of(base=False) == SequentialDesign((2, 4, 8), 2)
    assert (own.design_of(base=True), own.design_of(base=False)) == (FixedDesign(64), SequentialDesign((2, 4, 8), 2))


@pytest.mark.parametrize("name", suite.known())
def test_shipped_suites_load(name):
    loaded = suite.load(name)
    assert loaded.name == name and loaded.evaluation.design.make().max_k >= loaded.evaluation.k
    assert loaded.description.endswith(".")
    if loaded.base_model.startswith("embedded:"):
        assert loaded.base_path and all(dataset.load() for dataset in loaded.evaluation.datasets.values())


# ------------------------------------------------------------------------------------------------ the hash


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every value that is no object with keys of its own; an empty one is a leaf."""
    items = dict(value) if isinstance(value, BaseModel | dict) else {}
    for key, inner in items.items():
        yield from leaves(inner, (*path, key))
    if not items:
        yield path


def changed(value: Any, path: tuple[str, ...]) -> Any:
    """The same with something else at the path; nothing is checked."""
    if not path:
        if value == "raw":
            return "boxed"  # the hash covers the template's content
        if isinstance(value, str) and value in tasks.TASKS:
            return "gsm8k"  # the hash covers the source of a task that is not built in, so there must be one
        return {"something": "else"} if isinstance(value, dict) else "something else"
    inner = dict(value) | {path[0]: changed(dict(value)[path[0]], path[1:])}
    return value.model_copy(update=inner) if isinstance(value, BaseModel) else inner


LEAVES = list(leaves(suite.parse(data())))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("path", LEAVES, ids=[".".join(path) for path in LEAVES])
def test_the_hash_is_over_everything_that_moves_a_number(path):
    before = suite.parse(data())
    moves = path[0] not in ("name", "description", "engine", "resources", "sweep") and path[-1] != "processes"
    moves &= path not in [("training", key) for key in suite.NO_RESULT] + [("evaluation", "checkpoints")]
    assert (changed(before, path).hash != before.hash) == moves


def test_the_one_setting_of_an_engine_that_moves_a_number_is_in_the_hash():
    plain, parallel, half = (
        suite.parse(data({"engine.settings": settings}))
        for settings in ({}, {"threads": 2}, {"dtype": "bfloat16"})
    )  # fmt: skip
    assert plain.hash == parallel.hash != half.hash


def test_the_hash_is_not_over_how_it_is_written():
    shuffled = dict(reversed(data().items()))
    assert suite.parse(shuffled).hash == suite.parse(data()).hash
    assert suite.parse(data({"training.schedule": "constant"})).hash == suite.parse(data()).hash, "a default is a value"


def test_a_changed_copy_has_a_hash_of_its_own():
    before = suite.parse(data())
    first = before.hash
    assert before.model_copy(update={"base_model": "other"}).hash != first == before.hash


# ------------------------------------------------------------------------------------------------ seeds


def test_seeds_are_derived_from_all_parts_and_their_borders():
    assert derive("a", "bc") != derive("ab", "c") != derive("abc")
    assert derive("a", 1, 2) != derive("a", 12) != derive("a", 2, 1)
    assert len({derive("evaluate", name, seed) for name in ("grpo", "ppo") for seed in range(1000)}) == 2000


def test_seeds_stay_what_they_are():
    """printf 'countdown\\x1ftest\\x1f7' | sha256sum   begins with these 16 digits; half of them, for 63 bits.

    Other seeds would be other problems under the same version.
    """
    assert derive("countdown", "test", 7) == derive("countdown", "test", "7") == 0x19CB3B4503AF13AC >> 1


def test_neighbouring_seeds_share_nothing():
    """Halves of the bits differ on average; of 63 bits, 1000 pairs, the mean's deviation is 0.13."""
    seeds = [derive("train", seed) for seed in range(1001)]
    different = [(a ^ b).bit_count() for a, b in itertools.pairwise(seeds)]
    assert abs(sum(different) / len(different) - 31.5) < 5 * 0.13


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\nseed: 1\nname: b\n", "'name' stands on line 1 and again on line 3"),
        ("training:\n  group_size: 8\n  group_size: 4\n", "'group_size' stands on line 2 and again on line 3"),
        ("a: {x: 1, x: 1}\n", "'x' stands on line 1 and again on line 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused(text, line, tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        suite.load(str(path))
    assert line in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["{x: 1, x: 2}", "["])
def test_a_change_that_is_no_strict_yaml_is_refused(value):
    with pytest.raises(UsageError, match=r"--set 'training\.algorithms=.* the value is not YAML "):
        suite.with_changes(suite.load("countdown"), [f"training.algorithms={value}"])


def test_the_same_key_in_two_mappings_is_none_that_stands_twice():
    text = "a: {x: 1}\nb: {x: 2}\n1: 3\n'1': 4"
    assert strict_yaml.load(text) == {"a": {"x": 1}, "b": {"x": 2}, 1: 3, "1": 4}


# ------------------------------------------------------------------------------------------------ templates and stops


def test_a_suite_can_write_its_template_or_name_a_file(tmp_path):
    content = {"text": "Q: {question}\nA:", "stops": {"before": ["Q:"], "after": []}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    from_file = suite.load(str(write(tmp_path, {"prompt_template": "mine.yaml"})))
    inline = suite.parse(data({"prompt_template": content}))
    assert from_file.template.content == inline.template.content
    assert from_file.hash == inline.hash  # the name of a template moves no number
    assert suite.parse(from_file.model_dump(mode="json")) == from_file  # a record holds the content, not the path
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**content, "text": "Q: {question}\nAnswer:"}))
    assert suite.load(str(tmp_path / "micro.yaml")).hash != inline.hash


def test_a_suite_can_set_the_stops_of_its_template():
    plain = suite.parse(data({"prompt_template": "think-answer"}))
    stopping = suite.parse(data({"prompt_template": "think-answer", "stops": {"before": ["Human:"]}}))
    assert stopping.template.stops.strings == ["Human:"]
    assert stopping.hash != plain.hash
    same = {"before": list(plain.template.stops.before), "after": list(plain.template.stops.after)}
    assert suite.parse(data({"prompt_template": "think-answer", "stops": same})).hash == plain.hash


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"prompt_template": {"txt": "{question}"}}, "prompt_template: txt: unknown key 'txt'.*Did you mean 'text'"),
        ({"prompt_template": {"text": "?"}}, "prompt_template: the object: {question} must be once in the text"),
        ({"prompt_template": "none.yaml"}, "cannot read prompt template none.yaml"),
        ({"stops": ["x"]}, "stops: expected keys and values, got"),
        ({"evaluation.sampling.stops": {"before": ["x"]}}, "set them as stops of the suite"),
    ],
)
def test_mistakes_in_templates_and_stops_are_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        suite.parse(data(changes))
    assert "\n" not in str(caught.value)


def test_verification_is_handed_to_the_verifiers_that_have_processes():
    asked = suite.parse(data() | {"verification": {"processes": 3, "seconds": 0.5}})
    math = Dataset(task="math500", split="test").make_verifier(asked.verification)
    assert (math._pool._size, math._pool._timeout_s) == (3, 0.5)
    assert asked.verifier_of(next(iter(asked.evaluation.datasets))).name == "countdown"
    assert "verification" not in suite.parse(data() | {"verification": {"processes": 3}}).asked
