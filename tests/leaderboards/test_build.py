"""The page: what it shows, what it never mixes, what it survives, and that it loads nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.errors import Failure, UsageError
from leaderboards import plots, style
from leaderboards.build import build
from tests.leaderboards.factory import Elements, draw_counts, words, write_log, write_run
from tests.leaderboards.test_places import places

ROOT = Path(__file__).resolve().parents[2]
PROBLEMS = 24
BASE = {"test": draw_counts(0.15, PROBLEMS, 1, spread=4.0)}
TRAINED = {seed: {"test": draw_counts(0.4, PROBLEMS, 10 + seed)} for seed in range(3)}
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "section",
        "nav",
        "div",
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "br",
    ),
    *("b", "i", "a", "span", "code", "ul", "ol", "li", "dl", "dt", "dd", "details", "summary", "figure", "figcaption"),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "g", "path", "defs", "use", "clippath", "rect"),
}
HOSTILE = '<script>alert("x")</script>$x$ & \'--!>'


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics have tests of their own; here they only have to be quick."""
    monkeypatch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is written: the pictures take most of the time."""
    for name in ("curves", "costs"):
        monkeypatch.setattr(f"leaderboards.pictures.{name}", lambda *_: [])


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The runs of a suite: the base, and grpo."""
    folder = tmp_path / "runs" / "countdown"
    write_run(folder, "base", BASE)
    write_run(folder, "grpo", TRAINED[0], BASE)
    return folder


def built(paths: object, out: Path) -> tuple[str, object]:
    page = build(paths, out)
    return out.read_text(encoding="utf-8"), page


# ---------------------------------------------------------------------------------------------- what it shows


def test_one_cell(suite: Path, tmp_path: Path):
    html, page = built(suite, tmp_path / "out" / "page.html")
    assert (page.path, page.n_records, page.broken) == (tmp_path / "out" / "page.html", 2, ())
    gap = json.loads((suite / "grpo-s0" / "record.json").read_text())["gap"]["test"]
    text = words(html)
    for value in (gap["gap"], gap["base_pass_at_1"], gap["trained_pass_at_1"], gap["base_pass_at_k"]):
        assert f" {100 * value:.1f} " in text
    assert f"[{100 * gap['low']:.1f}, {100 * gap['high']:.1f}]" in text
    assert "76,800" in text and "2,534,417" in text and "519" in text  # completions, tokens, seconds of all phases
    for evidence in ("0f1e2d3c4b", "rlvr-gap bench --algo grpo", "2026-11-20 08:09", "trl 1.16.0", "countdown/grpo-s0"):
        assert evidence in text
    assert "1. countdown: test" in text and "task 1, verifier 1" in text
    assert html.count("<svg") == 3  # curves; completions; tokens
    assert "Nobody has a place yet. A place takes at least 3 seeds" in text and "no place: 1 seed of at least 3" in text
    assert "no interval here holds the noise of training again" in text and "All pairs" not in text
    for column in ("own gap closed", "headroom realised", "Cover@0.5", "newly solved / unsolved", "beyond doubt"):
        assert column in text


