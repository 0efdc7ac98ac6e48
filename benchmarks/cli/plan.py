"""Shows what a command would run, where, and what it would cost: `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.launchers.resources import Resources
    from benchmarks.runs.grid_plan import GridCell


def show_plan(cells: Sequence[GridCell], resources: Resources, launcher: str = "local") -> None:
    """Prints the state and the work of every cell, where they run, and what is left of them costs."""
    from benchmarks.records.schema import BASE
    from benchmarks.runs.grid_cost import expected, limits, work

    left = [cell for cell in cells if not cell.is_done]
    asked = {id(cell.run.suite): work(cell.run.suite) for cell in cells}
    for cell in cells:
        when = "done" if cell not in left else f"after {', '.join(cell.needs)}" if cell.needs else "first"
        what = "" if cell not in left else f"; {asked[id(cell.run.suite)].line(cell.run.algorithm == BASE)}"
        print(f"{cell.name}: {when}{what}")
    print(f"{len(left)} of {len(cells)} cells are left to run, in {cells[0].run.folder.parent}.")
    if launcher == "slurm":
        from benchmarks.launchers.slurm import parameters

        print("sbatch: " + ", ".join(f"{name}={value}" for name, value in parameters(resources).items()))
        print(limits(left, resources) + ".")
    if resources.throughput is None:
        print("For the expected hours, state measured speeds as throughput (docs/cluster.md).")
    else:
        print(f"expected: {expected(left, resources.throughput).line()}.")
