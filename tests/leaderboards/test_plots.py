"""Pictures: as SVG in a page, as PNG and PDF in files, in colours that can be told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.errors import Failure
from leaderboards import plots, style
from tests.leaderboards.test_build import BASE


def test_svg_png_and_pdf(tmp_path: Path):
    line = plots.make_lines([BASE["test"]], {}, {})[0]
    assert list(line.ks) == [1, 2, 4, 8, 16]
    assert all(line.low <= line.mean) and all(line.mean <= line.high)
    figure = plots.curves([line], "a < b")
    svg = style.to_svg(figure, "one", 'a < "b"')
    assert svg.startswith('<svg role="img" aria-label="a &lt; &quot;b&quot;"') and svg.endswith("</svg>")
    assert "currentColor" in svg and style.INK not in svg and "<text" not in svg and "<metadata" not in svg
    assert svg == style.to_svg(plots.curves([line], "a < b"), "one", 'a < "b"')
    for kind, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        style.save(plots.curves([line], "a < b"), tmp_path / f"one.{kind}")
        style.save(plots.curves([line], "a < b"), tmp_path / f"again.{kind}")
        data = (tmp_path / f"one.{kind}").read_bytes()
        assert data.startswith(start) and data == (tmp_path / f"again.{kind}").read_bytes()
    with pytest.raises(Failure, match="cannot write"):
        style.save(figure, tmp_path / "one.png" / "two.png")
    with pytest.raises(ValueError, match="name"):
        style.to_svg(figure, "1 x", "")


def test_colours_differ_and_can_be_told_from_ink():
    assert len(set(style.COLOURS)) == len(style.COLOURS) == len(style.MARKERS) and style.INK not in style.COLOURS
