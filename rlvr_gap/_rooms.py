"""Makes sure that `benchmarks`, `algorithms` and `leaderboards` are the project's own.

These are names that a user's folder may have as well. Python takes the first folder of a name that it finds, and looks
in the working directory first: `python -m`, a notebook and a training process would then import the user's folder.
`claim` puts a finder before all others, which looks for the three beside this package and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

ROOMS = ("algorithms", "benchmarks", "leaderboards")
ROOT = Path(__file__).resolve().parents[1]


class _Finder:
    """Finds the rooms beside this package. Everything else is left to Python."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(ROOT)]) if name in ROOMS else None


def claim() -> None:
    """Lets the three names mean our packages. ImportError if another module has one of them already."""
    for name in ROOMS:
        places = [Path(place).resolve() for place in getattr(sys.modules.get(name), "__path__", [])]
        if name in sys.modules and ROOT / name not in places:
            where = getattr(sys.modules[name], "__file__", None) or next(map(str, places), "somewhere else")
            raise ImportError(
                f"rlvr_gap has a package '{name}', but another one was imported before it, from {where}: "
                "import rlvr_gap first, or rename the other one."
            )
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    if str(ROOT) not in sys.path:  # for processes that get this path but not the finder
        sys.path.append(str(ROOT))
