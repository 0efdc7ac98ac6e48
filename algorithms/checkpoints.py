"""Checkpoints on disk: which one is whole, whether it fits the model, and how the last one becomes the policy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig

from algorithms.cost import Cost
from benchmarks.errors import Failure

STATE_FILE = "rlvr_state.json"
"""Written last into a checkpoint: a checkpoint is whole if and only if it has one."""
_NOT_THE_ARCHITECTURE = (
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "pad_token_id", "architectures",
)  # fmt: skip
_NOT_THE_POLICY = (STATE_FILE, "trainer_state.json", "README.md")


def update_of(checkpoint: Path) -> int:
    """The number of optimiser updates after which it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; half-written ones (no state file) are not seen."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{STATE_FILE}")]
    return max(whole, key=update_of, default=None)


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
