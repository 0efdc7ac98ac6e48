"""Builds the self-contained page of one study from its summary.

    rlvr-gap sweep show STUDY

Like the leaderboard, the page loads nothing and runs nothing, escapes all text, and has the same bytes for the same
summary. It shows the validation split alone: no number on it comes from a test split.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.files import write_text_atomic
from benchmarks.records.study import StudySummary
from leaderboards import study_plots, study_words
from leaderboards.pictures import Plot
from leaderboards.summary import number, percent, points, short
from leaderboards.templating import make_environment

TEMPLATE = "study.html.j2"


def build_study_page(summary: StudySummary, out_html: Path | str) -> Path:
    """Writes the page atomically and returns its path. Raises Failure if it cannot be written."""
    write_text_atomic(out_html, render_study(summary))
    return Path(out_html)


def render_study(summary: StudySummary, front: str | None = None) -> str:
    """Returns the page as text, which does not depend on when or where it was made.

    `front` is the address of the leaderboard's front page, if the page belongs to one.
    """
    environment = make_environment()
    environment.filters |= {"percent": percent, "points": points, "number": number, "short": short}
    environment.filters |= {"with_span": study_words.with_span, "changes": study_words.changes}
    template = environment.get_template(TEMPLATE)
    return template.render(
        study=summary,
        front=front,
        words=study_words,
        show_points=points,
        plots=study_pictures(summary),
        slices=slice_pictures(summary),
    )


def slice_pictures(summary: StudySummary) -> list[Plot]:
    """A picture for each parameter of which there are trials."""
    shown = summary.parameters if summary.trials else ()
    captions = [f"pass@1 over {one.name}. The dashed line is the default." for one in shown]
    return [
        Plot(partial(study_plots.slice_of, summary, one), caption, f"study-slice-{i}", caption)
        for i, (one, caption) in enumerate(zip(shown, captions, strict=True))
    ]


def study_pictures(summary: StudySummary) -> dict[str, Plot]:
    """Name -> picture, for those that the study has something to show of."""
    fresh = [one for one in (summary.default, *summary.finalists) if one]
    drawn: dict[str, tuple[bool, Callable[[StudySummary], Figure], str]] = {
        "finalists": (
            bool(fresh), study_plots.finalists,
            "Fresh runs of the default and of the finalists. A finalist was chosen by what its own trial showed, and "
            "without its fresh runs.",
        ),
        "front": (
            bool(summary.front), study_plots.front,
            f"Trials that no other one beats in pass@1 and in pass@{summary.k} at once, with their numbers.",
        ),
        "history": (
            bool(summary.trials), study_plots.history,
            "Each trial in its order. Trials without a score stand at the bottom.",
        ),
        "rungs": (
            any(trial.rungs for trial in summary.trials), study_plots.rungs,
            "pass@1 at the rungs, where trials are pruned, and at the end of the budget.",
        ),
        "importances": (
            summary.importance_quantile is not None, study_plots.importances,
            "PED-ANOVA over the complete trials: how much the values of a parameter differ among the best "
            f"{100 * (summary.importance_quantile or 0):.0f} % of them.",
        ),
    }  # fmt: skip
    return {
        name: Plot(partial(draw, summary), caption, f"study-{name}", caption)
        for name, (there, draw, caption) in drawn.items()
        if there
    }
