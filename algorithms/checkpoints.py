"""Checkpoints on disk: which one is whole, whether it fits the model, and how the last one becomes the policy."""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from algorithms.cost import Cost
from algorithms.settings import Settings
from benchmarks.errors import Failure, UsageError
from benchmarks.files import write_json_atomic

STATE_FILE = "rlvr_state.json"
"""Written last into a checkpoint: a checkpoint is whole if and only if it has one."""
CHECKSUMS_FILE = "checksums.json"
log = logging.getLogger(__name__)
_NOT_THE_ARCHITECTURE = (
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "pad_token_id", "architectures",
)  # fmt: skip
_NOT_THE_POLICY = (STATE_FILE, CHECKSUMS_FILE, "trainer_state.json", "README.md")


def update_of(checkpoint: Path) -> int:
    """The number of optimiser updates after which it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; half-written ones (no state file) are not seen."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{STATE_FILE}")]
    return max(whole, key=update_of, default=None)


def write_checksums(checkpoint: Path) -> None:
    """Writes what is needed to tell later whether a file of the whole checkpoint was damaged."""
    write_json_atomic(checkpoint / CHECKSUMS_FILE, _checksums(checkpoint))


def is_damaged(checkpoint: Path) -> bool:
    """Whether a file of the whole checkpoint lacks or differs from what was written; without checksums: not known."""
    try:
        expected = json.loads((checkpoint / CHECKSUMS_FILE).read_text())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return bool(expected != _checksums(checkpoint))


def set_damaged_aside(folder: Path) -> None:
    """Renames damaged checkpoints, newest first, up to the first that is in order: training goes on from that one.

    Only one process may call it. Nothing is deleted.
    """
    while (newest := last_checkpoint(folder)) is not None and is_damaged(newest):
        number = sum(1 for _ in folder.glob(f"damaged-*-{newest.name}"))
        aside = folder / f"damaged-{number}-{newest.name}"
        newest.rename(aside)
        log.warning("%s is damaged; it is now %s, and training goes on from the one before", newest, aside.name)


def _checksums(checkpoint: Path) -> dict[str, int]:
    """CRC-32 of each file under the checkpoint: fast, and made to find damage of this kind."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != CHECKSUMS_FILE)
    return {path.relative_to(checkpoint).as_posix(): _crc32(path) for path in files if path.name[0] != "."}


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(2**24):
            value = zlib.crc32(block, value)
    return value


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What the trainer wrote of itself: cost, refill_cursor, share_used, processes. Damaged: Failure."""
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text())
        return {**state, "cost": Cost.from_json(state["cost"]), "processes": int(state["processes"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{checkpoint / STATE_FILE} is damaged ({error}): remove the checkpoint.") from error


def read_history(checkpoint: Path) -> list[dict[str, Any]]:
    """What was logged, a dictionary a step. Damaged: Failure."""
    try:
        history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    except (OSError, ValueError, KeyError) as error:
        raise Failure(f"{checkpoint / 'trainer_state.json'} is damaged ({error}): remove the checkpoint.") from error
    return [entry for entry in history if "loss" in entry]


def is_over(checkpoint: Path, settings: Settings) -> bool:
    """Whether nothing is left to train after this checkpoint: a run can be killed between its last one and its end."""
    used = read_state(checkpoint)["cost"].used(settings.budget.unit)
    most = settings.budget.most_steps(settings.rows_per_step) * settings.updates_per_step
    return bool(used >= settings.budget.amount or update_of(checkpoint) >= most)


def has_reached(checkpoint: Path, settings: Settings, until: float) -> bool:
    """Whether a training that pauses at the share `until` of its budget has done so by this checkpoint."""
    budget = settings.budget
    return until < 1 and bool(read_state(checkpoint)["cost"].used(budget.unit) >= until * budget.amount)


def is_failed_write(error: RuntimeError) -> bool:
    """Whether it is what torch's writer makes of a disk that takes no more; CUDA's and NCCL's errors are not."""
    return "inline_container" in str(error) or "PytorchStreamWriter" in str(error)


def check_architecture(checkpoint: Path, model: str, revision: str | None) -> None:
    """Failure where the checkpoint is not of `model`'s architecture, or its weights cannot be read.

    The Trainer would leave out weights that do not fit, and go on from the base. Adapters are checked when loaded.
    """
    _check_readable(checkpoint)
    if (checkpoint / "adapter_config.json").exists():
        return
    expected = AutoConfig.from_pretrained(model, revision=revision).to_dict()
    found = AutoConfig.from_pretrained(checkpoint).to_dict()
    for key, wanted in expected.items():
        if key not in _NOT_THE_ARCHITECTURE and found.get(key) != wanted:
            raise Failure(
                f"{checkpoint} is of another architecture than {model}: "
                f"its {key} is {found.get(key)!r}, expected {wanted!r}."
            )


def _check_readable(checkpoint: Path) -> None:
    try:
        for file in sorted(checkpoint.glob("*.safetensors")):
            with safe_open(file, framework="pt") as weights:
                weights.keys()
    except (OSError, SafetensorError) as error:
        raise Failure(
            f"{checkpoint} is damaged ({error}): remove it, and the run goes on from the one before."
        ) from error


def export_policy(checkpoint: Path, target: Path) -> None:
    """Copies what `from_pretrained` loads into `target`, which appears only when it is whole."""
    partial = target.with_name(f".{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in checkpoint.iterdir():
        wanted = file.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt")
        if file.is_file() and wanted and file.name not in _NOT_THE_POLICY:
            shutil.copyfile(file, partial / file.name)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def check_same_world(checkpoint: Path, processes: int) -> None:
    """Raises UsageError for a training that was begun by another number of processes.

    Each process has random numbers of its own: with another number of them, the run would be another one.
    """
    began = read_state(checkpoint)["processes"]
    if began != processes:
        raise UsageError(
            f"{checkpoint.parent} was begun by {began} training processes and cannot go on with {processes}: "
            f"train with {began}, or in another folder."
        )
