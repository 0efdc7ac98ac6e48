"""What `evaluate` can change of a suite, suites for evaluation only, and the gap to a base that came later."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import Failure, UsageError
from benchmarks.records.schema import read_record
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.grid_plan import plan
from benchmarks.runs.model_run import ModelRun, adapted
from benchmarks.runs.run_folder import Place
from benchmarks.suites.schema import BASE_MODELS, parse
from leaderboards.estimates import estimate_tables
from tests.benchmarks.micro import GONE, data
from tests.leaderboards.shown import shown

BASE = str(BASE_MODELS / "countdown")
SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5, "spread": True}}}
ONLY_EVALUATION = SCRIPTED | {"training": GONE}


def suite(**changes: object):
    return parse(data(SCRIPTED | {name.replace("__", "."): value for name, value in changes.items()}))


def evaluate(asked, out: Path, **settings: object) -> ModelRun:
    run = ModelRun(asked, BASE, Place(out), **settings)
    run.run()
    return run


# ------------------------------------------------------------------------------------------------ changed settings


def test_n_k_and_design_are_applied_together():
    found = adapted(suite(), n=4, k=2).evaluation
    assert (found.design.rounds, found.design.stop_after, found.k) == ((4,), None, 2), "too few for several rounds"
    found = adapted(suite(), n=64, k=16, design="sequential").evaluation
    assert (found.design.rounds, found.design.stop_after, found.k) == ((16, 32, 64), 4, 16)
    assert adapted(suite(), design="fixed").evaluation.design.rounds == (8,)
    changed = adapted(suite(), ["evaluation.sampling.top_p=0.9", "evaluation.k=4"], n=4)
    assert (changed.evaluation.sampling.top_p, changed.evaluation.k) == (0.9, 4)
    assert adapted(suite()) == suite()


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"n": 4}, r"--n 4 is below the suite's k = 8: give a --k of at most 4 as well"),
        ({"n": 4, "k": 5}, r"k = 5 is above the design's n = 4"),
        ({"k": 9}, r"k = 9 is above the design's n = 8"),
        ({"design": "fix"}, r"unknown design 'fix'.*Did you mean 'fixed'"),
        ({"changes": ["evaluation.sampling.temperature=-1"]}, r"evaluation.sampling.temperature: .* greater than or"),
        ({"changes": ["evaluation.sampling.temperature=nan"]}, r"evaluation.sampling.temperature: "),
        ({"changes": ["evaluation.sampling.top_p=0"]}, r"evaluation.sampling.top_p: .* greater than 0"),
        ({"changes": ["evaluation.sampling.top_p=1.1"]}, r"evaluation.sampling.top_p: .* less than or equal to 1"),
        ({"changes": ["evaluation.sampling.top_k=-1"]}, r"evaluation.sampling.top_k: "),
        ({"changes": ["evaluation.sampling.max_new_tokens=0"]}, r"evaluation.sampling.max_new_tokens: "),
        ({"changes": ["evaluation.sampling.temp=1"]}, r"unknown key 'temp'.*Did you mean 'temperature'"),
        ({"greedy": True, "n": 8}, r"--greedy takes one sample of each problem"),
        ({"greedy": True, "k": 2}, r"--greedy takes one sample of each problem"),
    ],
)
def test_what_cannot_be_is_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        adapted(suite(), **settings)


def test_greedy_is_one_sample_at_temperature_0(tmp_path):
    asked = adapted(suite(evaluation__datasets__test__problems=24), greedy=True)
    assert asked.evaluation.sampling.greedy and asked.evaluation.design.rounds == (1,) and asked.evaluation.k == 1
    run = evaluate(asked, tmp_path)
    found = read_record(run.folder / "record.json").evaluations["test"]
    assert found.completions == found.n_problems == 24 and 0 < found.verdicts.correct < 24
    assert found.pass_at_k == {1: found.verdicts.correct / 24}, "pass@1 of one sample is the share that is right"
    assert found.standard_error[1].sampling == 0 and found.standard_error[1].total
    again = evaluate(asked, tmp_path, seed=7)
    assert read_record(again.folder / "record.json").evaluations["test"].verdicts == found.verdicts


def test_greedy_with_more_samples_is_refused():
    with pytest.raises(UsageError, match=r"at temperature 0 .* are the same: expected design: \{rounds: \[1\]\}"):
        suite(evaluation__sampling__temperature=0.0)


def test_greedy_rollouts_are_refused():
    with pytest.raises(UsageError, match=r"sampling\.temperature is 0: all completions of a group would be equal"):
        suite(training__sampling__temperature=0.0)


def test_a_seed_draws_other_samples_in_a_folder_of_their_own(tmp_path):
    first, second = evaluate(suite(), tmp_path), evaluate(suite(), tmp_path, seed=1)
    assert second.folder.name == f"{first.folder.name}-s1"
    records = [read_record(run.folder / "record.json") for run in (first, second)]
    assert records[0].evaluations["test"].sampling != records[1].evaluations["test"].sampling
    assert records[1].settings["seed"] == 1
    evaluate(suite(), tmp_path, name="one", seed=1)
    with pytest.raises(Failure, match="has the samples of seed 1, not 2: choose another --name"):
        evaluate(suite(), tmp_path, name="one", seed=2)


def test_changed_settings_have_a_folder_of_their_own(tmp_path):
    plain = evaluate(suite(), tmp_path)
    asked = adapted(suite(), k=4)
    changed = evaluate(asked, tmp_path, tag=asked.hash[:8])
    assert changed.folder.name == f"{plain.folder.name}-{asked.hash[:8]}"


# ------------------------------------------------------------------------------------------------ evaluation only


def test_a_suite_for_evaluation_only_evaluates(tmp_path):
    asked = parse(data(ONLY_EVALUATION))
    run = evaluate(asked, tmp_path)
    assert set(read_record(run.folder / "record.json").evaluations) == {"test"}
    CellRun(asked, "base", 0, Place(tmp_path)).run()
    assert evaluate(asked, tmp_path).run().gap, "the base of such a suite can be run, and then there is a gap"


@pytest.mark.parametrize("ask", [lambda s: CellRun(s, "grpo", 0, Place()), lambda s: plan(s, ["grpo"], ["0"], Place())])
def test_a_suite_for_evaluation_only_trains_nothing(ask):
    asked = parse(data(ONLY_EVALUATION))
    with pytest.raises(UsageError, match=r"^suite 'micro' is for evaluation only: it has no section 'training'\."):
        ask(asked)


def test_its_hash_is_its_own_and_that_of_others_stays():
    assert parse(data(ONLY_EVALUATION)).hash != parse(data(SCRIPTED)).hash
    with pytest.raises(UsageError, match="there is no section training"):
        parse(data(ONLY_EVALUATION | {"evaluation.checkpoints": [1]}))


# ------------------------------------------------------------------------------------------------ what is printed


def test_a_base_that_came_later_gives_the_gap(tmp_path):
    run = evaluate(suite(), tmp_path)
    assert read_record(run.folder / "record.json").gap == {}
    base = CellRun(suite(), "base", 0, Place(tmp_path)).run()
    before = read_record(run.folder / "record.json")
    run.run()
    after = read_record(run.folder / "record.json")
    assert set(after.gap or {}) == {"test"} and after.cell.base_hash == base.cell.base_hash
    assert after.evaluations == before.evaluations and after.settings == before.settings


def test_estimates_are_shown_without_a_base(tmp_path):
    run = evaluate(suite(), tmp_path)
    text = shown(*estimate_tables(read_record(run.folder / "record.json"), run.folder))
    rows = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    assert {"pass@1", "pass@4", "pass@8", "G-Pass@2 at 0.5", "Cover@0.5", "maj@2", "problems"} <= set(rows)
    assert all("[" in rows[name] for name in ("pass@1", "pass@8", "Cover@0.5", "maj@2"))
