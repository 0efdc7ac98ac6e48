"""The pages beside the front page: the data, the cited numbers, and what the site was built from."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from leaderboards import citations, exports
from leaderboards.about import CitedRow, cited_rows
from leaderboards.website import build_site
from tests.leaderboards.factory import draw_counts, words, write_run

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("about") / "runs"
    base = {"test": draw_counts(0.2, 12, 0)}
    write_run(folder, "base", base)
    write_run(folder, "grpo", {"test": draw_counts(0.5, 12, 1)}, base)
    return folder


@pytest.fixture(scope="module")
def site(runs) -> Path:
    build_site(runs, runs.parent / "site", commit="1234567890")
    return runs.parent / "site"


def text_of(path: Path) -> str:
    return words(re.sub(r"<script>.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))


def test_the_data_is_what_export_writes(runs, site, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["rlvr-gap", "export", str(runs), "--level", "all", "--to", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert not end.value.code
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {path.name: path.read_bytes() for path in (site / "data").iterdir()} == written
    assert set(written) == set(exports.ABOUT)


def test_the_page_of_data_describes_every_column(site):
    html = (site / "data.html").read_text(encoding="utf-8")
    described = set(re.findall(r'<th scope="row"><code>(\w+)</code></th>', html))
    columns = {name for table in exports.TABLES for name in header(site / "data" / f"{table}.csv")}
    assert {re.sub("_(low|high)$", "", name) for name in columns} == described
    assert "@misc{rlvr_gap_leaderboard," in words(html) and 'id="cite"' in html


def header(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").partition("\n")[0].split(",")


def test_docs_say_what_the_page_says():
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    for name, holds in {**exports.ABOUT, **exports.KEYS}.items():
        assert f"| `{name}` | {holds} |" in text


def test_the_foot_says_what_the_site_was_built_from(runs, site, tmp_path):
    text = text_of(site / "index.html")
    assert "of which the newest is from 2026-11-20. They were made at commit 0f1e2d3c4b" in text
    assert "The site was built by rlvr-gap" in text and "at commit 1234567890 ." in text
    build_site(runs, tmp_path / "again", commit="1234567890")
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(site)).read_bytes(), path.name


def test_without_a_commit_none_is_named(runs, tmp_path):
    build_site(runs, tmp_path)
    assert "commit" not in text_of(tmp_path / "index.html").partition("The site was built")[2]


def test_front_page_leads_there(site):
    html = (site / "index.html").read_text(encoding="utf-8")
    for file in ("data.html", "data/data.json", "data.html#cite", "cited.html"):
        assert f'href="{file}"' in html
    assert "changelog.html" not in html and not (site / "changelog.html").exists()  # these are not the published ones


def test_cited_rows_by_hand():
    """From the printed numbers of Table 2: 69.1 - 28.1 = 41.0, 28.1 - 10.2 = +17.9 and 69.2 - 69.1 = +0.1 for RLOO."""
    rows = {row.label: row for row in cited_rows(citations.load()[0])["omni-math-test"]}
    assert rows["RLOO"] == CitedRow("RLOO", "41.0", "28.1", "69.2", "+17.9", "+0.1")
    assert rows["base"] == CitedRow("base", "58.9", "10.2", "69.1", "–", "–")
    assert rows["DAPO"].change_at_k == "−2.1"  # 67.0 - 69.1


def test_cited_numbers_stand_apart(site):
    html = (site / "cited.html").read_text(encoding="utf-8")
    tables = re.findall(r"<table.*?</table>", html, re.DOTALL)
    assert len(tables) == 6 and all('<span class="badge">cited</span>' in table for table in tables)
    rows = re.findall(r"<tr[^>]*><th scope=\"row\"", html)
    assert len(rows) == 3 * (7 + 4) == html.count('<tr class="unranked">')  # a base and its rows, on three datasets
    assert "interval" not in "".join(tables) and "[" not in words("".join(tables))
    assert '<a href="https://arxiv.org/abs/2504.13837v2">Yue et al. (2025), arXiv:2504.13837</a>' in html
    ours = [path for path in site.rglob("*.html") if path.name != "cited.html"]
    assert not [
        path for path in ours if "Omni-MATH" in path.read_text(encoding="utf-8") and "algorithms" not in str(path)
    ]
