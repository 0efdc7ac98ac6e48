"""A PostgreSQL of the test's own: in a temporary folder, on a socket, for one user, gone when the test ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_USER = "nobody"
"""PostgreSQL refuses to be started by root."""


def program(name: str) -> str | None:
    """Where a program of PostgreSQL's server is, or None."""
    path = os.pathsep.join([*map(str, _BINARIES), os.environ.get("PATH", "")])
    return shutil.which(name, path=path)


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The URL of a database of a server that runs within the block."""
    user = _USER if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="rlvr-pg-"))
    if user:
        shutil.chown(home, user)
    data, log = home / "data", home / "log"

    def run(name: str, *arguments: str) -> None:
        subprocess.run(
            [program(name) or name, *arguments], check=True, user=user, cwd=home, capture_output=True, timeout=120
        )

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "tester", "--no-sync")
        run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", f"-k {home} -c listen_addresses='' -F", "start")
        try:
            yield f"postgresql+psycopg://tester@/postgres?host={home}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
