"""Cited numbers: what is read, what is refused, and gaps computed from numbers as printed."""

from __future__ import annotations

import pytest
import yaml

from benchmarks.errors import Failure
from leaderboards.citations import frame, load

ONE = {
    "source": "A (2025)", "url": "https://example.org/a", "table": "Table 1", "about": "One row.", "checked": "never",
    "k": 8, "seeds": 1, "datasets": {"d": 10}, "base": {"d": [10.2, 69.1]}, "rows": {"GRPO": {"d": [25.1, 68.3]}},
}  # fmt: skip


def written(folder, changes):
    (folder / "one.yaml").write_text(yaml.safe_dump({**ONE, **changes}), encoding="utf-8")
    return folder


def test_differences_are_of_the_printed_numbers(tmp_path):
    """By hand: 69.1 - 25.1 = 44.0, 25.1 - 10.2 = 14.9, 68.3 - 69.1 = -0.8; the base's own gap is 69.1 - 10.2 = 58.9."""
    base, grpo = frame(load(written(tmp_path, {}))).to_dict("records")
    assert (grpo["gap"], grpo["gain_at_1"], grpo["change_at_k"], grpo["rounding"]) == (0.44, 0.149, -0.008, 0.001)
    assert (base["label"], base["is_base"], base["gap"]) == ("base", True, 0.589)
    assert base["gain_at_1"] != base["gain_at_1"]  # a base has none


def test_the_paper():
    """By hand from the printed numbers, such as 69.1 - 28.1 = 41.0 for RLOO, where the paper's text says 42.6."""
    found = frame(load()).query("dataset == 'omni-math-test' and table.str.startswith('Table 2')").set_index("label")
    expected = {"base": 0.589, "GRPO": 0.44, "PPO": 0.423, "ReMax": 0.453, "RLOO": 0.41, "REINFORCE++": 0.411}
    assert found["gap"].to_dict() == {**expected, "DAPO": 0.426}


def test_tables_agree_where_they_overlap():
    """Table 3 continues the training of Table 2's GRPO, which ended at step 150."""
    first, second = load()
    assert first.base == second.base and first.rows["GRPO"] == second.rows["GRPO, step 150"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {"GRPO": {"e": [1, 2]}}}, "'GRPO' and 'datasets' do not agree on d, e"),
        ({"rows": {"GRPO": {"d": [70, 60]}}}, "'GRPO' has pass@1 70 above pass@k 60 on d"),
        ({"base": {"d": [1, 101]}}, "base.d.1: Input should be less than or equal to 100"),
        ({"url": "javascript:alert(1)"}, "url: String should match"),
        ({"interval": 3}, "interval: Extra inputs"),
    ],
)
def test_refusals(tmp_path, changes, message):
    with pytest.raises(Failure, match=message):
        load(written(tmp_path, changes))


def test_a_key_that_stands_twice(tmp_path):
    (tmp_path / "one.yaml").write_text("source: a\nsource: b\n", encoding="utf-8")
    with pytest.raises(Failure, match=r"one\.yaml is not YAML: 'source' stands on line 1 and again on line 2"):
        load(tmp_path)
