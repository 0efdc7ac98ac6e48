"""The README's picture and rows are those of the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import Failure
from leaderboards import readme
from tests.leaderboards.test_website import write_suite

ROOT = Path(__file__).resolve().parents[2]


def test_the_readme_shows_the_committed_records():
    block, svg = readme.made(ROOT / "leaderboards" / "records")
    hint = "if the records have changed: make readme"
    assert block in (ROOT / "README.md").read_text(encoding="utf-8"), hint
    known = (ROOT / readme.PICTURE).read_text(encoding="utf-8")
    assert known.startswith("<svg") and svg.count("<path") == known.count("<path"), hint


def test_what_stands_around_the_markers_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)
    write_suite(tmp_path / "runs" / "countdown")
    (tmp_path / "README.md").write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    readme.write_readme(tmp_path / "runs", tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"before\n{readme.BEGIN}\n![") and text.endswith(f"{readme.END}\nafter\n")
    assert "\nold\n" not in text and "\n| base | " in text and "\n| ppo | " in text
    assert (tmp_path / readme.PICTURE).read_text(encoding="utf-8").startswith("<svg")
    readme.write_readme(tmp_path / "runs", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text


def test_a_readme_without_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readme, "made", lambda _: ("", ""))
    (tmp_path / "README.md").write_text("nothing\n")
    with pytest.raises(Failure, match="lacks the lines"):
        readme.write_readme(tmp_path, tmp_path / "README.md")
