"""The README's picture and rows, and the tables of the findings, are those of the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import Failure
from leaderboards import readme
from tests.leaderboards.test_website import write_suite

ROOT = Path(__file__).resolve().parents[2]


FINDINGS = "# Findings\n\n<!-- table: test, equal steps, answer -->\nold\n<!-- table: end -->\nafter\n"


def test_readme_and_findings_show_the_committed_records():
    found = readme.made(ROOT / "leaderboards" / "records")
    hint = "if the records have changed: make readme"
    assert found.block in (ROOT / "README.md").read_text(encoding="utf-8"), hint
    known = (ROOT / readme.PICTURE).read_text(encoding="utf-8")
    assert known.startswith("<svg") and found.picture.count("<path") == known.count("<path"), hint
    findings = (ROOT / "leaderboards" / "FINDINGS.md").read_text(encoding="utf-8")
    assert readme.TABLE.search(findings) and readme.with_tables(findings, found.tables) == findings, hint


def test_what_stands_around_the_markers_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)
    write_suite(tmp_path / "runs" / "countdown")
    (tmp_path / "leaderboards").mkdir()
    files = [tmp_path / "README.md", tmp_path / "leaderboards" / "FINDINGS.md"]
    files[0].write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    files[1].write_text(FINDINGS)
    readme.write(tmp_path / "runs", tmp_path)
    text, findings = (file.read_text(encoding="utf-8") for file in files)
    assert text.startswith(f"before\n{readme.BEGIN}\n![") and text.endswith(f"{readme.END}\nafter\n")
    assert "\nold\n" not in text and "\n| base | " in text and "\n| ppo | " in text
    assert findings.startswith("# Findings\n\n<!-- table: test, equal steps, answer -->\n| algorithm | gap |")
    assert findings.endswith(" |\n<!-- table: end -->\nafter\n") and "\nold\n" not in findings
    assert (tmp_path / readme.PICTURE).read_text(encoding="utf-8").startswith("<svg")
    readme.write(tmp_path / "runs", tmp_path)
    assert [file.read_text(encoding="utf-8") for file in files] == [text, findings]


def test_a_readme_without_markers():
    with pytest.raises(Failure, match="lacks the lines"):
        readme.with_block("nothing\n", "")


def test_findings_that_ask_for_another_table():
    with pytest.raises(Failure, match=r"'test, equal steps, answer'; there are ood, equal steps, answer"):
        readme.with_tables(FINDINGS, {"ood, equal steps, answer": ""})
