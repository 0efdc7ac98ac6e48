"""What the tests of whole cells share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.tasks.countdown import SIZES
from tests.benchmarks.micro import MICRO


@pytest.fixture(scope="module")
def few_problems() -> Iterator[None]:
    """Drawing all that one could train on takes longer than training on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "train", MICRO["training"]["dataset"]["problems"])
        yield
