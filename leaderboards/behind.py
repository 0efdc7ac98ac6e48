"""Makes the pages of pairs and of problems, and of each section's plots.

    sections/           a page for each dataset: its plots, the tables behind them, and its pairs
    pairs/              a page for each two models
    problems/           a list for each dataset, and a page for each problem

There are hundreds of them, so their style is a short one, and numbers are computed once for all pages of a section.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from leaderboards import addresses, pairs, problem_pages
from leaderboards.album import Album
from leaderboards.build import environment
from leaderboards.front import VERDICT_NAMES
from leaderboards.load import Broken
from leaderboards.pairs import Known
from leaderboards.samples import visible
from leaderboards.section_pages import section_page
from leaderboards.sections import Section
from leaderboards.stored_samples import cut, section_samples
from leaderboards.style import brief
from leaderboards.templating import TEMPLATES, csp_hash


def pages(title: str, sections: Sequence[Section], album: Album) -> tuple[dict[str, str], list[Broken]]:
    """Returns all pages by their addresses, and the stored completions that could not be read."""
    broken: list[Broken] = []
    found = [Known(one, section_samples(one, broken)) for one in sections if one.estimates]
    made, same, texts = _environment(album), _common(title), dict[str, str]()

    def add(template: str, file: str, **values: Any) -> None:
        texts[file] = made.get_template(template).render(**same, **values)

    for page in pairs.pair_pages(found):
        add("pair.html.j2", page.file, page=page, most_chars=pairs.MOST_CHARS)
    for known in found:
        add("section_page.html.j2", addresses.section_file(known.section), page=section_page(known.section))
        add("problems.html.j2", addresses.list_file(known.section), known=known)
        common = {"section": known.section, "n_problems": len(known.section.estimates["answer"].problem_ids)}
        for problem in problem_pages.problem_pages(known):
            add("problem.html.j2", problem.file, page=problem, most_chars=problem_pages.MOST_CHARS, **common)
    return texts, broken


def _environment(album: Album) -> Environment:
    made = environment(partial(album.show, up="../"))
    made.filters |= {"cut": cut, "datum": _datum, "visible": visible, "brief": brief}
    made.globals |= {
        **{name: getattr(addresses, name) for name in addresses.FILES},
        "listed": problem_pages.listed,
        "verdict_names": VERDICT_NAMES,
    }
    return made


def _common(title: str) -> dict[str, Any]:
    style = (TEMPLATES / "small.css").read_text(encoding="utf-8")
    return {"title": title, "style": Markup(style), "style_hash": csp_hash(style)}


def _datum(value: Any) -> str:
    """A value of a plot's table, with four digits if it is no whole number."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
