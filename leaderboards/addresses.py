"""Where the pages of the site are, seen from its front page. Two things never share an address."""

from __future__ import annotations

import hashlib
import re

from benchmarks.records.schema import BASE
from leaderboards.sections import Section

MOST_PAGES = 1000
"""Of a dataset. Further problems are in its list alone."""
FILES = ("list_file", "pair_file", "problem_file", "section_file", "section_name")
"""The functions that templates call."""


def slug(text: str) -> str:
    """Returns a file name for any label. Two labels never share one."""
    plain = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
    return plain if plain and plain == text else f"{plain or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def section_name(section: Section) -> str:
    """Returns a part of a file's name: the same for the same section of every build, and of no other section."""
    suite = section.rows[0].entry.record.suite.name
    key = hashlib.sha256(repr(tuple(section.key)).encode()).hexdigest()[:8]
    return f"{slug(suite)}-{slug(section.key.dataset)}-{key}"


def section_file(section: Section) -> str:
    """Returns the address of the page with a section's plots and pairs."""
    return f"sections/{section_name(section)}.html"


def pair_file(one: str, other: str) -> str:
    """Returns the address of a pair's page from the front page, whatever the order of the two."""
    first, second = sorted((one, other), key=pair_order)
    return f"pairs/{slug(first)}--{slug(second)}.html"


def pair_order(label: str) -> tuple[bool, str]:
    """By name, and the base last."""
    return (label == BASE, label)


def list_file(section: Section) -> str:
    """Returns the address of a dataset's list of problems."""
    return f"problems/{section_name(section)}.html"


def problem_file(name: str, place: int) -> str | None:
    """Returns the address of a problem's page, or None if it has none. `name`: that of its section."""
    return f"problems/{name}-{place:04d}.html" if place < MOST_PAGES else None
