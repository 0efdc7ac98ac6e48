"""Gets published data at one commit, and keeps it, so that a second use needs no network.

Files of the hub are kept in its cache, all else in `cache()` beside it. A commit never changes, so what is there is not
asked for again.
"""

from __future__ import annotations

import logging
import re
import urllib.request
from pathlib import Path

from benchmarks.errors import Failure
from benchmarks.files import read_text, write_text_atomic

logger = logging.getLogger(__name__)


def is_commit(revision: str) -> bool:
    """Tells whether a revision can never mean other data."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def cache() -> Path:
    """Returns the folder of what this project keeps beside the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "rlvr-gap"


def resolved_revision(dataset: str, revision: str) -> str:
    """Returns the commit of a branch or tag, as it was at its first use on this machine. Failure if nobody knows it."""
    import huggingface_hub

    kept = cache() / "revisions" / dataset.replace("/", "--") / revision.replace("/", "--")
    if kept.is_file():
        return read_text(kept).strip()
    try:
        commit = str(huggingface_hub.HfApi().dataset_info(dataset, revision=revision).sha)
    except Exception as error:  # the transport's errors share no class
        raise Failure(
            f"revision '{revision}' of {dataset} could not be resolved ({type(error).__name__}): give a commit, or a "
            "local copy as data_dir=FOLDER."
        ) from error
    write_text_atomic(kept, commit)
    logger.warning("revision '%s' of %s is commit %s from now on (kept in %s)", revision, dataset, commit, kept)
    return commit


def snapshot(dataset: str, revision: str) -> Path:
    """Returns the folder of a dataset's files at a commit of the hub. OSError if they cannot be had."""
    import huggingface_hub

    whole = cache() / "snapshots" / dataset.replace("/", "--") / revision
    """Written after the last file: the hub's cache does not tell a part of a snapshot from all of it."""
    folder = huggingface_hub.snapshot_download(
        dataset, repo_type="dataset", revision=revision, local_files_only=whole.is_file()
    )
    if not whole.is_file() and not huggingface_hub.is_offline_mode():
        write_text_atomic(whole, folder)
    return Path(folder)


def download(url: str, name: str, revision: str) -> Path:
    """Returns the path of a file that is not on the hub, at a commit. OSError if it cannot be had."""
    import huggingface_hub

    kept = cache() / name / revision / url.rpartition("/")[2]
    if not kept.is_file():
        if huggingface_hub.is_offline_mode():
            raise OSError("offline mode")
        with urllib.request.urlopen(url, timeout=60) as answer:
            write_text_atomic(kept, answer.read().decode("utf-8"))
    return kept
