"""What a model wrote is shown as it is: no markup, no control codes, no HTML of its own takes effect."""

from __future__ import annotations

import re

import pytest

from benchmarks.evaluation.stored import ProblemSamples
from leaderboards.samples import problem_table, problem_view, shortened, visible, write_page
from tests.leaderboards.shown import shown

EVIL = (
    "[bold red]markup[/bold red] [link=file:///etc/passwd]x[/link] :smiley:\n"
    "\x1b[31mred\x1b]0;title\x07\x1b[2J \x9b31m \r over \x08\x08 \u202egnp.exe \u2066x\u2069\n"
    "</pre><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }} \ud800"
)


def row(number: int, **changes: object) -> dict:
    return {
        "sample": number, "round": 0, "text": f"text {number}", "verdict": "wrong", "answer": "5", "chain": None,
        "tokens": 7, "finished": True,
    } | changes  # fmt: skip


def problem(rows: list[dict], **changes: object) -> ProblemSamples:
    settings = {"prompt": "What is it?", "gold": "7"} | changes
    return ProblemSamples("test", "p1", 8, {"correct": 2, "wrong": 6}, 0.25, rows=rows, **settings)  # type: ignore[arg-type]


def test_a_terminal_shows_text_and_obeys_none_of_it():
    text = shown(problem_view(problem([row(0, text=EVIL, answer=EVIL)], prompt=EVIL, gold=EVIL), 9))
    assert text.count("[bold red]markup[/bold red] [link=file:///etc/passwd]x[/link] :smiley:") >= 3
    assert "\\x1b[31mred\\x1b]0;title\\x07\\x1b[2J \\x9b31m \\x0d over \\x08\\x08" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800]", text)


def test_ordinary_text_stays_as_it_is():
    assert visible("x² ≥ 5,\n\tso 答え is \\boxed{½} 🙂") == "x² ≥ 5,\n\tso 答え is \\boxed{½} 🙂"
    assert visible("\u200b\U000e0041") == "\\u200b\\U000e0041"


def test_a_page_escapes_everything_and_loads_nothing(tmp_path):
    path = tmp_path / "deep" / "page.html"
    one = problem([row(0, text=EVIL, answer="<b>5</b>", chain=False, finished=False)], prompt=EVIL, gold="<i>7</i>")
    write_page(path, "<u>run</u>", [one], 5)
    page = path.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "&lt;b&gt;5&lt;/b&gt;" in page and "{{ 7*7 }}" in page
    assert set(re.findall(r"<(script|img|b|i|u|link|iframe)\b", page)) == set()
    assert "default-src 'none'" in page and not re.search(r"(src|href)=\"(?!#)", page)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)
    assert all(words in page for words in ("unsound chain", "cut off", "sample 0", "wrong"))


def test_what_is_left_out_is_counted():
    rows = [row(i) for i in range(8)]
    text = shown(problem_view(problem(rows), 3))
    assert "text 2" in text and "text 3" not in text and "5 more samples: --limit 8 shows all" in text
    text = shown(problem_table([problem([])] * 5, 2))
    assert text.count("p1") == 2 and "3 more problems: --limit 5 shows all" in text
    long = "a" * 5_000 + "b" * 5_000
    assert shortened(long).startswith("a" * 2_000 + "\n... 6,000 characters left out (--full shows them) ...\nb")
    assert "left out" not in shown(problem_view(problem([row(0, text=long)]), 1, full=True))


@pytest.mark.parametrize("answer, words", [(None, "no answer"), ("12", "answer 12")])
def test_the_answer_is_beside_the_verdict(answer, words):
    text = shown(problem_view(problem([row(4, answer=answer, verdict="truncated", finished=False, chain=True)]), 1))
    assert f"sample 4  truncated  7 tokens, sound chain, cut off  {words}" in text
    assert "8 samples: 2 correct, 6 wrong; accuracy 25.0 %" in text


def test_a_task_that_cannot_be_loaded_is_said():
    assert "prompt  (the task cannot be loaded here)" in shown(problem_view(problem([], prompt=None), 1))
