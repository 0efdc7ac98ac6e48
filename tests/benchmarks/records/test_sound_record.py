"""What a record says by the sound verdict: read back as written, absent in old records, and each mistake named."""

from __future__ import annotations

import copy
import re

import pytest

from benchmarks.records.schema import Record, read_record, write_record
from tests.benchmarks.records.test_records import base, changed, failure, trained

SOUND = "evaluations.countdown.sound"


def sound() -> dict:
    """2 of 8 samples: (4, 0) and (4, 2) by problem. pass@1 1/4, pass@4 1/2."""
    data = changed(trained(), f"{SOUND}", {
        "correct": 2,
        "pass_at_k": {"1": 0.25, "4": 0.5},
        "standard_error": {"1": {"total": 0.1, "sampling": 0.05}, "4": {"total": None, "sampling": 0.0}},
    })  # fmt: skip
    return data | {"sound_gap": copy.deepcopy(data["gap"])}


def test_round_trip_and_old_records(tmp_path):
    record = Record.model_validate(sound())
    write_record(tmp_path / "r.json", record)
    assert read_record(tmp_path / "r.json") == record and record.sound_gap == record.gap
    old = Record.model_validate(trained())
    assert old.sound_gap is None and old.evaluations["countdown"].sound is None
    assert old.evaluations["countdown"].design.stop_on == "answer"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{SOUND}.correct", 4, "sound.correct exceeds the correct verdicts"),
        (f"{SOUND}.correct", 1, "sound.correct and chains.correct_sound differ"),
        (f"{SOUND}.pass_at_k.1", 0.5, "sound.pass_at_k exceeds pass_at_k at k=.1."),
        (f"{SOUND}.pass_at_k.4", 0.1, "sound.pass_at_k falls as k grows"),
        (f"{SOUND}.pass_at_k.4", ..., "have different k"),
        (f"{SOUND}.pass_at_k.1", 25.0, "sound.pass_at_k.1: .*less than or equal to 1"),
        ("evaluations.countdown.design.stop_on", "chain", "design.stop_on: "),
        (SOUND, None, "sound_gap has 'countdown', whose sound is null"),
        ("sound_gap.countdown.n_problems", 7, "n_problems of sound_gap 'countdown' differs"),
    ],
)
def test_each_mistake_is_named(tmp_path, path, value, said):
    assert re.search(said, failure(tmp_path, changed(sound(), path, value)))


def test_the_base_has_no_sound_gap_and_no_gap_is_of_what_was_not_evaluated(tmp_path):
    gap = sound()["gap"]
    assert "sound_gap is null for the base" in failure(tmp_path, base() | {"sound_gap": gap})
    other = sound() | {"sound_gap": {"other": gap["countdown"]}}
    assert "sound_gap has 'other', which was not evaluated" in failure(tmp_path, other)
