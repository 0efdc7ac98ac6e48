"""The changelog of the published records names all of them, with the commits that they were made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboards import changelog
from leaderboards.website import build_site
from tests.leaderboards.factory import draw_counts, words, write_run

ADDED = "- `tiny-1`: added or replaced"


def all_of(folder: Path) -> list[changelog.Named]:
    runs = [changelog.of_run(path.parent) for path in sorted(folder.glob("*/*/record.json"))]
    return runs + [changelog.of_study(path.parent) for path in sorted(folder.glob("*/sweeps/*/summary.json"))]


def test_everything_published_is_named():
    published = all_of(changelog.PUBLISHED)
    lacking = changelog.missing(changelog.FILE.read_text(encoding="utf-8"), published)
    assert published and not lacking, "leaderboards/CHANGELOG.md lacks:\n" + "\n".join(lacking)


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
    found = changelog.missing(text, all_of(published))
    assert len(found) == lacking if isinstance(lacking, int) else found == lacking
    assert changelog.missing("\n".join([text, *found]), all_of(published)) == []


def test_a_study_is_named_without_a_commit():
    study = changelog.of_study(Path("records/tiny-1/sweeps/grpo-gap-1"))
    assert changelog.missing("", [study]) == [f"{ADDED} `grpo-gap-1`."]
    assert changelog.missing("- `tiny-1`: `grpo-gap-1`.", [study]) == []


def test_the_site_of_the_published_records_shows_it(published, tmp_path):
    changelog.FILE.write_text("# Changes\n\n- <b>`tiny-1`</b> [web](https://example.org) [file](records)\n")
    build_site(published, tmp_path / "site")
    html = (tmp_path / "site" / "changelog.html").read_text(encoding="utf-8")
    assert "<h1>Changes</h1>" in html and "&lt;b&gt;" in html and 'href="https://example.org"' in html
    assert 'href="records"' not in html and "file" in words(html)
    assert 'href="changelog.html"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
