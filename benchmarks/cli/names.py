"""The command `list`, which shows every name that an option accepts."""

from __future__ import annotations

from collections.abc import Iterable


def list_() -> None:
    """List the algorithms, suites, tasks, verifiers, engines, prompt templates, launchers and import formats."""
    from algorithms import ALGORITHMS
    from benchmarks.engines import ENGINES
    from benchmarks.importers import IMPORTERS
    from benchmarks.launchers import LAUNCHERS
    from benchmarks.suites import schema as suite
    from benchmarks.tasks import TASKS
    from benchmarks.tasks.prompts import CHAT, TEMPLATES
    from benchmarks.verifiers import VERIFIERS

    tables: dict[str, Iterable[str]] = {
        "algorithms": ALGORITHMS, "suites": suite.known(), "tasks": TASKS, "verifiers": VERIFIERS,
        "engines": ENGINES, "prompt templates": [*TEMPLATES, CHAT], "launchers": LAUNCHERS, "import formats": IMPORTERS,
    }  # fmt: skip
    for kind, table in tables.items():
        print(f"{kind}: {' '.join(sorted(table))}")
