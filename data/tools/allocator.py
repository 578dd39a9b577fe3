"""The allocator of the process: whether memory that is freed goes back to the system at once."""

from __future__ import annotations

import ctypes

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1  # bytes free at the top before they are given back


def keep_freed() -> bool:
    """Keep freed memory for what this process allocates next; whether the allocator can.

    A batch's tensors of tens of megabytes come and go with every layer. glibc maps each anew, and
    the kernel clears every page of it again. For commands, which end with their work: a process
    that goes on to something else would hold on to the most it ever had. Does nothing without
    glibc.
    """
    try:
        options = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    return bool(options(_MMAP_MAX, 0) and options(_TRIM_THRESHOLD, _NEVER))