def test_many_algorithms_get_a_plot_each(suite: Path, tmp_path: Path):
    for i, name in enumerate(("ppo", "rloo", "remax")):
        write_run(suite, name, {"test": draw_counts(0.4, PROBLEMS, 30 + i)}, BASE)
    html, _ = built(suite, tmp_path / "page.html")
    assert html.count("<svg") == 1 + 4 + 2
    ids = [attributes["id"] for _, attributes in Elements(html).found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_base_alone(tmp_path: Path):
    write_run(tmp_path / "countdown", "base", BASE)
    text = words(built(tmp_path / "countdown", tmp_path / "page.html")[0])
    assert "No algorithm can be compared here yet" in text


@pytest.mark.usefixtures("no_pictures")
def test_every_way_to_name_a_record(suite: Path, tmp_path: Path):
    ways = [suite.parent, suite, [suite / "base", suite / "grpo-s0"], [suite / "base", str(suite)]]
    ways.append([suite / "base" / "record.json", suite / "grpo-s0" / "record.json"])
    pages = {built(way, tmp_path / f"{i}.html")[0] for i, way in enumerate(ways)}
    assert len(pages) == 1


# ---------------------------------------------------------------------------------------------- what it never mixes


def sections(html: str) -> list[str]:
    return re.findall(r"<h2>(\d+\. .*?)</h2>", html)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"suite": ("countdown", "cccccccccccccccc")}, "suite hash aaaaaaaaaaaaaaaa there, cccccccccccccccc here"),
        ({"evaluation_changes": {"versions": {"task": 2, "verifier": 1}}}, "task's VERSION is 1 there and 2 here"),
        ({"evaluation_changes": {"versions": {"task": 1, "verifier": 2}}}, "verifier's VERSION is 1 there and 2 here"),
        ({"base_hash": "cccccccccccccccc"}, "the base model is another one"),
        ({"k": 8}, "k = 16 there and at k = 8 here"),
        ({"evaluation_changes": {"problems_hash": "fedcba9876543210"}}, "the problems are not the same ones"),
    ],
    ids=["suite", "task", "verifier", "base", "k", "problems"],
)
def test_kept_apart(suite: Path, tmp_path: Path, options: dict, reason: str):
    write_run(suite, "rloo", TRAINED[1], BASE, **options)
    html, _ = built(suite, tmp_path / "page.html")
    text = words(html).replace("&#39;", "'")
    assert len(sections(html)) == 2
    if "k" in options:  # sections go by k: the smaller comes first or not, but both numbers are named
        assert "Kept apart from section 1: the gap is measured at k =" in text
    else:
        assert "Kept apart from section 1: " in text and reason in text
    first, second = html.split('<section id="section-2">')
    assert ("grpo" in words(first)) != ("rloo" in words(first)) and ("grpo" in second) != ("rloo" in second)


@pytest.mark.usefixtures("no_pictures")
def test_the_base_stands_in_every_section_that_it_belongs_to(suite: Path, tmp_path: Path):
    write_run(suite, "rloo", TRAINED[1], BASE, k=8)
    html, _ = built(suite, tmp_path / "page.html")
    assert html.count(">base</a>") == 2


@pytest.mark.usefixtures("no_pictures")
def test_datasets_in_the_order_of_the_suite(tmp_path: Path):
    write_run(tmp_path / "s", "base", {"zeta": BASE["test"], "alpha": TRAINED[0]["test"]})
    html, _ = built(tmp_path / "s", tmp_path / "page.html")
    assert sections(html) == ["1. countdown: zeta", "2. countdown: alpha"]


def test_other_problems_are_not_paired(suite: Path, tmp_path: Path):
    write_run(suite, "rloo", {"test": draw_counts(0.4, PROBLEMS - 1, 3)}, {"test": draw_counts(0.2, PROBLEMS - 1, 4)})
    text = words(built(suite, tmp_path / "page.html")[0])
    assert "base and trained model were not evaluated on the same problems" in text
    assert "its gap is not the one that the counts give" in text and text.count("no place: 1 seed") == 1


# ---------------------------------------------------------------------------------------------- what does not count


@pytest.mark.usefixtures("no_pictures")
def test_invalid_is_shown_and_not_ranked(suite: Path, tmp_path: Path):
    good = {"test": draw_counts(0.95, PROBLEMS, 8)}
    path = write_run(suite, "rloo", good, BASE)
    data = json.loads(path.read_text())
    verdicts = data["evaluations"]["test"]["verdicts"]
    moved = int(0.02 * PROBLEMS * 16)
    verdicts |= {"correct": verdicts["correct"] - moved, "error": moved}
    path.write_text(json.dumps(data))
    html, page = built(suite, tmp_path / "page.html")
    text = words(html)
    assert "invalid, not counted" in text and "1.8 % of the verdicts are errors of the verifier" in text
    assert list(places(html)) == ["grpo no place: 1 seed of at least 3"]
    assert "correct is" in page.broken[0].reason  # the counts are not those of the changed record


@pytest.mark.usefixtures("no_pictures")
def test_on_an_invalid_base_nothing_is_ranked(suite: Path, tmp_path: Path):
    path = suite / "base" / "record.json"
    data = json.loads(path.read_text())
    verdicts = data["evaluations"]["test"]["verdicts"]
    verdicts |= {"wrong": verdicts["wrong"] - 20, "error": 20}
    path.write_text(json.dumps(data))
    text = words(built(suite, tmp_path / "page.html")[0])
    assert "No algorithm can be compared here yet" in text and "invalid: 5.2 % of the verdicts" in text
    assert "the counts of the base are not among the files" in text


