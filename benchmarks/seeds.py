"""Derives seeds by hashing. Neighbouring seeds then share nothing, unlike seeds made by adding."""

from __future__ import annotations

import hashlib


def derive(*parts: str | int) -> int:
    """Returns a seed in [0, 2**63) from the names of what it seeds: `derive("countdown", "test", 7)`.

    The parts are joined with a separator that no name contains, so ("a", "bc") and ("ab", "c") differ.
    """
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
