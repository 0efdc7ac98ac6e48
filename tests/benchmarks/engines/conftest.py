"""A tiny model on disk, and a copy of it to be broken."""

from __future__ import annotations

import shutil

import pytest

from tests.benchmarks.tiny_model import make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(folder, tmp_path):
    """A folder of its own, to be broken."""
    return shutil.copytree(folder, tmp_path / "model")
