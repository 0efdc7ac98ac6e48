"""The folder of a suite's runs: OUT/SUITE, or a folder beside it if that one belongs to another suite of this name.

runs/countdown/suite.json     the suite's name and hash, written by the first run
runs/countdown-1a2b3c4d/      the runs of a suite that is called countdown too, but asks for something else
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure
from benchmarks.files import content_hash, loads_strict, read_text, write_json_atomic
from benchmarks.records.schema import read_record
from benchmarks.runs.lease import hold
from benchmarks.runs.run_folder import RECORD, SPEC, Place, read_spec
from benchmarks.suites.schema import Suite

FILE = "suite.json"
_NOT_CELLS = ("model-", "imported-")
"""Runs whose records may be of another suite than the folder's."""


def settle(place: Place, suite: Suite) -> Place:
    """Returns the place with the folder of this suite's runs. Nothing is written."""
    if place.home is not None:
        return place
    usual = place.out / suite.name
    found = found_hash(usual)
    return replace(place, home=usual if found in (None, suite.hash) else beside(usual, suite))


def beside(usual: Path, suite: Suite) -> Path:
    """The folder of a suite whose usual one is another's."""
    return usual.with_name(f"{usual.name}-{suite.hash[:8]}")


def found_hash(home: Path) -> str | None:
    """The hash of the suite whose runs the folder holds; None if it holds none. Damaged: Failure."""
    path = home / FILE
    if path.exists():
        try:
            return str(loads_strict(read_text(path))["hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise Failure(f"{path} is damaged ({error}): expected the name and hash of a suite.") from error
    return _hash_of_cells(home)  # runs from before there was such a file


def _hash_of_cells(home: Path) -> str | None:
    for spec in sorted(home.glob(f"*/{SPEC}")):
        folder = spec.parent
        if folder.name.startswith(_NOT_CELLS):
            continue
        with contextlib.suppress(Failure, KeyError, TypeError):
            if (folder / RECORD).exists():
                return read_record(folder / RECORD).suite.hash
            asked: dict[str, Any] = read_spec(folder)
            _, _, dtype = asked["engine"].partition(" ")
            return content_hash(asked["suite"] | ({"dtype": dtype} if dtype else {}))
    return None


def claim_home(home: Path, suite: Suite) -> None:
    """Writes suite.json into a folder that has none. Raises Failure if another suite has just taken the folder."""
    path = home / FILE
    if not path.exists():
        with hold(home):  # of several processes, the first one writes it
            if not path.exists():
                write_json_atomic(path, {"schema": 1, "name": suite.name, "hash": suite.hash})
    if (found := found_hash(home)) != suite.hash:
        raise Failure(f"{home} belongs to another suite of this name ({found}): the same command takes another folder.")
