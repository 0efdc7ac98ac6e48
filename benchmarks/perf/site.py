"""Builds the leaderboard's site from many records, and says how long that takes and what a reader loads.

    python -m benchmarks.perf.site                 # 200 records on all cores, and then in one process
    python -m benchmarks.perf.site --keep FOLDER   # leaves the records and the site there

The records are made from the published ones (`_many_records.py`): 256 and 100 problems, logs of 80 steps. Each way runs
in a process of its own, from its start to the last file. On a machine with other work, processor time says more than
wall clock: C seconds of it on two cores cannot end before C/2 seconds.

As in `make leaderboard`, a process multiplies matrices on one core, because the build has a process for each core.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.perf._many_records import write_many

BUILD = "import sys; from leaderboards.website import build_site; print(len(build_site(*sys.argv[1:]).broken))"
IN_ONE = "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]);"
WAYS = {"all cores": BUILD, "one core": IN_ONE + BUILD}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200, help="how many, the base among them")
    parser.add_argument("--keep", type=Path, help="folder for the records and the site, which are removed otherwise")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        print(f"writing {asked.records} records", flush=True)
        write_many(folder / "records" / "many", asked.records)
        print(f"building on {len(os.sched_getaffinity(0))} cores", flush=True)
        found = {}
        for way, code in WAYS.items():
            found[way] = wall, processor = _timed(code, folder / "records", folder / "site")
            print(f"{way:10}  {wall:6.1f} s wall clock  {processor:6.1f} s processor time", flush=True)
        print(f"all cores take {found['all cores'][0] / found['one core'][0]:.2f} of the wall clock of one")
        print(f"front page {(folder / 'site' / 'index.html').stat().st_size / 1000:.0f} kB, {_pages(folder / 'site')}")


def _timed(code: str, records: Path, site: Path) -> tuple[float, float]:
    """Wall clock and processor time in seconds. RuntimeError if a record was not used."""
    before, began = _processor_time(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(records), str(site)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    wall = time.perf_counter() - began
    if done.stdout.strip() != "0":
        raise RuntimeError(f"{done.stdout.strip()} records or counts could not be used")
    return wall, _processor_time() - before


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pages(site: Path) -> str:
    files = [path for path in site.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    pictures = sum(path.suffix == ".svg" for path in files)
    return f"{len(files)} files of {total / 1e6:.0f} MB, {pictures} of them pictures"


if __name__ == "__main__":
    main()
