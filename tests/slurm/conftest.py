"""The SLURM of one node on which all tests of this folder run."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import lacking, one_node

PATIENCE_S = 120.0


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if why := lacking():
        if os.environ.get("RLVR_GAP_TEST_SLURM") == "1":
            pytest.fail(why)
        pytest.skip(why)
    with one_node(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def cluster(node: dict[str, str]) -> dict[str, str]:
    """The node, without the jobs that an earlier test has left."""

    def run(*command: str) -> str:
        return subprocess.run(command, env=node, check=True, text=True, capture_output=True).stdout

    run("scancel", "--me")
    until = time.monotonic() + PATIENCE_S
    while queue := run("squeue", "-h"):
        assert time.monotonic() < until, f"jobs do not end: {queue}"
        time.sleep(0.5)
    return node
