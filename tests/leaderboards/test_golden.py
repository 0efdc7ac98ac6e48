"""Pages of a small site against files under `golden/`, so that a change of what readers get is seen in review.

    python -m tests.leaderboards.test_golden       # writes the files anew; look at what git says has changed

The files hold a tag or a text to the line. What depends on the machine is masked: hashes, the sizes of pictures, and
values to the last digit. So are styles, scripts, and the documentation of algorithms, which has tests of its own.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from unittest import mock

import pytest

from leaderboards.website import build_site
from tests.leaderboards.test_website import write_suite

GOLDEN = Path(__file__).parent / "golden"
PAGES = {
    "front-page.txt": "index.html",
    "algorithm.txt": "algorithms/ppo.html",
    "cell.txt": "cells/ppo-s1-*.html",
}
"""Golden file -> the page of the site; a pattern stands for exactly one."""
PROBLEMS = 23
"""With 23 problems of 16 samples next to no share lies between two that are shown with one digit after the point."""
MASKS = (
    (r"(?s)<(style|script)>.*?</\1>", r"<\1></\1>"),
    (r'(?s)<div class="doc">.*</div>(?=\s*</main>)', '<div class="doc"></div>'),
    (r"sha256-[A-Za-z0-9+/]+=*", "sha256-HASH"),
    (r'data-value="-?[0-9.]+"', 'data-value="NUMBER"'),  # the cell shows it too, rounded
    (r"\b[0-9a-f]{10,}\b", "HASH"),
    (r"rlvr-gap \d+(\.\w+)+", "rlvr-gap VERSION"),
    (r'width="\d+" height="\d+"', 'width="W" height="H"'),
)


def pages() -> dict[str, str]:
    """Golden file -> its page, normalised."""
    with tempfile.TemporaryDirectory() as folder, mock.patch("benchmarks.statistics.intervals.JOINT_DRAWS", 500):
        site = build_site(write_suite(Path(folder) / "runs" / "countdown", PROBLEMS), Path(folder) / "site").path.parent
        found = {name: list(site.glob(pattern)) for name, pattern in PAGES.items()}
        return {name: normalised(page.read_text(encoding="utf-8")) for name, [page] in found.items()}


def normalised(html: str) -> str:
    """A tag or a text to the line, without what depends on the machine."""
    for pattern, mask in MASKS:
        html = re.sub(pattern, mask, html)
    lines = [" ".join(part.split()) for part in re.split(r"(<[^>]*>)", html)]
    return "".join(f"{line}\n" for line in lines if line)


def test_pages_are_what_they_were():
    found = pages()
    for name in PAGES:
        known = (GOLDEN / name).read_text(encoding="utf-8")
        assert found[name].splitlines() == known.splitlines(), (
            f"golden/{name} is not what the site gives now; if that is meant: python -m {__name__}"
        )


@pytest.mark.parametrize(
    ("html", "lines"),
    [
        ("<p>\n a  <b>b</b></p>", ["<p>", "a", "<b>", "b", "</b>", "</p>"]),
        ("<style>x\ny</style><code>0123456789ab</code>", ["<style>", "</style>", "<code>", "HASH", "</code>"]),
        ('<td data-value="-0.12500000000001">', ['<td data-value="NUMBER">']),
        ('<img src="a.svg" width="12" height="3">', ['<img src="a.svg" width="W" height="H">']),
    ],
)
def test_what_depends_on_the_machine_is_masked(html: str, lines: list[str]):
    assert normalised(html).splitlines() == lines


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, text in pages().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
