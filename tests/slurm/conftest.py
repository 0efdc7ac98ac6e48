"""The SLURM of one node on which all tests of this folder run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import lacking, one_node


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if why := lacking():
        if os.environ.get("RLVR_GAP_TEST_SLURM") == "1":
            pytest.fail(why)
        pytest.skip(why)
    with one_node(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment
