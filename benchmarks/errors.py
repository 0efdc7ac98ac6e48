"""The two errors that end a command. Each carries a line for the user, or a line for each thing that is wrong.

`UsageError`  The request itself is wrong: a name, key or value does not exist or does not fit. Exit code 2.
`Failure`     The request is fine, but it could not be carried out: a corrupted file, no disk space. Exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UsageError(ValueError):
    """Wrong input. The message names the thing, what was expected, and the nearest valid value."""


class Failure(RuntimeError):
    """The work could not be done. What was written before is untouched."""


class Diverged(Failure):
    """A training that came to numbers that are not finite. It is a result, but none that could be scored."""


ITEM = "  - "
"""Begins each line of a message that lists several things."""


def unknown(kind: str, name: str, known: Iterable[str], meant: str = "") -> UsageError:
    """Returns a `UsageError` for an unknown name, with the nearest known one and the list of all.

    `meant`: what the name is known to mean, where that is not the one which is spelt most like it.
    """
    names = sorted(known)
    close = [meant] if meant else difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UsageError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")


def all_wrong(where: str, findings: Sequence[str]) -> UsageError:
    """Returns one error for everything that is wrong with `where`: one line for one finding, else a list."""
    if len(findings) == 1:
        return UsageError(f"{where}: {findings[0]}")
    return UsageError("\n".join([f"{where}: {len(findings)} things are wrong:", *(f"{ITEM}{one}" for one in findings)]))
