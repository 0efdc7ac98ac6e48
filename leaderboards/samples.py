"""Shows stored completions on a terminal and as a page. The text is a model's: it is shown and never interpreted.

A terminal gets no control character of it, and rich no markup. A page is one file without scripts, whose text Jinja
escapes, and which forbids itself to load anything.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from benchmarks.evaluation.stored import ProblemSamples
from benchmarks.files import write_text_atomic
from leaderboards.summary import NONE, percent
from leaderboards.templating import make_environment
from leaderboards.terminal import plain_table

VERDICTS = ("correct", "wrong", "truncated", "error")
COLOURS = {"correct": "green", "wrong": "red", "truncated": "yellow", "error": "magenta"}
MOST_CHARS = 4_000
"""Of a completion on a terminal, if not all of it is asked for."""
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Categories of characters that a terminal obeys or that change the direction of a line."""


def visible(text: str) -> str:
    r"""Returns the text with an escape such as \x1b in place of each character that is not printed as itself."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in _HIDDEN else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, most: int | None = MOST_CHARS) -> str:
    """Returns the beginning and the end of a long text, and says how much is left out between them."""
    if most is None or len(text) <= most:
        return text
    left_out = len(text) - most
    return f"{text[: most // 2]}\n... {left_out:,} characters left out (--full shows them) ...\n{text[-(most // 2) :]}"


def problem_table(problems: Sequence[ProblemSamples], limit: int) -> RenderableType:
    """Returns a row for each of the first `limit` problems: how often each verdict was given, and the accuracy."""
    table = plain_table("", "accuracy in %: the estimated chance that a sample is correct")
    for name in ("dataset", "problem", "n", *VERDICTS, "accuracy"):
        left = name in ("dataset", "problem")
        table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for one in problems[:limit]:
        counted = [str(one.verdicts.get(verdict, NONE)) for verdict in VERDICTS]
        cells = (one.dataset, one.problem_id, str(one.n), *counted, percent(one.accuracy))
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return Group(table, *_more(len(problems), limit, "problems"))


def problem_view(one: ProblemSamples, limit: int, full: bool = False) -> RenderableType:
    """Returns the problem, its gold answer, and its first `limit` samples with verdict and extracted answer."""
    counted = ", ".join(f"{one.verdicts[name]} {name}" for name in VERDICTS if one.verdicts.get(name))
    parts: list[RenderableType] = [
        Text(f"{one.dataset}, problem {visible(one.problem_id)}", style="bold"),
        Text(f"{one.n} samples: {counted}; accuracy {percent(one.accuracy)} %"),
        _labelled("prompt", one.prompt),
        _labelled("gold", one.gold),
    ]
    for row in one.rows[:limit]:
        text = shortened(row["text"], None if full else MOST_CHARS)
        parts += [Rule(_headline(row), align="left", style="dim"), Text(visible(text))]
    return Group(*parts, *_more(len(one.rows), limit, "samples"))


def _headline(row: Any) -> Text:
    verdict = row["verdict"]
    words = [f"{row['tokens']} tokens", *_chain(row), *([] if row["finished"] else ["cut off"])]
    answer = "no answer" if row["answer"] is None else f"answer {visible(shortened(row['answer'], 200))}"
    start = Text(f"sample {row['sample']}  ")
    return start.append(verdict, style=COLOURS[verdict]).append(f"  {', '.join(words)}  {answer}")


def _chain(row: Any) -> list[str]:
    return [] if row["chain"] is None else ["sound chain" if row["chain"] else "unsound chain"]


def _labelled(name: str, text: str | None) -> Text:
    shown = "(the task cannot be loaded here)" if text is None else visible(text)
    return Text(f"{name}  ", style="bold").append(shown, style="not bold")


def _more(total: int, limit: int, what: str) -> list[Text]:
    return [Text(f"{total - limit:,} more {what}: --limit {total} shows all")] if total > limit else []


def write_page(path: Path, title: str, problems: Sequence[ProblemSamples], limit: int) -> None:
    """Writes a page of the problems with their first `limit` samples each. Raises Failure if it cannot be written."""
    environment = make_environment()
    environment.filters |= {"visible": visible, "percent": percent}
    template = environment.get_template("samples.html.j2")
    write_text_atomic(path, template.render(title=title, problems=problems, limit=limit, verdicts=VERDICTS))
