"""One holder for each folder of a run: a lease that says who works in it, on any machine that shares the disk.

The lease is a file in the folder, `.lease`, made by filelock's `SoftFileLease`. It needs nothing of the file system but
exclusive creation, so it works on NFS. It names host, process and start, and a thread touches it every few seconds. A
lease is taken over at once if its process is known to be dead, which only its own host can tell, and otherwise after it
has not been touched for a minute of the waiting process's own clock: clocks that differ or jump do not matter.

A holder that was stopped for longer than that may find that another has taken over. It ends then, and writes no record.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import SoftFileLease, Timeout

from benchmarks.errors import Failure
from benchmarks.progress import Progress

FILE = ".lease"
LEASE_S = 60.0
"""Without a sign of life for so long, a holder on another machine counts as dead. All processes must agree on it."""
BEAT_S = 5.0
"""How often a holder touches its lease."""
_POLL_S = 0.5


@dataclass(frozen=True)
class Holder:
    """The process that a lease names."""

    host: str
    pid: int
    start: int | None = None
    """When the process began, as filelock writes it: the boot in the high bits, clock ticks since then in the low."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition('?')[0]}"

    @property
    def is_near(self) -> bool:
        """Whether its process number means something here: filelock adds a container's number to the host's name."""
        host, mark, container = self.host.partition("?")
        return host == socket.gethostname() and (
            not mark or container == f"pidns-{os.stat('/proc/self/ns/pid').st_ino:x}"
        )

    @property
    def lives(self) -> bool:
        """Whether the process runs on this machine. Its number may have gone to one that began at another time."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True
        killed = fields[0] == "Z"  # it stays in the table until its parent has seen its end
        return not killed and (self.start is None or self.start % 2**64 == int(fields[19]))


class Lease:
    """A lease that this process holds."""

    def __init__(self, folder: Path, lock: SoftFileLease) -> None:
        self.folder, self._lock = folder, lock

    def check(self) -> None:
        """Raises Failure if another process has taken the folder over. Call it before a write that others rely on."""
        if self._lock.compromise is not None:
            raise Failure(
                f"{self.folder} was taken over by another process while this one did not answer "
                f"({self._lock.compromise.reason}): nothing more is written; the same command waits for the other one."
            )


@contextlib.contextmanager
def hold(folder: Path, waiting: Callable[[Holder], None] = lambda holder: None) -> Iterator[Lease]:
    """Holds the folder's lease within the block, and waits for it first, for as long as another holder lives.

    `waiting` is called once for every holder that is waited for. Raises Failure if the folder cannot be written, or if
    the lease is lost in the block, which is then interrupted.
    """
    lock = SoftFileLease(folder / FILE, lease_duration=LEASE_S, heartbeat_interval=BEAT_S, on_compromise=_interrupt)
    try:
        _acquire(lock, folder, waiting)
    except OSError as error:
        raise Failure(f"cannot write {folder / FILE}: {error.strerror or error}.") from error
    lease = Lease(folder, lock)
    try:
        yield lease
    except KeyboardInterrupt:
        lease.check()
        raise
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()  # if nothing came of it, it is empty


def saying(progress: Progress, folder: Path) -> Callable[[Holder], None]:
    """What `hold` may call while it waits for the folder: it says for whom."""
    return lambda holder: progress.wait(f"wait for {folder.name}", f"{folder} is in the hands of {holder}")


def _interrupt(compromise: object) -> None:
    _thread.interrupt_main()


def _acquire(lock: SoftFileLease, folder: Path, waiting: Callable[[Holder], None]) -> None:
    told: Holder | None = None
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_POLL_S, poll_interval=_POLL_S / 5)
            return
        except FileNotFoundError:
            continue  # the folder was empty, and its last holder has removed it
        except Timeout:
            holder = _named(lock)
            if holder is not None and holder != told:
                waiting(holder)
                told = holder


def holder_of(folder: Path) -> Holder | None:
    """Returns the process that holds the folder's lease, or None if nobody does or the holder is dead."""
    path = folder / FILE
    try:
        untouched_s = time.time() - path.stat().st_mtime
    except OSError:
        return None
    holder = _named(SoftFileLease(path, lease_duration=LEASE_S))
    if holder is None:
        return None
    lives = holder.lives if holder.is_near else untouched_s < 2 * LEASE_S
    return holder if lives else None


def _named(lock: SoftFileLease) -> Holder | None:
    owner = lock.owner
    return None if owner is None else Holder(owner.hostname, owner.pid, owner.start)


def end_with_parent() -> None:
    """The kernel kills this process when its parent ends, so that nobody works on in a folder that was taken over.

    On systems other than Linux nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
