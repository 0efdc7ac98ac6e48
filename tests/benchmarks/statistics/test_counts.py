"""counts.jsonl: what is written can be read; every way in which a file can be wrong is named."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from benchmarks.errors import Failure, UsageError
from benchmarks.statistics.counts import Counts, read_counts, write_counts
from benchmarks.statistics.passk import Design, FixedDesign, SequentialDesign, StopOnSound


def counts() -> Counts:
    extra = {
        "wrong": [55, 250, 0],
        "truncated": [0, 3, 60],
        "error": [0, 2, 0],
        "tokens": [900, 8000, 1],
        "note": list("xyz"),
    }
    return Counts(
        ("p1", "p2", "p\u00e9"),
        np.array([64, 256, 64]),
        np.array([9, 1, 4]),
        SequentialDesign(),
        extra,
        {"dataset": "countdown"},
    )


def test_counts_round_trip(tmp_path):
    path = tmp_path / "counts.jsonl"
    write_counts(path, counts())
    found = read_counts(path)
    assert (found.problem_ids, found.design, found.header) == (
        counts().problem_ids,
        SequentialDesign(),
        {"dataset": "countdown"},
    )
    assert found.n_N.tolist() == [64, 256, 64] and found.c_N.tolist() == [9, 1, 4]
    assert found.extra == counts().extra
    assert found.verdicts("error").tolist() == [0, 2, 0]
    header, first, *_ = map(json.loads, path.read_text().splitlines())
    assert header == {"schema": 1, "design": {"rounds": [64, 128, 256], "stop_after": 4}, "dataset": "countdown"}
    assert first == {
        "problem_id": "p1",
        "n": 64,
        "correct": 9,
        "wrong": 55,
        "truncated": 0,
        "error": 0,
        "tokens": 900,
        "note": "x",
    }
    write_counts(tmp_path / "again.jsonl", found)
    assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()


ROW = '{"problem_id": "a", "n": 4, "correct": 1}\n'


@pytest.mark.parametrize("header", ["", '{"schema": 1, "design": {"n": 4}}\n', '{"schema": 1}\n'])
def test_fixed_design_forms(tmp_path, header):
    (tmp_path / "c.jsonl").write_text(header + ROW + ROW.replace("a", "b", 1).replace('"a"', '"b"') + "\n")
    found = read_counts(tmp_path / "c.jsonl")
    assert found.design == FixedDesign(4)
    assert found.verdicts("error") is None
    np.testing.assert_allclose(found.pass_at_k(2), [0.5, 0.5])


SEQUENTIAL = '{"schema": 1, "design": {"rounds": [4, 8], "stop_after": 2}}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no problem"),
        ("\n\n", "there is no problem"),
        ('{"schema": 1}\n', "there is no problem"),
        (ROW + ROW[:20], "line 2 is not JSON"),
        (ROW + "\n" + ROW, "line 2 is not JSON"),
        (ROW + "[1]\n", "line 2: expected an object"),
        (ROW + ROW, "problem 'a' comes twice"),
        ('{"problem_id": "a", "n": 4}\n', "line 1: 'correct' is missing"),
        (ROW + '{"problem_id": "b", "correct": 1}\n', "line 2: 'n' is missing"),
        (ROW + '{"schema": 1}\n', "line 2: 'correct' is missing"),
        ('{"problem_id": 7, "n": 4, "correct": 1}\n', "line 1: problem_id must be a string, got 7"),
        ('{"problem_id": "a", "n": 4, "correct": 5}\n', "problem 'a': correct is 5, above n = 4"),
        ('{"problem_id": "a", "n": 4, "correct": -1}\n', "problem 'a': correct must be"),
        ('{"problem_id": "a", "n": 4.0, "correct": 1}\n', "problem 'a': n must be"),
        ('{"problem_id": "a", "n": "4", "correct": 1}\n', "problem 'a': n must be"),
        ('{"problem_id": "a", "n": 4, "correct": true}\n', "problem 'a': correct must be"),
        ('{"problem_id": "a", "n": 0, "correct": 0}\n', "n must be"),
        (ROW + '{"problem_id": "b", "n": 8, "correct": 1}\n', "'b' has n = 8, but 'a' has 4"),
        ('{"schema": 2}\n' + ROW, 'a header with "schema": 1'),
        ('{"design": {"n": 4}}\n' + ROW, 'a header with "schema": 1'),
        ('{"schema": 1, "design": 4}\n' + ROW, "design must be an object"),
        ('{"schema": 1, "design": {"m": 4}}\n' + ROW, "design must be"),
        ('{"schema": 1, "design": {"n": 8}}\n' + ROW, "does not stop at n = 4 with 1 correct"),
        (SEQUENTIAL + ROW, "does not stop at n = 4 with 1 correct"),
        (SEQUENTIAL + '{"problem_id": "a", "n": 8, "correct": 6}\n', "does not stop at n = 8 with 6 correct"),
        (ROW.replace("}", ', "wrong": 1, "truncated": 1, "error": 0}'), "verdicts sum to 3, but n is 4"),
        (ROW.replace("}", ', "error": 4}'), "verdicts sum to 5, but n is 4"),
        (ROW.replace("}", ', "error": 0.5}'), "problem 'a': error must be"),
        (ROW.replace("}", ', "error": 0}') + ROW.replace('"a"', '"b"'), "line 2: 'error' is missing"),
        (ROW.replace("}", ', "n": 4}'), "'n' comes twice"),
    ],
)
def test_counts_are_read_strictly(tmp_path, text, said):
    path = tmp_path / "counts.jsonl"
    path.write_text(text)
    with pytest.raises(Failure, match=re.escape(said)) as caught:
        read_counts(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("c", "extra", "said"),
    [
        ([1, 5], {}, "problem 'b': correct is 5"),
        ([1, 0.5], {}, "c must be a whole number"),
        ([1, 1], {"wrong": [3, 3], "truncated": [0, 0], "error": [0, 1]}, "problem 'b': its verdicts sum to 5"),
        ([1], {}, "zip"),
    ],
)
def test_counts_made_in_python_are_checked_too(c, extra, said):
    with pytest.raises(ValueError, match=said):
        Counts(("a", "b"), np.array([4, 4]), np.array(c), FixedDesign(4), extra)


def test_counts_cannot_be_changed():
    side = Counts.from_pairs({"a": (4, 1)})
    with pytest.raises(ValueError, match="read-only"):
        side.c_N[0] = 4


def test_sorted_moves_whole_rows():
    rows = {"z": (64, 9, "of z"), "a": (256, 1, "of a"), "m": (128, 5, "of m")}
    n, c, note = zip(*rows.values(), strict=True)
    found = Counts(tuple(rows), np.array(n), np.array(c), SequentialDesign(), {"note": note}).sorted()
    assert found.problem_ids == ("a", "m", "z")
    assert {i: row for i, *row in zip(found.problem_ids, found.n_N, found.c_N, found.extra["note"], strict=True)} == {
        problem_id: list(row) for problem_id, row in rows.items()
    }


# ---------------------------------------------------------------------------------------------- sound chains


def judged(design: Design, n: list[int], c: list[int], **columns: list[int]) -> Counts:
    ids = tuple("abcdefgh"[: len(n)])
    return Counts(ids, np.array(n), np.array(c), design, columns)


def test_a_fixed_design_gives_each_verdict_its_closed_form():
    side = judged(FixedDesign(4), [4, 4], [3, 1], sound=[2, 0], wrong=[1, 2], truncated=[0, 1], error=[0, 0])
    assert side.has_sound and side.judged_by("answer") is side
    np.testing.assert_allclose(side.curve([1, 2]), [[3 / 4, 1], [1 / 4, 1 / 2]])
    sound = side.judged_by("sound")
    assert sound.c_N.tolist() == [2, 0] and sound.extra["wrong"] == [2, 3] and sound.verdict == "sound"
    np.testing.assert_allclose(sound.curve([1, 2]), [[1 / 2, 5 / 6], [0, 0]])  # 1 - C(2,2)/C(4,2) = 5/6
    assert sound.judged_by("sound") is sound and sound.sorted().verdict == "sound"
    with pytest.raises(UsageError, match="judged by sound chains already"):
        sound.judged_by("answer")


def test_a_design_that_stops_on_sound_answers_gives_both(tmp_path):
    design = StopOnSound((2, 4), 1)
    side = judged(design, [2, 4, 4], [1, 2, 0], sound=[1, 1, 0])
    write_counts(tmp_path / "c.jsonl", side)
    found = read_counts(tmp_path / "c.jsonl")
    assert found.design == design and found.s_N.tolist() == [1, 1, 0]
    assert found.header == {} and '"stop_on": "sound"' in (tmp_path / "c.jsonl").read_text()
    np.testing.assert_allclose(found.curve([1, 3]), [[1 / 2, 1], [1 / 3, 1], [0, 0]])  # by hand in test_stop_on_sound
    np.testing.assert_allclose(found.pass_at_k(1), [1 / 2, 1 / 3, 0])
    # by sound ones: (2, 1) is SX or XS, (4, 1) is XXSX or XXXS
    np.testing.assert_allclose(found.judged_by("sound").curve([1, 3]), [[1 / 2, 1], [0, 1 / 2], [0, 0]])
    assert found.dataset_pass_at_k([1]).mean_K == pytest.approx(5 / 18)
    assert found.sampling_error([1]) == found.dataset_pass_at_k([1]).sampling_K


def test_where_sound_answers_cannot_be_judged_it_is_said():
    plain = judged(FixedDesign(4), [4], [3])
    assert not plain.has_sound and plain.s_N is None
    with pytest.raises(UsageError, match="no column 'sound'"):
        plain.judged_by("sound")
    stopped = judged(SequentialDesign((2, 4), 1), [2], [1], sound=[0])
    assert not stopped.has_sound and stopped.s_N.tolist() == [0]
    with pytest.raises(UsageError, match="stopped on correct answers"):
        stopped.judged_by("sound")


@pytest.mark.parametrize(
    ("design", "row", "said"),
    [
        ("", '"n": 4, "correct": 1, "sound": 2', "problem 'a': sound is 2, above correct = 1"),
        ("", '"n": 4, "correct": 1, "sound": -1', "problem 'a': sound must be a whole number"),
        ("", '"n": 4, "correct": 1, "sound": 0.5', "problem 'a': sound must be a whole number"),
        ('"stop_on": "sound"', '"n": 4, "correct": 2', "problem 'a': 'sound' is missing"),
        ('"stop_on": "sound"', '"n": 4, "correct": 2, "sound": 1', "with 2 correct, 1 of them sound"),
        ('"stop_on": "chain"', '"n": 4, "correct": 2, "sound": 1', "stop_on must be answer or sound"),
    ],
)
def test_sound_is_read_strictly(tmp_path, design, row, said):
    header = f'{{"schema": 1, "design": {{"rounds": [4, 8], "stop_after": 2, {design}}}}}\n' if design else ""
    (tmp_path / "c.jsonl").write_text(f'{header}{{"problem_id": "a", {row}}}\n')
    with pytest.raises(Failure, match=re.escape(said)):
        read_counts(tmp_path / "c.jsonl")


def test_a_row_without_sound_where_others_have_it(tmp_path):
    (tmp_path / "c.jsonl").write_text(ROW.replace("}", ', "sound": 0}') + ROW.replace('"a"', '"b"'))
    with pytest.raises(Failure, match="line 2: 'sound' is missing"):
        read_counts(tmp_path / "c.jsonl")
