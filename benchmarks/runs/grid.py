"""Runs or submits the cells of a grid that are not done. Every cell runs once, whatever dies and whoever starts it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import launchers
from benchmarks.errors import Failure
from benchmarks.launchers.base import Launcher, Options, Task
from benchmarks.launchers.resources import Resources
from benchmarks.progress import duration
from benchmarks.records.schema import Record, read_record
from benchmarks.runs import status
from benchmarks.runs.grid_plan import GridCell, note_plan
from benchmarks.runs.home import claim_home
from benchmarks.runs.lease import hold, holder_of
from benchmarks.runs.overview import DONE, JOBS, QUEUED, RUNNING, CellState, state_of
from benchmarks.runs.run_folder import RECORD

_SUBMITTING = ".submitting"


@dataclass(frozen=True)
class GridRun:
    """A grid that is about to run."""

    cells: Sequence[GridCell]
    options: Sequence[str]
    """What the `bench` command of each cell gets beside its algorithm, seed and variant."""
    launcher: str = "local"
    jobs: int | None = None
    retry: int = 0
    resources: Resources = field(default_factory=Resources)
    say: Callable[[str], None] = print
    """Gets a line for everything that happens."""
    show: Callable[[], None] = lambda: None
    """Is called about once a second while cells run."""

    @property
    def home(self) -> Path:
        """The folder of the suite's runs."""
        return self.cells[0].run.folder.parent

    def run(self, queue: Callable[[], Mapping[str, str] | None] = lambda: None) -> tuple[list[Record], dict[str, str]]:
        """Returns the records of the cells that are done, and why others failed. One that was submitted is in neither.

        A record that is damaged is a failure too.

        `queue`: what the cluster's queue holds, for cells that were submitted before.
        """
        launcher = launchers.get(self.launcher)
        left = [cell for cell in self.cells if not cell.is_done]
        failed: dict[str, str] = {}
        if left:
            claim_home(self.home, self.cells[0].run.table)
            note_plan(self.home, self.cells)
            if launcher.waits:
                self._launch(launcher, left, failed, {})
            else:
                with hold(self.home / _SUBMITTING):  # two people who submit at once: the second sees the first's jobs
                    self._submit(launcher, left, failed, queue())
        return self.records(failed), failed

    def records(self, failed: dict[str, str]) -> list[Record]:
        """Those of the cells that are done. Why one cannot be used is added to `failed`."""
        found = []
        for cell in (one for one in self.cells if one.is_done):
            try:
                found.append(read_record(cell.run.folder / RECORD))
                status.remove_status(cell.run.folder)  # its process may have been killed before it did so
            except Failure as error:
                failed[cell.name] = str(error)
        return found

    def _submit(
        self, launcher: Launcher, left: Sequence[GridCell], failed: dict[str, str], queue: Mapping[str, str] | None
    ) -> None:
        there: dict[str, str] = {}
        for cell in left:
            said = status.read_status(cell.run.folder)
            if said is not None and said.job and state_of(cell.run.folder, jobs=queue).state in (QUEUED, RUNNING):
                there[cell.name] = said.job
        if there:
            self.say(f"{len(there)} cells are in the queue already, and are not submitted again.")
        self._launch(launcher, left, failed, there)

    def _launch(
        self, launcher: Launcher, left: Sequence[GridCell], failed: dict[str, str], submitted: Mapping[str, str]
    ) -> None:
        names = {cell.name for cell in left}
        tasks = [self.task(cell, names) for cell in left if cell.name not in submitted]
        options = Options(self.jobs, self.retry, self.resources, self.home / JOBS, submitted)
        launcher.run(tasks, options, _Watch(self, {cell.name: cell for cell in left}, failed))

    def task(self, cell: GridCell, left: Collection[str]) -> Task:
        """The command that runs the cell, after those that it needs and that are among `left`."""
        run, waits = cell.run, tuple(name for name in cell.needs if name in left)
        algorithm = run.algorithm if run.found is None else run.found.reference
        command = ["bench", "--algo", algorithm, "--seed", str(run.seed), *self.options]
        command += [part for reference in run.beside for part in ("--beside", reference)]
        if run.variant is not None:
            command += [part for change in run.variant.changes for part in ("--set", change)]
            command += ["--name", run.variant.label] if run.variant.label else []
        return Task(cell.name, tuple(command), cell.log, waits)


class _Watch:
    """Says what happens to the cells, and writes it down where the cells cannot do so themselves."""

    def __init__(self, grid: GridRun, cells: Mapping[str, GridCell], failed: dict[str, str]) -> None:
        self.grid, self.cells, self.failed = grid, cells, failed
        self.began: dict[str, float] = {}
        self.busy: set[str] = set()

    def is_busy(self, task: Task) -> bool:
        holder = holder_of(self.cells[task.name].run.folder)
        if holder is not None and task.name not in self.busy:
            self.busy.add(task.name)
            self.grid.say(f"{task.name} is in the hands of {holder}: its record is read when it is done.")
        return holder is not None

    def started(self, task: Task) -> None:
        self.began[task.name] = time.monotonic()
        cell = self.cells[task.name]  # somebody else may have finished it meanwhile
        if holder_of(cell.run.folder) is None and not cell.is_done:
            self._note(task, state=status.STOPPED, said="")  # its process takes over when it is there
        self.grid.say(f"[{len(self.began)}/{len(self.cells)}] {task.name}: started, log {task.log}")

    def queued(self, task: Task, job: str) -> None:
        folder = self.cells[task.name].run.folder
        before = status.read_status(folder)
        if job and before is not None and before.state != status.QUEUED:
            return  # it runs already, and says so itself
        self._note(task, state=status.QUEUED, job=job or None, said="")
        if job:
            self.grid.say(f"{task.name}: job {job}")

    def ended(self, task: Task, reason: str | None) -> None:
        cell = self.cells[task.name]
        if reason is None:
            state: CellState = state_of(cell.run.folder)
            took = duration(time.monotonic() - self.began[task.name])
            self.grid.say(f"{task.name}: {state.state} after {took}{f', {state.said}' if state.said else ''}")
            return
        self.failed[task.name] = reason
        written = status.read_status(cell.run.folder)  # a process that was killed has written nothing
        says_why = written is not None and written.state == status.FAILED
        if not says_why and state_of(cell.run.folder).state not in (DONE, RUNNING):
            self._note(task, state=status.FAILED, said=reason)
        self.grid.say(f"{task.name}: failed, {reason}")

    def tick(self) -> None:
        self.grid.show()

    def stopping(self, tasks: int) -> None:
        if tasks:
            self.grid.say(f"{tasks} cells save what they have and end, in a minute at most; Ctrl-C again kills them.")

    def _note(self, task: Task, **changes: object) -> None:
        folder = self.cells[task.name].run.folder
        before = status.read_status(folder) or status.Status(status.QUEUED)
        status.write_status(folder, replace(before, log=str(task.log), **changes))  # type: ignore[arg-type]
