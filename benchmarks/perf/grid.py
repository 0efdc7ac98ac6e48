"""Measures what the grid itself costs: cells that do nothing, planned, listed and resumed.

    python -m benchmarks.perf.grid                # 10,000 cells
    python -m benchmarks.perf.grid --cells 500

The target is less than 5 ms per cell for each of the three. On a machine with other work, the time on the processor
says more than wall clock. Planning makes every cell and the hash of its question. Listing reads
the state of every cell from the files of a folder in which half of them are done and one in a hundred runs, has failed
or is queued. Resuming plans the grid again, finds the cells that are done, and reads their records.
"""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.engines.settings import EngineSettings
from benchmarks.launchers.base import Task
from benchmarks.progress import Progress
from benchmarks.records.evaluated import read_evaluated
from benchmarks.records.schema import BASE, Record, write_record
from benchmarks.runs import grid, status
from benchmarks.runs.cell_run import CellRun
from benchmarks.runs.grid_plan import GridCell, note_plan, plan
from benchmarks.runs.lease import hold
from benchmarks.runs.overview import states
from benchmarks.runs.run_folder import RECORD, Place, write_spec
from benchmarks.statistics.gap import sampling_efficiency_gap
from benchmarks.suites.schema import Suite, load

ALGORITHMS = ("grpo", "rloo", "ppo", "remax", "dapo")
RATES = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000, help="how many cells")
    parser.add_argument("--suite", default="countdown-smoke", help="whose cells")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        measure(load(asked.suite), asked.cells, Place(Path(folder)))


def measure(suite: Suite, number: int, place: Place) -> dict[str, float]:
    """Prints and returns the milliseconds per cell of each step."""
    seeds = [str(seed) for seed in range(-(-number // (len(ALGORITHMS) * RATES)))]
    rates = [(f"training.learning_rate={i + 1}e-5",) for i in range(RATES)]

    def planned() -> list[GridCell]:
        return plan(suite, ALGORITHMS, seeds, place, rates)

    took: dict[str, tuple[float, float]] = {}
    cells = _timed("planned", took, planned)
    _fill(cells)
    home = cells[0].run.folder.parent
    _timed("listed", took, lambda: states(home))
    _timed("resumed", took, lambda: _resume(planned()))
    found = {name: 1000 * wall / len(cells) for name, (wall, _) in took.items()}
    for name, (_, cpu) in took.items():
        busy = 1000 * cpu / len(cells)
        print(f"{len(cells)} cells {name}: {found[name]:.2f} ms per cell, {busy:.2f} of them on the processor")
    return found


def _resume(cells: Sequence[GridCell]) -> None:
    """As `rlvr-gap grid` does it, with a launcher that does nothing."""
    run = grid.GridRun(cells, [], say=lambda line: None)
    note_plan(run.home, cells)
    left = {cell.name: cell for cell in cells if not cell.is_done}
    tasks = [run.task(cell, left) for cell in left.values()]
    assert len({task.name for task in tasks}) == len(left) and all(isinstance(task, Task) for task in tasks)
    run.records({})


def _fill(cells: Sequence[GridCell]) -> None:
    """The files that the cells would have left."""
    record = _record(cells[1])
    with Progress().stage("fill", len(cells), "cells") as stage:
        for number, cell in enumerate(cells):
            _fill_one(number, cell, record)
            stage.advance()
    note_plan(cells[0].run.folder.parent, cells)


def _fill_one(number: int, cell: GridCell, record: Record) -> None:
    folder = cell.run.folder
    if number % 2:
        write_spec(folder, {"algorithm": cell.run.algorithm, "seed": cell.run.seed})
        write_record(folder / RECORD, record.model_copy(update={"spec_hash": cell.spec_hash}))
    elif number % 100 == 0:
        state = (status.RUNNING, status.FAILED, status.QUEUED)[number // 100 % 3]
        with hold(folder):
            where = f"{socket.gethostname()}:{os.getpid()}"
            status.write_status(
                folder, status.Status(state, str(cell.log), where=where, stage="train", done=1, total=2)
            )


def _record(cell: GridCell) -> Record:
    """A record as large as a real one: of the base, as a scripted engine answers, with a trained cell's other parts."""
    from algorithms.config import config_fields

    run = cell.run
    engine = EngineSettings(name="scripted", workers=1, settings={"p": 0.5})
    with tempfile.TemporaryDirectory() as folder:
        base = CellRun(run.table.model_copy(update={"engine": engine}), BASE, 0, Place(Path(folder)))
        made = base.run()
        counts = {name: read_evaluated(found, base.folder) for name, found in made.evaluations.items()}
    gaps = {name: sampling_efficiency_gap(one, one, run.suite.evaluation.k) for name, one in counts.items()}
    trl = config_fields(
        run.training.make_algorithm(), run.suite.trained, folder="", seed=0, processes=1, accelerator=False
    )
    data = made.to_json()
    nothing = {"completions": 0, "tokens": 0}
    data |= {
        "cell": data["cell"] | {"algorithm": run.algorithm, "seed": run.seed, "variant": "learning_rate-1e-5"},
        "settings": data["settings"] | {"trl": trl},
        "gap": {name: gap.to_json() for name, gap in gaps.items()},
        "training": {
            "steps": 4, "updates": 8, "completions": 256, "tokens": 9_000, "discarded": nothing, "greedy": nothing,
            "seconds": {"generate": 3.0, "verify": 0.1, "train": 4.0}, "peak_memory_bytes": 0, "diverged": False,
        },
    }  # fmt: skip
    return Record.model_validate(data)


def _timed(name: str, took: dict[str, tuple[float, float]], work: Callable[[], object]) -> list[GridCell]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    took[name] = time.perf_counter() - wall, time.process_time() - cpu
    return result if isinstance(result, list) else []


if __name__ == "__main__":
    main()
