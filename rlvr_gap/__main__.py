"""Starts the program `rlvr-gap`: as the console script, as `python -m rlvr_gap`, and by the path of this file.

The processes that the project starts itself (cells of a grid, training processes) run this file by its path. They are
then of the same copy of the project as their parent, wherever it was started and whatever else is on Python's path.
"""

from __future__ import annotations

import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent

if not __package__:  # run by its path, here or in a worker of multiprocessing
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != _FOLDER]  # it has a `runs` and a `plot`
    sys.path.insert(0, str(_FOLDER.parent))
    from rlvr_gap._rooms import claim

    sys.path.remove(str(_FOLDER.parent))
    claim()


def main() -> None:
    """Runs the command line."""
    from benchmarks.__main__ import main as run

    run()


if __name__ == "__main__":
    __spec__ = None  # so that workers of multiprocessing import this file again, by its path, before anything else
    main()
