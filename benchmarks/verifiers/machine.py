"""Tells what a machine does to a verifier from what a completion does to it: the first ends a run, the second is ERROR.

A module that cannot be imported, a full disk and a process that cannot be started say nothing of a completion, however
often they occur. A crash or a `MemoryError` can be either. Whoever meets one asks the verifier for something that any
working verifier can judge (a probe): if that fails too, the machine is to blame.
"""

from __future__ import annotations

import errno

from benchmarks.errors import Failure, UsageError

_BROKEN = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO,
    errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
"""Full or failing disks, no memory, no more processes or open files. Other errors of the system may be a text's."""


def is_of_the_machine(error: BaseException) -> bool:
    """Tells whether the error says that something is missing, full or misused here, whatever text was judged."""
    if isinstance(error, OSError):
        return error.errno in _BROKEN
    return isinstance(error, ImportError | Failure | UsageError)
