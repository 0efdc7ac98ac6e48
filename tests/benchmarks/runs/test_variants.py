"""Variants: which cells a list of values makes, what they are called, and what they are measured from."""

from __future__ import annotations

import pytest

from benchmarks.engines.identity import ModelRef
from benchmarks.errors import UsageError
from benchmarks.records.schema import BASE
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.grid_plan import plan
from benchmarks.runs.run_folder import Place
from benchmarks.runs.variants import Variant, expand, split_values, variant_of, without_effect
from benchmarks.suites.schema import parse
from tests.benchmarks.micro import data

SUITE = parse(data())
RATES = ("training.learning_rate=1e-5", "training.learning_rate=5e-5")


@pytest.mark.parametrize(
    "text, values",
    [
        ("1e-5", ["1e-5"]),
        ("1e-5, 5e-5", ["1e-5", "5e-5"]),
        ("[1, 2],[3]", ["[1, 2]", "[3]"]),
        ("{a: 1, b: 2}", ["{a: 1, b: 2}"]),
        ('"a,b",c', ['"a,b"', "c"]),
    ],
)
def test_values_are_split_at_commas_outside_of_brackets_and_quotes(text, values):
    assert split_values(text) == values


def test_expand():
    variants = expand(["evaluation.k=4", "training.learning_rate=1e-5,5e-5", "training.group_size=2,4"])
    assert variants == [("evaluation.k=4", rate, f"training.group_size={size}") for rate in RATES for size in (2, 4)]
    assert expand([]) == [()]


def test_a_setting_on_which_no_result_depends_makes_no_variant():
    changed, variant = variant_of(SUITE, ["training.save_every_steps=2"])
    assert variant is None and changed.training.save_every_steps == 2 and changed.hash == SUITE.hash
    changed, variant = variant_of(SUITE, ["training.save_every_steps=2", RATES[0]])
    assert variant is not None and variant.name == "learning_rate-1e-5"
    assert (changed.training.save_every_steps, changed.training.learning_rate) == (2, 1e-5)


def test_changes_without_effect_are_those_of_every_variant_that_no_result_depends_on():
    keep, save, rates = "training.keep_steps=[1]", "training.save_every_steps=2,3", "training.learning_rate=1e-5,5e-5"
    assert without_effect(SUITE, expand([keep, rates])) == (keep,)
    assert without_effect(SUITE, expand([keep, save])) == (keep,)
    assert without_effect(SUITE, expand([])) == ()


def test_a_value_that_the_suite_has_already_makes_no_variant():
    assert variant_of(SUITE, ["training.learning_rate=1e-3"]) == (SUITE, None)


def test_changes_that_are_valid_only_together_are_one_variant():
    """A group of 3 splits into no 2 mini-batches, and 3 mini-batches fit no group of 4."""
    changes = ["training.group_size=3", "training.mini_batches_per_step=3"]
    variant = variant_of(SUITE, changes)[1]
    assert variant is not None and variant.changes == tuple(changes)


def test_a_name_of_ones_own():
    variant = variant_of(SUITE, [RATES[0]], "slow")[1]
    assert variant is not None and variant.name == "slow" and variant.changes == (RATES[0],)
    with pytest.raises(UsageError, match="--name 'a/b': expected letters"):
        variant_of(SUITE, [], "a/b")


@pytest.mark.parametrize("change", ["training.group_size=4,4", "training.group_size=4,"])
def test_values_that_are_not_several(change):
    with pytest.raises(UsageError, match="expected different values between the commas"):
        expand([change])


@pytest.mark.parametrize(
    "changes, name",
    [
        (["training.learning_rate=5e-5"], "learning_rate-5e-5"),
        (["training.learning_rate=5e-5", "training.group_size=4"], "learning_rate-5e-5-group_size-4"),
        (["training.budget={steps: 4}"], "budget-steps_4"),
        (["training.sampling.top_p=1", "evaluation.sampling.top_p=1"],
         "training.sampling.top_p-1-evaluation.sampling.top_p-1"),
    ],
)  # fmt: skip
def test_a_name_says_what_was_changed(changes, name):
    assert Variant(SUITE, tuple(changes)).name == name


def test_long_values_have_a_short_name_of_their_own():
    names = {Variant(SUITE, (f"training.algorithms={{dapo: {{refill_rounds: {n}}}}}",)).name for n in range(3)}
    assert len(names) == 3 and all(len(name) <= 60 for name in names)


def test_cells_of_a_grid(tmp_path):
    cells = plan(SUITE, ["grpo", "rloo", "grpo"], ["0", "1"], Place(tmp_path), [(rate,) for rate in RATES])
    names = [cell.name for cell in cells]
    assert names[0] == "base" and len(names) == 1 + 2 * 2 * 2
    assert names[1:3] == ["grpo-s0-learning_rate-1e-5", "grpo-s0-learning_rate-5e-5"]
    assert {cell.needs for cell in cells[1:]} == {("base",)} and cells[0].needs == ()
    assert len({cell.spec_hash for cell in cells}) == len(cells)
    assert {cell.run.folder.parent for cell in cells} == {tmp_path / "micro"}
    assert [cell.run.suite.training.learning_rate for cell in cells[1:3]] == [1e-5, 5e-5]


def test_variants_of_the_training_share_a_base_and_others_do_not(tmp_path):
    place = Place(tmp_path)
    own, shared = variant_of(SUITE, ["evaluation.k=4"]), variant_of(SUITE, [RATES[0]])
    assert CellRun(own[0], "grpo", 0, place, variant=own[1]).base.name == "base-k-4"
    base = CellRun(shared[0], "grpo", 0, place, variant=shared[1]).base
    assert base.name == BASE and base.suite == SUITE
    cells = plan(SUITE, ["grpo"], ["0"], place, [("evaluation.k=4",), ("evaluation.k=2",)])
    assert [cell.name for cell in cells] == ["base-k-4", "base-k-2", "grpo-s0-k-4", "grpo-s0-k-2"]
    assert [cell.needs for cell in cells[2:]] == [("base-k-4",), ("base-k-2",)]


def test_a_training_process_finds_the_folder_of_its_variant(tmp_path):
    changed, variant = variant_of(SUITE, [RATES[0]])
    run = CellRun(changed, "grpo", 0, Place(tmp_path), variant=variant)
    run.claim(run.question(ModelRef("", None, "hash")))
    found = CellRun.of_folder(run.folder, Place())
    assert found.folder == run.folder == tmp_path / "micro" / "grpo-s0-learning_rate-1e-5"
    assert found.training.folder == run.folder and found.suite.training.learning_rate == 1e-5


def test_a_wrong_change_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match="learning_rat"):
        plan(SUITE, ["grpo"], ["0"], Place(tmp_path), [("training.learning_rat=1",)])
    assert not list(tmp_path.iterdir())
