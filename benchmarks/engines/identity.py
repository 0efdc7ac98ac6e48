"""Identifies a model: a folder by the hash of its content, a hub model by its id and commit. It needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import Failure, UsageError
from benchmarks.files import file_sha256

CONFIGS = ("config.json", "adapter_config.json")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_HASHED = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")
_NOT_HASHED = {"recipe.json", "trainer_state.json", "training_args.bin"}
"""Files that say how a model was made and not what it is."""


@dataclass(frozen=True)
class ModelRef:
    """A model as a record names it."""

    path: str
    revision: str | None
    """The hub's commit, or None for a folder."""
    hash: str | None
    """The `model_hash`, or None for a model of the hub. That of LoRA adapters includes their base."""

    @property
    def identity(self) -> str:
        """What two evaluations of the same model agree on, wherever its folder is."""
        return self.hash or f"{self.path}@{self.revision}"


def is_local(model_path: str) -> bool:
    """Tells whether `model_path` means a folder on this machine and not a hub id (`name` or `owner/name`)."""
    path = Path(model_path).expanduser()
    return path.exists() or model_path.startswith(("/", ".", "~")) or len(path.parts) > 2


def check_folder(model_path: str) -> None:
    """Raises UsageError if a local `model_path` is not the folder of a model with its tokenizer."""
    if not is_local(model_path):
        return
    folder = Path(model_path).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UsageError(f"model '{model_path}' {what}: expected a folder with config.json, weights and a tokenizer.")
    if not _has(folder, CONFIGS):
        raise UsageError(f"'{model_path}' is not a model: expected config.json (or adapter_config.json) in it.")
    if not _has(folder, TOKENIZERS):
        raise UsageError(
            f"model folder '{model_path}' has no tokenizer: expected tokenizer.json (or one of "
            f"{', '.join(TOKENIZERS[1:])}) beside its weights."
        )


def _has(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in names)


def model_hash(model_path: str) -> str | None:
    """Returns the SHA-256 (64 hex digits) over a folder's weights, configuration and tokenizer; None for a hub id.

    It covers the names and hashes of the files at the folder's top level, in the order of their names. Raises
    UsageError for a folder without a model, and Failure for files that cannot be read.
    """
    if not is_local(model_path):
        return None
    check_folder(model_path)
    files = [file for file in Path(model_path).expanduser().iterdir() if file.is_file() and file.suffix in _HASHED]
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        if file.name not in _NOT_HASHED:
            digest.update(f"{file.name}\x1f{file_sha256(file)}\x1e".encode())
    return digest.hexdigest()


def identify(model_path: str, revision: str | None = None) -> ModelRef:
    """Returns the model's identity. The revision of a hub id is resolved to a commit, from the cache if offline.

    Raises UsageError for what is neither a folder nor a model that can be reached, also where it is an adapter's base.
    """
    if is_local(model_path):
        own = model_hash(model_path)
        base = adapter_base(model_path)
        return ModelRef(model_path, None, own if base is None else _joined(str(own), identify(*base).identity))
    config = _hub_config(model_path, revision)
    ref = ModelRef(model_path, config.parent.name, None)  # .../snapshots/<commit>/config.json
    base = adapter_base(model_path, ref.revision)
    if base is None:
        return ref
    return ModelRef(model_path, ref.revision, _joined(ref.identity, identify(*base).identity))


def _joined(*identities: str) -> str:
    return hashlib.sha256("\x1f".join(identities).encode()).hexdigest()


def _hub_config(model_path: str, revision: str | None) -> Path:
    """Returns the path of the model's configuration in the cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    for name in CONFIGS:
        try:
            return Path(hf_hub_download(model_path, name, revision=revision))
        except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError):
            continue
    raise UsageError(
        f"model '{model_path}' is neither a folder here nor a model that can be loaded from the hub"
        + (f" at revision '{revision}'." if revision else ".")
    )


def _config(model_path: str, revision: str | None) -> tuple[str, dict[str, Any]]:
    """Returns the name and the content of the model's configuration. A folder that has both is one of adapters."""
    if is_local(model_path):
        folder = Path(model_path).expanduser()
        path = next((folder / name for name in reversed(CONFIGS) if (folder / name).is_file()), folder / CONFIGS[0])
    else:
        path = _hub_config(model_path, revision)
    try:
        return path.name, dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"cannot read {path}: expected a JSON object.") from error


def adapter_base(model_path: str, revision: str | None = None) -> tuple[str, str | None] | None:
    """Returns the path or hub id, and the revision, of the model that LoRA adapters change; None for a whole model."""
    name, config = _config(model_path, revision)
    if name != CONFIGS[1]:
        return None
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UsageError(f"the {CONFIGS[1]} of '{model_path}' names no base_model_name_or_path.")
    return base, None if is_local(base) else config.get("revision")


def checkpoint_dtype(model_path: str, revision: str | None = None) -> str:
    """Returns the number format that a checkpoint says its weights have, such as "bfloat16"; of adapters, the base's.

    It is the configuration's, or else that of the first weights, or else float32.
    """
    if (base := adapter_base(model_path, revision)) is not None:
        return checkpoint_dtype(*base)
    config = _config(model_path, revision)[1]
    for part in (config, config.get("text_config") or {}):
        found = part.get("dtype") or part.get("torch_dtype")
        if isinstance(found, str):
            return found.removeprefix("torch.")
    return _weights_dtype(Path(model_path).expanduser()) if is_local(model_path) else "float32"


_FORMATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def _weights_dtype(folder: Path) -> str:
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with file.open("rb") as weights:
                header = json.loads(weights.read(int.from_bytes(weights.read(8), "little")))
        except (OSError, ValueError, MemoryError, OverflowError) as error:
            raise Failure(f"the weights in '{folder}' are damaged: {file.name} has no readable header.") from error
        for tensor in header.values():
            if isinstance(tensor, dict) and tensor.get("dtype") in _FORMATS:
                return _FORMATS[tensor["dtype"]]
    return "float32"
