"""docs/suites.md says of every key what the schema says."""

from __future__ import annotations

import re

from benchmarks.launchers.resources import Resources
from benchmarks.suites import reference
from benchmarks.suites.schema import DesignSpec, Suite


def test_the_page_is_current():
    text = reference.PAGE.read_text(encoding="utf-8")
    assert reference.page(text) == text, "run python -m benchmarks.suites.reference"


def test_every_key_has_a_meaning():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", reference.tables(), re.MULTILINE)
    assert len(rows) > 60
    assert [row for row in rows if not all(part.strip() for part in row)] == []


def test_types_and_defaults():
    """Each kind of annotation that the schema has, read off a key of that kind."""
    fields = {**Suite.model_fields, **DesignSpec.model_fields, **Resources.model_fields}
    said = {
        name: (reference.type_of(one.annotation, one.metadata), reference.default_of(one))
        for name, one in fields.items()
    }
    assert said["base_model"] == ("text", "required")
    assert said["base_revision"] == ("text, or null", "`null`")
    assert said["rounds"] == ("list: whole number from 1", "`[64, 128, 256]`")
    assert said["stop_on"] == ("`answer` or `sound`", "`answer`")
    assert said["memory_gb"] == ("number above 0, or null", "`null`")
    assert said["sbatch"] == ("keys and values", "`{}`")
    assert said["engine"] == ("section", "its keys' own")
