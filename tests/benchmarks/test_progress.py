"""Progress: bars on a terminal, few lines elsewhere, nothing when quiet. Time is faked."""

from __future__ import annotations

import io

import pytest

from benchmarks import progress
from benchmarks.progress import Progress, duration, number


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def run(stream, clock, quiet=False, steps=100):
    with Progress(quiet, stream) as shown, shown.stage("sample test", total=100, unit="rows") as stage:
        for _ in range(steps):
            clock[0] += 1
            stage.advance()
    return stream.getvalue()


def test_one_line_in_fifteen_seconds_where_there_is_no_terminal(clock):
    lines = run(io.StringIO(), clock).splitlines()
    assert lines[0] == "sample test: 15/100 rows, 1/s, 1 min 25 s left"
    assert len(lines) == 100 // 15 + 1
    assert lines[-1] == "sample test: 100/100 rows, 1/s, done in 1 min 40 s"


def test_quiet_is_quiet(clock):
    assert run(io.StringIO(), clock, quiet=True) == ""
    assert run(Terminal(), clock, quiet=True) == ""


def test_a_bar_on_a_terminal(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = run(Terminal(), clock)
    assert "sample test" in text and "100/100" in text and "rows/s" in text


def test_what_was_there_before_says_nothing_about_the_rate(clock):
    with Progress(stream=io.StringIO()).stage("s", total=1000) as stage:
        stage.skip(900)
        assert stage.rate is None
        clock[0] += 10
        stage.advance(50)
        assert stage.rate == 5
        assert stage.line() == "s: 950/1000, 5/s, 10 s left"


def test_a_note_follows_in_the_line(clock):
    with Progress(stream=io.StringIO()).stage("train grpo-s0", total=10, unit="steps") as stage:
        clock[0] += 2
        stage.note = "reward 0.31, entropy 0.157"
        stage.advance(4)
        assert stage.line() == "train grpo-s0: 4/10 steps, 2/s, 3 s left; reward 0.31, entropy 0.157"
        assert stage.line("done in 2 s").endswith("3 s left, done in 2 s; reward 0.31, entropy 0.157")


def test_a_note_has_a_line_of_its_own_below_the_bars(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(stream=stream) as shown, shown.stage("train grpo-s0", total=2, unit="steps") as stage:
        stage.note = "reward 0.31, accuracy 0.31, entropy 0.157, length 35.4"
        stage.advance()
        lines = list(shown._bars.get_renderables())
        assert [line.plain.strip() for line in lines[1:]] == [stage.note]
        stage.advance()
        assert len(list(shown._bars.get_renderables())) == 1  # nothing is left to watch


def test_a_stage_may_change_its_total_and_name(clock):
    stream = io.StringIO()
    with Progress(stream=stream).stage("a") as stage:
        stage.update("b", 10)
        stage.advance(10)
    assert stream.getvalue().startswith("b: 10/10")


def test_a_stage_without_work_says_nothing(clock):
    assert run(io.StringIO(), clock, steps=0) == ""


@pytest.mark.parametrize("seconds, text", [(0.2, "0 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (7500, "2 h 5 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "value, text", [(1_000_192, "1000192"), (1234.6, "1235"), (99.96, "100"), (2.346, "2.35"), (0, "0")]
)
def test_numbers(value, text):
    assert number(value) == text