@pytest.mark.usefixtures("no_pictures")
def test_of_two_runs_of_a_cell_the_later_is_ranked(suite: Path, tmp_path: Path):
    later = {"finished": "2026-11-21T08:00:00Z"}
    write_run(suite, "grpo", TRAINED[1], BASE, folder="again", provenance_changes=later)
    html, _ = built(suite, tmp_path / "page.html")
    text = words(html)
    assert "superseded, not counted" in text and "a later run of the same cell counts" in text
    assert "no place: 1 seed of" in text
    assert html.index("countdown/again/record.json") < html.index("countdown/grpo-s0/record.json")


@pytest.mark.usefixtures("no_pictures")
def test_imported_is_labelled(suite: Path, tmp_path: Path):
    source = {"source": "Doe 2025, https://example.org/?a=1&b=2", "format": "csv"}
    write_run(suite, "rloo", TRAINED[1], BASE, imported=source, training=None)
    html, _ = built(suite, tmp_path / "page.html")
    assert "imported" in words(html) and "https://example.org/?a=1&amp;b=2 (csv)" in html


def test_missing_counts(suite: Path, tmp_path: Path):
    (suite / "grpo-s0" / "eval" / "test" / "counts.jsonl").unlink()
    html, page = built(suite, tmp_path / "page.html")
    text = words(html)
    assert "its counts cannot be used" in text and "No algorithm can be compared here yet" in text
    assert "There is no curve where counts cannot be used: grpo seed 0." in text
    assert [str(broken) for broken in page.broken] == [
        "countdown/grpo-s0/record.json: counts of test: eval/test/counts.jsonl is missing."
    ]


@pytest.mark.usefixtures("no_pictures")
def test_changed_counts(suite: Path, tmp_path: Path):
    with open(suite / "grpo-s0" / "eval" / "test" / "counts.jsonl", "a", encoding="utf-8") as file:
        file.write("\n")
    html, page = built(suite, tmp_path / "page.html")
    assert "its sha256 is" in page.broken[0].reason and "its sha256 is" in words(html)
    assert "There is no curve where counts cannot be used" in words(html)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("path", ["/etc/hostname", "../base/eval/test/counts.jsonl"])
def test_counts_outside_of_the_run(suite: Path, tmp_path: Path, path: str):
    record = suite / "grpo-s0" / "record.json"
    data = json.loads(record.read_text())
    data["evaluations"]["test"]["counts"]["path"] = path
    record.write_text(json.dumps(data))
    _, page = built(suite, tmp_path / "page.html")
    assert "outside of the record's folder" in page.broken[0].reason


@pytest.mark.usefixtures("no_pictures")
def test_numbers_that_do_not_follow_from_the_counts(suite: Path, tmp_path: Path):
    record = suite / "grpo-s0" / "record.json"
    data = json.loads(record.read_text())
    data["evaluations"]["test"]["pass_at_k"]["1"] += 1e-6
    record.write_text(json.dumps(data))
    _, page = built(suite, tmp_path / "page.html")
    assert "gives pass@1 =" in page.broken[0].reason


