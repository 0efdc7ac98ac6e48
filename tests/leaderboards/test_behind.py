"""The pages of pairs, problems and plots: what they say, and that the text of models stays text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leaderboards.website import build_site
from tests.leaderboards.factory import Elements, draw_counts, words, write_run, write_samples

PROBLEMS = 12
HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m {{ 7 * 7 }}"
BASE = {"test": draw_counts(0.2, PROBLEMS, 1, spread=4.0)}
TRAINED = {"test": draw_counts(0.7, PROBLEMS, 2, spread=4.0)}


def write_suite(folder: Path) -> Path:
    """A base, two algorithms and a variant of one, some with completions."""
    base = write_run(folder, "base", BASE).parent
    write_samples(base, "test", ["p0000", "p0003"], HOSTILE, HOSTILE)
    for seed in range(3):
        counts = {"test": draw_counts(0.7, PROBLEMS, 2 + seed, spread=4.0)}
        run = write_run(folder, "grpo", counts, BASE, seed=seed).parent
        if seed == 1:
            write_samples(run, "test", ["p0000", "p0003"], "a plain completion", None)
    write_run(folder, "grpo", TRAINED, BASE, variant="tuned")
    write_run(folder, "ppo", BASE, BASE)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("behind")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.statistics.intervals.JOINT_DRAWS", 500)
        assert build_site(write_suite(folder / "runs" / "countdown"), folder / "site").broken == ()
    return folder / "site"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_every_two_models_have_a_page(site: Path):
    """Three algorithms and the base: 4 x 3 / 2 = 6 pairs, an algorithm beside its variant among them."""
    names = sorted(path.name for path in (site / "pairs").iterdir())
    assert len(names) == 6 and "grpo--base.html" in names and "ppo--base.html" in names
    [tuned] = [path for path in (site / "pairs").iterdir() if re.match("grpo--grpo-tuned", path.name)]
    assert words(read(tuned)).count("too few seeds") == 3


def test_a_model_beside_its_copy_wins_nothing(site: Path):
    text = words(read(site / "pairs" / "ppo--base.html"))
    # won, lost and neither of twelve; two runs in any order: half of twelve may be won by chance
    assert f"answer 0 0 {PROBLEMS} 6 " in text and "Won: no problem" in text and "Lost: no problem" in text


def test_problems_won_have_both_completions(site: Path):
    html = read(site / "pairs" / "grpo--base.html")
    assert "a plain completion" in html and "sample 0: <b>wrong</b>, 7 tokens, unsound chain, no answer" in html
    ids = re.findall(r"<details><summary>(p\d+): won", html)
    assert ids and set(ids) <= {"p0000", "p0003"}


def test_text_of_models_is_text(site: Path):
    pages = [site / "pairs" / "grpo--base.html", *(site / "problems").glob("*-0000.html")]
    assert len(pages) == 2
    for path in pages:
        html = read(path)
        found = Elements(html).found
        assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in html and "{{ 7 * 7 }}" in html
        assert not [tag for tag, _ in found if tag in ("script", "img", "iframe", "object")]
        assert not [name for _, attributes in found for name in attributes if name.startswith("on") or name == "style"]
        assert "\u202e" not in html and "\x1b" not in html and "\\u202e" in html
        [policy] = [a["content"] for _, a in found if a.get("http-equiv") == "Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src" not in policy and "unsafe" not in policy


def test_a_problem_says_who_solved_it(site: Path):
    [path] = (site / "problems").glob("*-0003.html")
    html = read(path)
    n, c = BASE["test"].n_N[3], BASE["test"].c_N
    assert f'<th scope="row">base</th><td>{100 * c[3] / n:.1f}</td>' in html and f"<td>{c[3]}/{n}</td>" in html
    harder, equal = sum(c < c[3]), sum(c == c[3]) - 1
    assert f"The base solves {harder} of the {PROBLEMS} problems less often, and {equal} others as often." in html
    seeds = ", ".join(f"{draw_counts(0.7, PROBLEMS, 2 + seed, spread=4.0).c_N[3]}/{n}" for seed in range(3))
    assert f"<td>{seeds}</td>" in html
    assert "grpo, seed 1: 0 of 2 correct" in words(html) and html.index("sample 0") < html.index("sample 1")


def test_the_list_leads_to_every_problem(site: Path):
    [path] = [one for one in (site / "problems").iterdir() if not re.search(r"-\d{4}\.html$", one.name)]
    links = re.findall(r'href="\.\./(problems/[^"]*-\d{4}\.html)"', read(path))
    assert len(links) == PROBLEMS and all((site / link).exists() for link in links)
    assert read(path).count("★") == 2


def test_plots_have_their_data_beside_them(site: Path):
    [path] = (site / "sections").iterdir()
    html = read(path)
    assert html.count("<img ") == html.count("<summary>Data of the plot</summary>") == 5  # nobody else has three seeds
    assert html.count(">compare</a>") == 6
    for heading in ("Gap, by the answer", "pass@k", "Gap and cost", "Coverage", "Accuracy before and after"):
        assert f"<h2>{heading}</h2>" in html


def test_plots_can_be_downloaded_if_that_is_asked_for(site: Path, tmp_path: Path):
    folder = tmp_path / "countdown"
    write_run(folder, "base", BASE)
    write_run(folder, "grpo", TRAINED, BASE)
    build_site(folder, tmp_path / "site", downloads=True)
    [path] = (tmp_path / "site" / "sections").iterdir()
    files = re.findall(r'href="\.\./(pictures/[^"]+)" download', read(path))
    assert {Path(file).suffix for file in files} == {".svg", ".pdf", ".png"} and len(files) == 3 * 5
    assert all((tmp_path / "site" / file).stat().st_size > 1000 for file in files)
    [plain] = (site / "sections").iterdir()
    assert "download" not in read(plain) and not list(site.rglob("*.pdf"))


def test_damaged_completions_are_listed(tmp_path: Path):
    folder = tmp_path / "countdown"
    run = write_run(folder, "base", BASE).parent
    write_run(folder, "grpo", TRAINED, BASE)
    write_samples(run, "test", ["p0000"], "text").write_bytes(b"PAR1 no parquet")
    page = build_site(folder, tmp_path / "site")
    [broken] = page.broken
    assert "stored completions of test" in broken.reason and str(tmp_path) not in broken.reason
    assert "stored completions of test" in read(tmp_path / "site" / "details.html")
