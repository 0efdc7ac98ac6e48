"""Identifies a model: a folder by the hash of its content, a hub model by its id and commit. It needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import UsageError
from benchmarks.files import file_sha256_once

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
    """The `model_hash`, or None for a model of the hub."""

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
            digest.update(f"{file.name}\x1f{file_sha256_once(file)}\x1e".encode())
    return digest.hexdigest()


def identify(model_path: str, revision: str | None = None) -> ModelRef:
    """Returns the model's identity. The revision of a hub id is resolved to a commit, from the cache if offline.

    Raises UsageError for what is neither a folder nor a model that can be reached.
    """
    if is_local(model_path):
        return ModelRef(model_path, None, model_hash(model_path))
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    for name in CONFIGS:
        try:
            config = hf_hub_download(model_path, name, revision=revision)
        except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError):
            continue
        return ModelRef(model_path, Path(config).parent.name, None)  # .../snapshots/<commit>/config.json
    raise UsageError(
        f"model '{model_path}' is neither a folder here nor a model that can be loaded from the hub"
        + (f" at revision '{revision}'." if revision else ".")
    )
