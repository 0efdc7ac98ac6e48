"""The two errors that end a command. Each carries one line for the user.

`UsageError`  The request itself is wrong: a name, key or value does not exist or does not fit. Exit code 2.
`Failure`     The request is fine, but it could not be carried out: a corrupted file, no disk space. Exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Wrong input. The message names the thing, what was expected, and the nearest valid value."""


class Failure(RuntimeError):
    """The work could not be done. What was written before is untouched."""


class Diverged(Failure):
    """A training that came to numbers that are not finite. It is a result, but none that could be scored."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Returns a `UsageError` for an unknown name, with the nearest known one and the list of all."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UsageError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")