@pytest.mark.usefixtures("no_pictures")
def test_broken_records_are_listed(suite: Path, tmp_path: Path):
    for name, text in (("half", '{"schema": 1, "suite"'), ("old", '{"schema": 0}'), ("bytes", "\udcff")):
        (suite / name).mkdir()
        (suite / name / "record.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    empty = tmp_path / "empty"
    empty.mkdir()
    html, page = built([suite, empty], tmp_path / "page.html")
    assert page.n_records == 2 and len(page.broken) == 4
    text = words(html)
    assert "4 files could not be used" in text and "countdown/half/record.json" in text and "grpo no place" in text
    assert "schema is 0, expected 1" in text and "not UTF-8" in text and "there is no record.json" in text
    assert str(tmp_path) not in html


def test_only_broken_records_make_a_page(tmp_path: Path):
    (tmp_path / "record.json").write_text("{")
    html, page = built(tmp_path, tmp_path / "page.html")
    assert page.n_records == 0 and "0 records read" in words(html)


def test_nothing_to_show(tmp_path: Path):
    with pytest.raises(UsageError, match="does not exist"):
        build(tmp_path / "runs", tmp_path / "page.html")
    with pytest.raises(UsageError, match=r"no record\.json"):
        build([tmp_path], tmp_path / "page.html")
    with pytest.raises(UsageError, match="no path at all"):
        build([], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written(suite: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="cannot write"):
        build(suite, tmp_path / "file" / "page.html")


# ---------------------------------------------------------------------------------------------- what it is made of


def test_hostile_names_are_text(suite: Path, tmp_path: Path):
    write_run(
        suite,
        HOSTILE,
        TRAINED[1],
        BASE,
        folder="hostile",
        suite=(HOSTILE, "aaaaaaaaaaaaaaaa"),
        provenance_changes={"command": HOSTILE, "versions": {HOSTILE: HOSTILE}, "commit": HOSTILE},
        training_changes={"seconds": {HOSTILE: 1.0}},
        evaluation_changes={"engine": HOSTILE},
        imported={"source": HOSTILE, "format": HOSTILE},
    )
    write_log(suite / "hostile", 3)
    (suite / "broken").mkdir()
    (suite / "broken" / "record.json").write_text(json.dumps({"schema": HOSTILE}))
    html = build(suite, tmp_path / "page.html", title=HOSTILE).path.read_text(encoding="utf-8")
    assert "<script" not in html and "<!--" not in html
    assert html.count("&lt;script&gt;") > 8
    elements = Elements(html)
    assert {tag for tag, _ in elements.found} <= ALLOWED
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]


def test_it_loads_nothing(suite: Path, tmp_path: Path):
    html, _ = built(suite, tmp_path / "page.html")
    assert "default-src 'none'" in html and "@import" not in html
    for tag, attributes in Elements(html).found:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes and "srcset" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", html))
    # What is named after a # is there.
    ids = {attributes["id"] for _, attributes in Elements(html).found if "id" in attributes}
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', html)) <= ids


def test_the_same_records_give_the_same_bytes(suite: Path, tmp_path: Path):
    first = build(suite, tmp_path / "first.html").path.read_bytes()
    copy = tmp_path / "elsewhere" / "countdown"
    shutil.copytree(suite, copy)
    assert build([copy / "grpo-s0", copy / "base"], tmp_path / "second.html").path.read_bytes() == first
    script = (
        "import sys, benchmarks.statistics.intervals as i; from leaderboards.build import build; i.JOINT_DRAWS = 500;"
        f"build({str(suite)!r}, {str(tmp_path / 'third.html')!r});"
        "print(*sorted({'torch', 'trl', 'transformers', 'algorithms'} & set(sys.modules)))"
    )
    # Another process, with another hash seed: and what it must not import is not there.
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert (tmp_path / "third.html").read_bytes() == first


@pytest.mark.usefixtures("no_pictures")
def test_no_reader_meets_half_a_page(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.html"
    page.write_text("old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(Failure, match="No space left"):
        build(suite, page)
    assert page.read_text() == "old" and [path.name for path in tmp_path.glob(".page*")] == []


# ---------------------------------------------------------------------------------------------- plots


def test_svg_and_png(tmp_path: Path):
    line = plots.make_lines([BASE["test"]], {}, {})[0]
    assert list(line.ks) == [1, 2, 4, 8, 16]
    assert all(line.low <= line.mean) and all(line.mean <= line.high)
    figure = plots.curves([line], "a < b")
    svg = style.to_svg(figure, "one", 'a < "b"')
    assert svg.startswith('<svg role="img" aria-label="a &lt; &quot;b&quot;"') and svg.endswith("</svg>")
    assert "currentColor" in svg and style.INK not in svg and "<text" not in svg and "<metadata" not in svg
    assert svg == style.to_svg(plots.curves([line], "a < b"), "one", 'a < "b"')
    style.save_png(figure, tmp_path / "one.png", dpi=40)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(Failure, match="cannot write"):
        style.save_png(figure, tmp_path / "none" / "one.png")
    with pytest.raises(ValueError, match="name"):
        style.to_svg(figure, "1 x", "")


def test_colours_differ_and_can_be_told_from_ink():
    assert len(set(style.COLOURS)) == len(style.COLOURS) == len(style.MARKERS) and style.INK not in style.COLOURS
