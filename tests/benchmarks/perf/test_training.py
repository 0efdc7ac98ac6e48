"""That the benchmarks of training run, on next to nothing, and that their arithmetic is right."""

from __future__ import annotations

import re

import pytest

from benchmarks.errors import UsageError
from benchmarks.perf import accelerator, trainer
from benchmarks.perf.trainer import CASES, Ratio, Size


def test_lengths_are_those_of_the_case():
    """Log-normal around the median and cut at the limit; the same each time, and others in another step."""
    size = Size(2, 3, prompts=64, group=8, limit=100)
    alike, tail, _ = (trainer.lengths(case, size, 0) for case in CASES)
    assert len(alike) == len(tail) == 512 and trainer.lengths(CASES[0], size, 0) == alike
    assert trainer.lengths(CASES[0], size, 1) != alike
    assert max(alike) < 60 and max(tail) == 100 and min(tail) >= 2
    # The longest of a batch is what TRL pads to: 4 times the median here, and less than twice where lengths are alike.
    assert max(alike) / sorted(alike)[256] < 2 < max(tail) / sorted(tail)[256]


def test_the_interval_of_ratios():
    """Two values, half each: the geometric mean of 0.5 and 2 is 1; its bootstrap lies within them and around it."""
    ratios = [0.5, 2.0] * 50
    assert trainer.geometric_mean(ratios) == pytest.approx(1.0)
    low, high = trainer.interval(ratios)
    # log 2 = 0.693 is the spread of one, 0.0693 that of the mean of a hundred: +- 1.96 x 0.0693 = 0.136.
    assert low == pytest.approx(0.873, abs=0.01) and high == pytest.approx(1.146, abs=0.01)
    assert trainer.interval([1.01] * 10) == pytest.approx((1.01, 1.01))


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.9, 1.03, "shown"), (1.031, 1.2, "refuted"), (0.9, 1.04, "not shown")]
)
def test_what_an_interval_shows(low, high, verdict):
    (column,) = [column for column in trainer.table([Ratio("", 1.0, low, high, 1.0, 1.0)]).columns][-1:]
    assert list(column.cells) == [verdict]


@pytest.mark.slow
def test_trainer(capsys):
    trainer.main(["--rounds", "2", "--steps", "3", "--prompts", "1", "--limit", "8"])
    shown = capsys.readouterr().out
    assert len(re.findall(r"\d\.\d{3} \[\d\.\d{3}, \d+\.\d{3}\]", shown)) == len(CASES)


@pytest.mark.slow
def test_accelerator(capsys):
    """Every row either has numbers or says what is missing; what needs no package has numbers."""
    accelerator.main(["--hidden", "32", "--prompts", "1", "--limit", "4"])
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.count("│") > 6]
    shown = {cells[1].strip(): "│".join(cells) for cells in lines if cells[1].strip()}  # a reason may take two lines
    assert list(shown) == list(accelerator.CASES)
    for name in list(accelerator.CASES)[:7]:
        assert re.search(r"│ +\d+\.\d\d │", shown[name]), shown[name]
    for name in list(accelerator.CASES)[7:]:
        assert "UsageError" in shown[name]


def test_wrong_arguments():
    with pytest.raises(UsageError, match="rounds of 2 or more"):
        trainer.main(["--rounds", "1"])
    with pytest.raises(UsageError, match="is in no row's name; there are: float32"):
        accelerator.main(["--rows", "fp4"])
    with pytest.raises(UsageError, match="expected 2 or more"):
        accelerator.main(["--steps", "1"])
