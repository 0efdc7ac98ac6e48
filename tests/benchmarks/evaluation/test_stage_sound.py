"""An evaluation that stops on sound answers: its counts, its record, and a re-grade that judges chains otherwise."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from benchmarks.errors import Failure
from benchmarks.evaluation.regrade_dataset import regrade
from benchmarks.evaluation.tally import Tally
from benchmarks.records.evaluated import read_evaluated
from benchmarks.statistics.passk import FixedDesign, SequentialDesign, StopOnSound
from tests.benchmarks.evaluation.evaluations import PROBLEMS, VERIFIER, pool, rows, run
from tests.benchmarks.evaluation.test_stage import table

DESIGN = StopOnSound((8, 16, 32), 3)


def engines(**settings: object):
    return pool(**{"p": 0.3, "sound": 0.4, **settings})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "test"
    return folder, run(folder, engines(), design=DESIGN)


def samples(folder, problem_id: str) -> list[tuple[bool, bool]]:
    """(correct, correct and sound) of each of the problem's samples, by the verifier itself."""
    problem = next(problem for problem in PROBLEMS if problem.problem_id == problem_id)
    found = []
    for row in (row for row in rows(folder) if row["problem_id"] == problem_id):
        correct = VERIFIER.verify(problem, row["text"], row["finished"]) == "correct"
        found.append((correct, correct and VERIFIER.check_chain(problem, row["text"])))
    return found


def test_a_problem_stops_at_the_first_checkpoint_with_enough_sound_answers(finished):
    folder, result = finished
    counts = result.counts
    assert counts.design == DESIGN and counts.s_N is not None
    for problem_id, n, c, s in zip(counts.problem_ids, counts.n_N, counts.c_N, counts.s_N, strict=True):
        seen = np.array(samples(folder, problem_id))
        assert [len(seen), *seen.sum(axis=0)] == [n, c, s]
        enough = [at for at in DESIGN.rounds if seen[:at, 1].sum() >= 3]
        assert n == (enough or [32])[0]
    unsound = counts.c_N - counts.s_N
    assert len(set(counts.n_N)) == 3 and unsound.sum() > 0  # all checkpoints occur, and the verdicts differ


def test_the_record_has_both_verdicts(finished):
    folder, result = finished
    found = result.evaluation(folder)
    assert found.design.stop_on == "sound" and found.sound is not None and found.chains is not None
    assert found.sound.correct == found.chains.correct_sound == result.counts.s_N.sum()
    sound = result.counts.judged_by("sound").dataset_pass_at_k([1, 32])
    assert (found.sound.pass_at_k[1], found.sound.pass_at_k[32]) == pytest.approx(tuple(sound.mean_K))
    assert found.sound.standard_error[1].sampling == pytest.approx(sound.sampling_K[0])
    assert all(found.sound.pass_at_k[k] <= found.pass_at_k[k] for k in found.pass_at_k)
    assert read_evaluated(found, folder).s_N.tolist() == result.counts.s_N.tolist()


def test_a_record_whose_sound_answers_are_not_those_of_its_counts(finished):
    folder, result = finished
    found = result.evaluation(folder)
    other = found.model_copy(update={"sound": found.sound.model_copy(update={"correct": 1})})
    with pytest.raises(Failure, match=r"counts.jsonl: sound is \d+, but the record says 1"):
        read_evaluated(other, folder)


def test_a_fixed_design_knows_both_and_one_that_stopped_on_answers_does_not(tmp_path):
    fixed = run(tmp_path / "fixed", engines(), design=FixedDesign(12))
    assert fixed.counts.has_sound and fixed.evaluation(tmp_path).sound is not None
    stopped = run(tmp_path / "stopped", engines(), design=SequentialDesign((8, 16), 3))
    assert not stopped.counts.has_sound and stopped.evaluation(tmp_path).sound is None
    assert stopped.counts.s_N.sum() == stopped.evaluation(tmp_path).chains.correct_sound > 0


def test_an_interrupted_evaluation_ends_as_one_that_was_not(finished, tmp_path, monkeypatch):
    from benchmarks.evaluation.dataset_run import DatasetRun

    with monkeypatch.context() as patch:
        patch.setattr(DatasetRun, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "e", engines(), design=DESIGN)
    shards = sorted((tmp_path / "e" / "shards").iterdir())
    for shard in shards[len(shards) // 2 :]:
        shard.unlink()
    run(tmp_path / "e", engines(), design=DESIGN)
    assert (tmp_path / "e/counts.jsonl").read_bytes() == (finished[0] / "counts.jsonl").read_bytes()


class Later(type(VERIFIER)):
    """Ours at a later version, which finds no chain sound where there are three numbers."""

    VERSION = VERIFIER.VERSION + 1

    def check_chain(self, problem, text):
        return len(problem.data["numbers"]) > 3 and super().check_chain(problem, text)


def test_a_regrade_applies_the_stop_to_the_chains_anew(finished, tmp_path):
    own = shutil.copytree(finished[0], tmp_path / "own")
    told = regrade(own, PROBLEMS, Later())
    assert told.result is None and told.changed > 0, "the answers are what they were, the chains are not"
    assert told.lacking and all(problem_id.count("-") == 2 for problem_id in told.lacking)  # those of three numbers
    with engines() as engine:
        done = regrade(own, PROBLEMS, Later(), pool=engine).result
    for problem, n, s in zip(PROBLEMS, done.counts.n_N, done.counts.s_N, strict=True):
        assert len(problem.data["numbers"]) > 3 or (n, s) == (32, 0)


def test_a_chain_that_could_not_be_checked_is_not_sound():
    tally = Tally(["a"], StopOnSound((8, 16), 3), checks_chains=True)
    tally.add(table("a", ["correct"] * 8))  # chain: null
    assert tally.lacking() == {1: ["a"]}


@pytest.mark.parametrize("checks", [True, False])
def test_the_column_is_there_where_the_verifier_checks_chains(checks):
    tally = Tally(["a"], FixedDesign(8), checks)
    tally.add(table("a", ["correct"] * 8))
    assert tally.counts().has_sound == checks
