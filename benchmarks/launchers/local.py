"""Runs a command in a separate process on this machine, so that a crash or a leak ends with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def launch(command: Sequence[str], log: Path) -> str | None:
    """Returns None, or the last line that a failed process wrote. What it prints goes to `log`.

    On a terminal, the progress stays visible, and so does the reason for a failure.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ rlvr-gap {' '.join(command)}\n")
        file.flush()
        terminal = sys.stderr.isatty()
        errors = None if terminal else file
        done = subprocess.run([sys.executable, "-m", "benchmarks", *command], stdout=file, stderr=errors, check=False)
    if done.returncode == 0:
        return None
    if done.returncode in (130, -2):
        raise KeyboardInterrupt
    return f"exit code {done.returncode}, " + ("its reason is above" if terminal else f"{log}: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
