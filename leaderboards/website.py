"""Builds the published site from records: a folder of pages and pictures that opens from disk.

    index.html          the front page: one picture and one table, for a dataset and a verdict that a reader chooses
    details.html        everything that `build.py` shows
    algorithms/         a page for each algorithm: results of its seeds, curves, settings, documentation
    cells/              a page for each cell: evidence, the command that repeats it, raw counts
    data/, data.html    the data as JSON, CSV and BibTeX, and what it means
    cited.html          numbers of others
    changelog.html, findings.html    what was added when, and what it shows, if the records are the published ones
    studies/            a page for each study in which an algorithm was tuned
    sections/, pairs/, problems/    what `behind.py` makes
    pictures/           SVG files, loaded when a reader comes near them

The pages ask for nothing outside of the folder. The only script is the front page's own, which the content security
policy names by its hash; without it the page shows all of its tables one after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.files import write_text_atomic
from leaderboards import about, behind, budgets, pages, summary
from leaderboards.addresses import slug
from leaderboards.album import Album
from leaderboards.build import TITLE, Gathered, Page, environment, gather, render
from leaderboards.cores import cores
from leaderboards.pictures import save_print
from leaderboards.sections import measure_all
from leaderboards.study_page import render_study
from leaderboards.style import COLOURS
from leaderboards.templating import TEMPLATES, csp_hash
from leaderboards.tuning import Study


def build_site(
    run_dirs_or_records: Path | str | Iterable[Path | str],
    folder: Path | str,
    title: str = TITLE,
    commit: str | None = None,
    downloads: bool = False,
) -> Page:
    """Writes the site into the folder and returns the path of its front page, as `build.build` does. Errors likewise.

    `commit`: of the code that builds it, if the front page shall name it. The same files, title and commit give the
    same bytes. `downloads`: also write the plots that compare algorithms as PDF and PNG, and lead to them.

    Files of an earlier build are overwritten. Those that the records no longer ask for stay, and nothing leads to them.
    """
    folder = Path(folder)
    with cores() as pool:
        found = _with_study_pages(gather(run_dirs_or_records, folder / "index.html", pool), folder)
        measure_all(found.sections, pool)
        album, made = Album(folder, pool), about.built(found, commit)
        more = behind.pages_of(found.sections, title, partial(album.show, up="../"), downloads)
        printed = [pool.submit(save_print, folder, plot) for plot in (more.plots if downloads else ())]
        found = replace(found, broken=(*found.broken, *more.broken))
        common = {"title": title, "style": Markup(_style()), "style_hash": csp_hash(_style())}
        texts = {**more.texts, **_single_pages(common, found, album)}
        texts["details.html"] = render(title, found, album.show, "index.html")
        texts["index.html"] = front_page(title, found, album, made)
        about.write(found, made, folder, environment(album.show), common)
        for name, text in texts.items():
            write_text_atomic(folder / name, album.fill(text), durable=name in ("index.html", "details.html"))
        for one in printed:
            one.result()
    return found.page(folder / "index.html")


def _with_study_pages(found: Gathered, folder: Path) -> Gathered:
    """Writes a page for each study. Those beside the runs are not part of the site, so nothing leads to them."""
    studies = []
    for one in found.studies:
        page = f"studies/{slug(one.summary.study)}.html"
        write_text_atomic(folder / page, render_study(one.summary, front="../index.html"), durable=False)
        studies.append(Study(one.summary, page))
    return replace(found, studies=tuple(studies))


def _single_pages(common: Mapping[str, Any], found: Gathered, album: Album) -> dict[str, str]:
    """The pages of algorithms and of cells, by their addresses. `common`: what every page needs."""
    made, texts = environment(partial(album.show, up="../")), {}
    made.globals |= {"cell_file": pages.cell_file, "generated": summary.generated}
    for page in pages.algorithm_pages(found.sections):
        texts[page.file] = made.get_template("algorithm.html.j2").render(page=page, **common)
    for entry in found.entries:
        counts, broken = pages.raw_counts(entry)
        name = summary.cell_name(entry.record.cell)
        text = made.get_template("cell.html.j2").render(entry=entry, name=name, counts=counts, broken=broken, **common)
        texts[pages.cell_file(entry)] = text
    return texts


def front_page(title: str, found: Gathered, album: Album, made: about.Built) -> str:
    """The front page."""
    template = environment(album.show).get_template("front.html.j2")
    style, script = _style(), (TEMPLATES / "front.js").read_text(encoding="utf-8")
    return template.render(
        title=title,
        style=Markup(style),
        style_hash=csp_hash(style),
        script=Markup(script),
        script_hash=csp_hash(script),
        views=budgets.views(found.sections),
        found=found,
        made=made,
        colour_of=lambda number: number % len(COLOURS),
    )


def _style() -> str:
    """The style of all pages, that of the front page, and the colours of the algorithms."""
    parts = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "front.css")]
    return "".join([*parts, *(f".c{i}::before {{ background: {colour}; }}\n" for i, colour in enumerate(COLOURS))])
