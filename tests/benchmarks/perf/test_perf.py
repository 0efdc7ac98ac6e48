"""That the benchmarks run, on next to nothing. What they measure is no test's business."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from benchmarks.errors import UsageError
from benchmarks.perf import coverage, designs, evaluation, grid, sequential, stream
from benchmarks.statistics.passk import FixedDesign, SequentialDesign, StopOnSound
from tests.benchmarks.micro import write
from tests.leaderboards.factory import draw_counts, write_run

SCRIPTED = {"engine": {"name": "scripted", "workers": 1, "settings": {"p": 0.5}}}


def test_replay():
    """Rounds 2, 4, 8, a stop at 2: 2 of 2 stops at once, 1 of 2 and 1 more by the fourth there, 1 in all goes on."""

    def replay(samples, design):
        return sequential.replay([(one, False) for one in samples], design)[:2]

    design = SequentialDesign((2, 4, 8), 2)
    assert replay([True, True, True, False, False, False, False, False], design) == (2, 2)
    assert replay([True, False, False, True, True, True, True, True], design) == (4, 2)
    assert replay([False, False, False, True, False, False, False, False], design) == (8, 1)
    assert replay([True, False], FixedDesign(2)) == (2, 1)
    mixed = [(True, False), (True, True), (True, False), (False, False)]  # one sound of two, and none after it
    assert sequential.replay(mixed, StopOnSound((2, 4), 1)) == (2, 2, 1)
    assert sequential.replay(mixed, StopOnSound((2, 4), 2)) == (4, 3, 1)


def test_sequential(tmp_path, capsys):
    suite = write(tmp_path, SCRIPTED)
    sequential.main(["--suite", str(suite), "--problems", "2", "--workers", "1"])
    shown = capsys.readouterr().out
    assert re.search(r"base .*\d+ % .*\d+ % .*\d\.\d\d -> \d", shown) and "2 problems of test" in shown


def test_sequential_of_runs(tmp_path, capsys):
    suite = write(tmp_path, SCRIPTED)
    counts = {"test": draw_counts(0.3, 3, 0)}
    write_run(tmp_path / "runs", "base", counts)
    write_run(tmp_path / "runs", "external", counts, counts, folder="model-x")
    sequential.main(["--suite", str(suite), "--problems", "1", "--workers", "1", "--runs", str(tmp_path / "runs")])
    shown = capsys.readouterr().out
    assert "base" in shown and "left out: model-x" in shown
    shutil.rmtree(tmp_path / "runs" / "base")
    with pytest.raises(UsageError, match="no finished cell"):
        sequential.main(["--suite", str(suite), "--runs", str(tmp_path / "runs")])


def test_designs_by_hand():
    """256 problems, each sample of them sound with probability 1/2 and never correct without being sound.

    Of 256 fixed samples pass@1 has the variance 1/4 / 256 for a problem, so the mean 1/2 / 256: 0.195 points.
    """
    p_Q, unsound_T = designs.joint_grid(designs.K)
    weights_QT = np.zeros((len(p_Q), len(unsound_T)))
    weights_QT[[49, 50], 0] = 0.5  # the two points of the grid beside 1/2
    population = designs.Population("half", 256, weights_QT)
    fixed = designs.figures(FixedDesign(256), population)
    assert fixed.samples == pytest.approx(256)
    assert fixed.errors["sound", 1] == pytest.approx(100 / 512, rel=0.01) == fixed.errors["answer", 1]
    assert fixed.errors["sound", 256] == pytest.approx(0, abs=1e-6)
    asked = designs.Asked(seeds=3, seed_sd=1.5, training=58, algorithms=7)
    assert designs.difference(fixed, asked, "sound") == pytest.approx((2 * (0.195**2 + 1.5**2) / 3) ** 0.5, rel=1e-3)
    assert designs.gap(fixed, fixed, asked, "sound") == pytest.approx(((0.195**2 + 1.5**2) / 3) ** 0.5, rel=1e-3)
    stopping = designs.figures(StopOnSound((64, 128, 256), 4), population)
    assert stopping.samples == pytest.approx(64, abs=0.01)
    assert stopping.errors["answer", 1] == pytest.approx(200 / 512, rel=0.01)


def test_designs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(designs, "TRAINED", (StopOnSound((64, 256), 1), FixedDesign(256)))
    monkeypatch.setattr(designs, "BASE", (FixedDesign(256), StopOnSound((64, 256), 4)))
    designs.main(["--seeds", "5"])
    shown = capsys.readouterr().out
    assert "embedded base" in shown and "64, 256; 1" in shown and "S = 5" in shown
    base = draw_counts(0.3, 12, 0, FixedDesign(256))
    write_run(tmp_path, "base", {"test": base}, ks=(1, 256))
    with pytest.raises(UsageError, match="do not tell sound answers"):
        designs.main(["--base", str(tmp_path / "base")])


@pytest.mark.slow
def test_evaluation(tmp_path, capsys):
    suite = write(tmp_path, {"evaluation.sampling.max_new_tokens": 16})
    evaluation.main(["--suite", str(suite), "--problems", "1", "--workers", "1"])
    shown = capsys.readouterr().out
    assert "naive, fixed" in shown and re.search(r"from fewer samples.*\d\.\d\d", shown)


@pytest.mark.parametrize("module", [sequential, evaluation])
def test_wrong_names(module, tmp_path):
    with pytest.raises(UsageError, match="unknown suite"):
        module.main(["--suite", "countdwn"])
    with pytest.raises(UsageError, match="unknown dataset"):
        module.main(["--dataset", "tset"])
    with pytest.raises(UsageError, match="expected 1 or more"):
        module.main(["--problems", "0"])


def test_coverage(capsys):
    coverage.main(["--tables", "2", "--problems", "30", "--seeds", "1", "3", "--seed-sd", "0.016"])
    shown = capsys.readouterr().out
    assert "trained: pass@1 40 %" in shown and len(re.findall(r"│ +30 │ +1\.6 │ +[13] │", shown)) == 2


def test_grid(capsys):
    grid.main(["--cells", "40"])
    shown = capsys.readouterr().out
    for step in ("planned", "listed", "resumed"):
        assert re.search(rf"^41 cells {step}: \d+\.\d\d ms per cell", shown, re.MULTILINE)


def test_a_simulated_device_by_hand():
    """Two slots and rows of 3, 5 and 2 tokens: the third waits for the first to end.

    A step of two rows takes a = STEP_S + 2 ROW_S. Steps 1 to 3: rows 3 and 5. Steps 4 and 5: rows 5 and 2, which both
    end then. So all takes 5 a.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "SLOTS", 2)
        device, ended = stream.Device(), []
        for tokens in (3, 5, 2):
            device.add(tokens, tokens)
        assert device.rows == 3
        seconds = stream.run([device], lambda: None, ended.append)
    assert ended == [3, 5, 2]
    assert seconds == pytest.approx(5 * (stream.STEP_S + 2 * stream.ROW_S))


def test_stream(capsys):
    """Many problems for few devices: the stream is nearly an ideal queue, and the barriers cost far more."""
    stream.main(["--problems", "60", "40", "--devices", "1"])
    shown = capsys.readouterr().out
    ratios = [float(ratio) for ratio in re.findall(r"([\d.]+) of the ideal", shown)]
    assert 0.99 < ratios[0] < 1.05 < min(ratios[1:])
