"""The changelog of the published records names all of them, with the commits that they were made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.records.schema import read_record
from leaderboards import changelog
from leaderboards.website import build_site
from tests.leaderboards.factory import draw_counts, words, write_run

ADDED = "- `tiny-1`: added or replaced"


def test_every_published_record_is_named():
    runs = [(path.parent, read_record(path)) for path in sorted(changelog.PUBLISHED.glob("*/*/record.json"))]
    lacking = changelog.missing(changelog.FILE.read_text(encoding="utf-8"), runs)
    assert runs and not lacking, "leaderboards/CHANGELOG.md lacks:\n" + "\n".join(lacking)


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """Records of a base and of a run, as if they were the published ones."""
    base = {"test": draw_counts(0.2, 12, 0)}
    write_run(tmp_path / "records" / "tiny-1", "base", base)
    write_run(tmp_path / "records" / "tiny-1", "grpo", {"test": draw_counts(0.5, 12, 1)}, base)
    monkeypatch.setattr(changelog, "PUBLISHED", tmp_path / "records")
    monkeypatch.setattr(changelog, "FILE", tmp_path / "CHANGELOG.md")
    return tmp_path / "records"


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("- `tiny-1`: `base`,\n  `grpo-s0`. `0f1e2d3`", []),
        ("- `tiny-1`: `base`. `0f1e2d3`\n- `tiny-1`: `grpo-s0`. `0f1e2d3`", []),
        ("- `tiny-1`: `base`. `0f1e2d3`", [f"{ADDED} `grpo-s0`. Made by `0f1e2d3`."]),
        ("- `tiny-1`: `base`, `grpo-s0`. `aaaaaaa`", [f"{ADDED} `base`, `grpo-s0`. Made by `0f1e2d3`."]),
        ("- `tiny-2`: `grpo-s0`. `0f1e2d3`\n- `tiny-1`: `base`. `0f1e2d3`", 1),
    ],
)  # fmt: skip
def test_missing(published, text, lacking):
    runs = [(path.parent, read_record(path)) for path in sorted(published.glob("*/*/record.json"))]
    found = changelog.missing(text, runs)
    assert len(found) == lacking if isinstance(lacking, int) else found == lacking
    assert changelog.missing("\n".join([text, *found]), runs) == []


def test_the_site_of_the_published_records_shows_it(published, tmp_path):
    changelog.FILE.write_text("# Changes\n\n- <b>`tiny-1`</b> [web](https://example.org) [file](records)\n")
    build_site(published, tmp_path / "site")
    html = (tmp_path / "site" / "changelog.html").read_text(encoding="utf-8")
    assert "<h1>Changes</h1>" in html and "&lt;b&gt;" in html and 'href="https://example.org"' in html
    assert 'href="records"' not in html and "file" in words(html)
    assert 'href="changelog.html"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
