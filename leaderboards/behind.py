"""The pages behind the front page that compare models: of each section's plots, of pairs, and of problems.

    sections/           a page for each dataset: its plots, the tables behind them, and its pairs
    pairs/              a page for each two models
    problems/           a list for each dataset, and a page for each problem

There are hundreds of them, so their style is a short one, and numbers are computed once for all pages of a section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from leaderboards import addresses, pairs, problem_pages
from leaderboards.build import Show, environment
from leaderboards.front import VERDICT_NAMES
from leaderboards.load import Broken
from leaderboards.pairs import Known
from leaderboards.pictures import Plot
from leaderboards.samples import visible
from leaderboards.section_pages import section_page
from leaderboards.sections import Section
from leaderboards.stored_samples import cut, section_samples
from leaderboards.style import brief
from leaderboards.templating import TEMPLATES, csp_hash


@dataclass(frozen=True)
class Pages:
    """What `pages_of` returns."""

    texts: dict[str, str]
    """Address from the front page -> HTML."""
    plots: Sequence[Plot]
    """Those of the pages of sections, which can be downloaded."""
    broken: Sequence[Broken]
    """Stored completions that cannot be read."""


def pages_of(sections: Sequence[Section], title: str, show: Show, downloads: bool = False) -> Pages:
    """All pages. `show` turns a picture into an element; `downloads`: whether plots are there as PDF and PNG, too."""
    broken: list[Broken] = []
    found = [Known(one, section_samples(one, broken)) for one in sections if one.estimates]
    made, common = _environment(show), _common(title)
    texts: dict[str, str] = {}
    template = made.get_template("pair.html.j2")
    for pair in pairs.pair_pages(found):
        texts[pair.file] = template.render(page=pair, most_chars=pairs.MOST_CHARS, **common)
    template, plots = made.get_template("section_page.html.j2"), []
    for known in found:
        page = section_page(known.section)
        plots += [shown.plot for shown in page.shown]
        texts[addresses.section_file(known.section)] = template.render(page=page, downloads=downloads, **common)
        texts |= _problems(known, made, common)
    return Pages(texts, plots, broken)


def _problems(known: Known, made: Environment, common: dict[str, Any]) -> dict[str, str]:
    """The list of a section's problems, and their pages."""
    listed = made.get_template("problems.html.j2").render(known=known, **common)
    template = made.get_template("problem.html.j2")
    size = len(known.section.estimates["answer"].problem_ids)
    more = {"section": known.section, "n_problems": size, "most_chars": problem_pages.MOST_CHARS, **common}
    texts = {one.file: template.render(page=one, **more) for one in problem_pages.problem_pages(known)}
    return {addresses.list_file(known.section): listed, **texts}


def _environment(show: Show) -> Environment:
    made = environment(show)
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
