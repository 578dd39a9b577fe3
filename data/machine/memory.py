"""How much memory can still be taken: of the machine, and of the control groups of this process.

A batch job or a container is killed at the limit of its control group, long before the machine
has no memory left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROCESS_GROUPS = Path("/proc/self/cgroup")
MACHINE = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")

# Files of a group: its limits, what it uses, and the part of that which is given back when asked.
_VERSION_1 = (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = (("memory.max", "memory.high"), "memory.current", "inactive_file")


def free_memory() -> int:
    """Bytes of main memory that could be taken now, the least of all limits that are known."""
    return max(0, min([_machine(), *_control_groups()]))


def _machine() -> int:
    try:
        with open(MACHINE) as lines:
            fields = dict(line.split(":") for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _control_groups() -> Iterator[int]:
    """What each group around this process leaves it, of either version of control groups."""
    try:
        lines = PROCESS_GROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left(GROUPS, path, *_VERSION_2)
        elif "memory" in controllers.split(","):
            yield from _left(GROUPS / "memory", path, *_VERSION_1)


def _left(
    root: Path, path: str, limits: tuple[str, ...], usage: str, reclaimable: str
) -> Iterator[int]:
    # In a container the path may be the host's, of which only the root is seen.
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root):
            return
        for limit in limits:
            try:
                most = int((folder / limit).read_text())
                used = int((folder / usage).read_text())
                lines = (folder / "memory.stat").read_text().splitlines()
                stat = dict(line.split() for line in lines)
            except (OSError, ValueError):  # no such group, or "max": no limit
                continue
            yield most - used + int(stat.get(reclaimable, 0))
