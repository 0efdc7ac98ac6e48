"""A process that takes leases, for the tests of them: it is killed, stopped, and made to look like another host's."""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from pathlib import Path

from benchmarks.errors import Failure
from benchmarks.runs import lease


def say(folder: Path, line: str) -> None:
    """Appends a line in one write, so that lines of several processes do not mix."""
    descriptor = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def take_turns(folder: Path, turns: int) -> None:
    """Takes the lease again and again; ends with 3 if anybody else was there meanwhile."""
    inside, me = folder / "inside", str(os.getpid())
    for _ in range(turns):
        with lease.hold(folder / "run"):
            inside.write_text(me)
            time.sleep(random.uniform(0.0, 0.02))
            if inside.read_text() != me:
                sys.exit(3)
            say(folder, me)


def hold(folder: Path, name: str, seconds: float) -> None:
    """Holds the lease for so long; says when it waits for whom, has it, and gives it back, or why it lost it."""
    try:
        with lease.hold(folder / "run", lambda holder: say(folder, f"{name} waits for {holder.pid}")) as held:
            say(folder, f"{name} has it")
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.05)
            held.check()
            say(folder, f"{name} gives it back")
    except Failure as error:
        say(folder, f"{name} lost it: {error}")


if __name__ == "__main__":
    what, where, lease_s, host, jump_s, *rest = sys.argv[1:]
    lease.LEASE_S, lease.BEAT_S = float(lease_s), float(lease_s) / 6
    if host != "here":
        socket.gethostname = lambda: host  # type: ignore[assignment]
    if float(jump_s):
        clock = time.time
        time.time = lambda: clock() + float(jump_s)  # type: ignore[assignment]
    if what == "turns":
        take_turns(Path(where), int(rest[0]))
    else:
        hold(Path(where), rest[0], float(rest[1]))
