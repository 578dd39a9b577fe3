"""Faults of the machine, which pass or stop the work, told apart from faults of a file."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSES = (0.1, 0.5, 2.0)  # seconds before the second, third and fourth attempt

# What a path or its permissions are at fault for; every other error is the disk's, the network's
# or the system's, and says nothing about the file.
_OF_THE_FILE = {
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO),
}


def is_fault_of_the_file(error: OSError) -> bool:
    """Whether the error is the file's own: missing, forbidden, no file."""
    return error.errno in _OF_THE_FILE


def with_retries(function: Callable[[], T]) -> T:
    """What `function` returns, called again after a pause where the machine failed it.

    Raises the last `OSError` or `MemoryError` when it goes on, and a fault of the file at once.
    """
    for pause in PAUSES:
        try:
            return function()
        except MemoryError:
            pass
        except OSError as error:
            if is_fault_of_the_file(error):
                raise
        time.sleep(pause)
    return function()
