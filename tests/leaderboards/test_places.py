"""Who has a place on the page, and that every number there comes from counts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks.statistics.counts import Counts
from benchmarks.statistics.gap import sampling_efficiency_gap
from leaderboards.build import build
from tests.leaderboards.factory import KS, draw_counts, words, write_run

PROBLEMS = 24
BASE = {"test": draw_counts(0.15, PROBLEMS, 1, spread=4.0)}
TRAINED = {seed: {"test": draw_counts(0.4, PROBLEMS, 10 + seed)} for seed in range(3)}


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


def with_seeds(suite: Path, name: str, rate: float, seeds: int = 3, base: dict = BASE, **options: object) -> list[Path]:
    """Writes cells of an algorithm that is this good."""
    counts = [{"test": draw_counts(rate, PROBLEMS, 40 + seed, spread=4.0)} for seed in range(seeds)]
    return [write_run(suite, name, one, base, seed=seed, **options) for seed, one in enumerate(counts)]


def places(html: str) -> dict[str, str]:
    """Algorithm -> place, of the first table."""
    table = html[html.index("<h3>Algorithms</h3>") : html.index("<h3>Single runs</h3>")]
    rows = re.findall(
        r'<th scope="row">((?:(?!</th>).)*)</th>\s*<td class="number">\d+</td><td class="number main">(.*?)</td>',
        table,
        re.S,
    )
    return {words(name): place for name, place in rows}


@pytest.mark.usefixtures("no_pictures")
def test_places_are_of_algorithms_over_seeds(suite: Path, tmp_path: Path):
    """One that is far better is first; two with the same counts share the last places; grpo has one seed and none."""
    with_seeds(suite, "rloo", 0.85)
    with_seeds(suite, "ppo", 0.2)
    with_seeds(suite, "dapo", 0.2)
    html, _ = built(suite, tmp_path / "page.html")
    assert places(html) == {
        "rloo": "1", "dapo": "2 to 3", "ppo": "2 to 3", "grpo no place: 1 seed of at least 3": "–"
    }  # fmt: skip
    text = words(html)
    assert "Difference in gap" in text and "Difference in pass@16" in text and "Simultaneous intervals" in text
    assert "% better" not in text and "Between seeds, pass@1 has a standard deviation of" in text


@pytest.mark.usefixtures("no_pictures")
def test_two_seeds_have_no_place(suite: Path, tmp_path: Path):
    with_seeds(suite, "rloo", 0.85, seeds=2, provenance_changes={"dirty": True})
    text = words(built(suite, tmp_path / "page.html")[0])
    assert "no place: 2 seeds of at least 3" in text and "All pairs" not in text and "dirty" in text


@pytest.mark.usefixtures("no_pictures")
def test_nobody_is_ranked_against_a_base_near_zero(tmp_path: Path):
    nothing = {"test": draw_counts(1e-9, PROBLEMS, 1)}
    write_run(tmp_path / "s", "base", nothing)
    with_seeds(tmp_path / "s", "rloo", 0.5, base=nothing)
    html, page = built(tmp_path / "s", tmp_path / "page.html")
    assert "Nobody is ranked here: pass@16 of the base may be below 5 %" in words(html) and page.broken == ()
    assert places(html) == {"rloo no place: the base is near zero": "–"}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("change", [{"gap": -0.9}, {"base_pass_at_k": 0.99}, {"trained_pass_at_1": 0.99}])
def test_a_gap_that_the_counts_do_not_give_is_broken(suite: Path, tmp_path: Path, change: dict):
    """A record that claims a better gap takes no place, and its number is nowhere on the page."""
    paths = with_seeds(suite, "rloo", 0.5)
    data = json.loads(paths[0].read_text())
    data["gap"]["test"] |= change
    paths[0].write_text(json.dumps(data))
    html, page = built(suite, tmp_path / "page.html")
    assert [broken.where for broken in page.broken] == ["countdown/rloo-s0/record.json"]
    assert "gap of test: the counts give a" in page.broken[0].reason
    assert "its gap is not the one that the counts give" in words(html) and "-90.0" not in html
    assert places(html)["rloo no place: 2 seeds of at least 3"] == "–"


@pytest.mark.usefixtures("no_pictures")
def test_an_interval_in_a_record_is_not_shown(suite: Path, tmp_path: Path):
    record = suite / "grpo-s0" / "record.json"
    data = json.loads(record.read_text())
    data["gap"]["test"] |= {"low": -0.777, "high": 0.777}
    record.write_text(json.dumps(data))
    html, page = built(suite, tmp_path / "page.html")
    assert page.broken == () and "77.7" not in html


@pytest.mark.usefixtures("no_pictures")
def test_without_the_counts_of_the_base_there_is_no_gap(suite: Path, tmp_path: Path):
    shutil.rmtree(suite / "base")
    text = words(built(suite, tmp_path / "page.html")[0])
    assert "the counts of the base are not among the files, so there is no gap" in text
    assert "No algorithm can be compared here yet" in text


@pytest.mark.usefixtures("no_pictures")
def test_sound_answers_stand_beside(tmp_path: Path):
    """Half of the correct answers are sound, on both sides: a second table, and a gap by it in every run."""

    def half(counts: Counts) -> Counts:
        return Counts(
            counts.problem_ids,
            counts.n_N,
            counts.c_N,
            counts.design,
            {**counts.extra, "sound": (counts.c_N // 2).tolist()},
        )

    base = {"test": half(BASE["test"])}
    write_sound(tmp_path / "s", "base", base)
    for seed in range(3):
        write_sound(tmp_path / "s", "rloo", {"test": half(TRAINED[seed]["test"])}, base, seed=seed)
    html, page = built(tmp_path / "s", tmp_path / "page.html")
    assert page.broken == ()
    text = words(html)
    assert "By the answer under a sound chain" in text and html.count('aria-label="Algorithms, ') == 2
    gap = sampling_efficiency_gap(base["test"].judged_by("sound"), half(TRAINED[0]["test"]).judged_by("sound"), 16)
    assert f"{100 * gap.gap:.1f} [{100 * gap.low:.1f}, {100 * gap.high:.1f}]" in text


def write_sound(folder: Path, name: str, counts: dict, base: dict | None = None, **options: object) -> Path:
    """A cell whose record says what its sound column says."""
    one = counts["test"]
    sound = one.judged_by("sound")
    correct, right = int(one.c_N.sum()), int(sound.c_N.sum())
    chains = {"checked": correct, "sound": right, "correct_checked": correct, "correct_sound": right}
    changes = {"chains": chains, "sound": {"correct": right, **sound.dataset_pass_at_k(KS).to_json()}}
    if base is not None:
        gap = sampling_efficiency_gap(base["test"].judged_by("sound"), sound, 16)
        options["sound_gap"] = {"test": gap.to_json()}
    return write_run(folder, name, counts, base, evaluation_changes=changes, **options)
