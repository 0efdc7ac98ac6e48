"""The site: what its front page shows without a script, what it weighs, and that it asks for nothing outside."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from pathlib import Path

import pytest

from benchmarks.statistics.counts import Counts
from leaderboards import pages, style
from leaderboards.addresses import slug
from leaderboards.pictures import picture_name
from tests.leaderboards.factory import Elements, build_quickly, draw_counts, words, write_log, write_run, write_samples

PROBLEMS = 24
HOSTILE = '<script>alert("x")</script>$x$ & \'--!>'
BASE = {name: draw_counts(0.15, PROBLEMS, 1, spread=4.0) for name in ("test", "ood")}


def write_suite(folder: Path, problems: int = PROBLEMS) -> Path:
    """A base, three seeds of two algorithms, and one seed of an algorithm with a hostile name."""

    def draw(rate: float, seed: int) -> dict[str, Counts]:
        return {name: draw_counts(rate, problems, seed, spread=4.0) for name in BASE}

    counts = draw(0.15, 1)
    base = write_run(folder, "base", counts).parent
    write_samples(base, "test", ["p0000", "p0009"], "1+2=3\n\\boxed{1+2}")
    for name, rate in (("grpo", 0.35), ("ppo", 0.5)):
        for seed in range(3):
            run = write_run(folder, name, draw(rate, 10 + seed), counts, seed=seed).parent
            write_log(run, 5, seed)
            write_samples(run, "test", ["p0000", "p0009"], f"{HOSTILE}\n{'long ' * 50}", None)
    write_run(folder, HOSTILE, draw(0.3, 50), counts, folder="hostile")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of `write_suite`, which no test changes."""
    folder = tmp_path_factory.mktemp("website")
    page = build_quickly(write_suite(folder / "runs" / "countdown"), folder / "site")
    assert (page.path, page.n_records, page.broken) == (folder / "site" / "index.html", 8, ())
    return folder / "site"


def test_the_front_page_is_plain_tables(site: Path):
    html = (site / "index.html").read_text(encoding="utf-8")
    assert html.count("<table") == html.count("<caption") == 2  # two datasets; the counts know no sound chains
    text = words(re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL))
    assert "countdown: test, by answer" in text and "countdown: ood, by answer" in text
    table = html[html.index("<tbody>") : html.index("</tbody>")]
    names = [words(row).split()[0] for row in re.findall(r"<th scope=\"row\".*?</th>", table)]
    assert names[:3] == ["base", "ppo", "grpo"]
    assert [tag for tag in re.findall(r"<th\b[^>]*>", html) if "scope=" not in tag] == []
    assert "not ranked" in table  # one seed
    tokens = 256 * 33 * 300 + 17
    assert f'data-value="{float(tokens)}">2.53 M' in table


def test_intervals_of_a_column_hold_at_once(site: Path):
    """With three algorithms each has the level 1 - 0.05 / 3, so it is wider than the one on the page of details."""

    def of_ppo(name: str, pattern: str) -> tuple[float, float]:
        html = (site / name).read_text(encoding="utf-8")
        low, high = re.findall(pattern, html[html.index("<tbody>") :], re.DOTALL)[0]
        return float(low), float(high)

    joint = of_ppo("index.html", r'data-value="ppo".*?\[([\d.]+), ([\d.]+)\]')
    alone = of_ppo("details.html", r'<th scope="row">ppo.*?\[([\d.]+), ([\d.]+)\]')
    assert joint[0] < alone[0] < alone[1] < joint[1]


def test_only_the_named_style_and_script_may_run(site: Path):
    html = (site / "index.html").read_text(encoding="utf-8")
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    for tag in ("style", "script"):
        [text] = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not [
        name for _, attributes in Elements(html).found for name in attributes if name.startswith(("on", "style"))
    ]


def test_it_is_light_and_all_it_asks_for_is_beside_it(site: Path):
    assert (site / "index.html").stat().st_size < 150_000
    for page in site.rglob("*.html"):
        for tag, attributes in Elements(page.read_text(encoding="utf-8")).found:
            assert tag not in ("iframe", "object", "embed", "base", "form", "link")
            for name in ("src", "href"):
                target = attributes.get(name) or "#"
                if name == "href" and target.startswith("https://"):
                    continue
                file, _, _ = target.partition("#")
                assert (page.parent / file).exists() if file else target.startswith("#"), (page.name, target)
            assert tag != "img" or (attributes["loading"] == "lazy" and attributes["alt"])


def test_a_page_for_each_algorithm(site: Path):
    assert {path.name for path in (site / "algorithms").iterdir()} == {"grpo.html", "ppo.html", f"{slug(HOSTILE)}.html"}
    text = words((site / "algorithms" / "grpo.html").read_text(encoding="utf-8"))
    assert "learning_rate 5e-05" in text and "A_i = (r_i - mean(r))" in text and "2,534,417" in text
    assert all(f"seed {seed}" in text for seed in range(3))


def test_a_page_for_each_cell(site: Path):
    [page] = (site / "cells").glob("ppo-s1-*.html")
    html = page.read_text(encoding="utf-8")
    assert "rlvr-gap bench --algo ppo --suite countdown --seed 1" in words(html)
    assert html.count('<th scope="row">p0') == 2 * PROBLEMS
    correct = BASE["test"].c_N
    [base] = (site / "cells").glob("base-*.html")
    first = f'<th scope="row">p0000</th><td>16</td><td>{correct[0]}</td>'
    assert first in base.read_text(encoding="utf-8")


def test_hostile_names_are_text_on_every_page(site: Path):
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert "alert(" not in html or html.count("&lt;script&gt;alert(") > 0
        assert "<script>alert" not in html


def test_slugs_differ_where_labels_do():
    labels = ["grpo", "GRPO", "grpo (x)", "grpo-x", "grpo_x", "grpo--x", "../x", "", HOSTILE]
    assert len({slug(one) for one in labels}) == len({picture_name(one) for one in labels}) == len(labels)
    assert all(re.fullmatch(r"[a-z0-9_-]+", slug(one)) for one in labels)


def test_documentation_is_text_with_links_to_the_web_alone(tmp_path: Path):
    (tmp_path / "one.md").write_text(
        "# one\n\n<b onclick='x'>bold</b> [web](https://arxiv.org/abs/1)\n"
        "[file](../x.py) [js](javascript:x) ![i](i.png)\n\n"
        "<!-- a marker -->\n| a | b |\n|---|--:|\n| 1 | 2 |\n<!-- the end -->\n"
    )
    html = str(pages.documentation("one", tmp_path))
    assert "<h3>one</h3>" in html and "&lt;b onclick" in html and '<a href="https://arxiv.org/abs/1">web</a>' in html
    assert "file" in html and html.count("<a ") == 1 and "<img" not in html
    assert html.endswith("</table></div>\n") and "marker" not in html and "the end" not in html
    assert 'aria-label="Table 1"><table>' in html and '<td class="number">2</td>' in html and "style=" not in html
    assert pages.documentation("two", tmp_path) is None and pages.documentation("../one", tmp_path / "x") is None


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    # #777777 on white is the textbook example of a grey that just misses 4.5:1.
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("colour", style.COLOURS)
def test_colours_stand_out_on_both_backgrounds(colour: str):
    css = (Path(style.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    grounds = re.findall(r"--(?:ground|stripe): (#[0-9a-f]{6});", css)
    assert len(set(grounds)) == 4
    assert [ground for ground in grounds if contrast(colour, ground) < 3] == []
