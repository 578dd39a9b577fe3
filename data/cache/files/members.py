"""The names of the files of a cache: nothing else in its folder is ever renamed or deleted."""

from __future__ import annotations

import re
from pathlib import Path

from data.tools.files import PART

MANIFEST = "manifest.json"
CALIBRATION = "calibration.h5"  # statistics of an untrained network, where it needed them
INDEX = "cache.h5"
SUMS = "SHA256SUMS"
DAMAGED = ".damaged"  # ending of a file that was found damaged and set aside

_NAMES = "|".join(map(re.escape, (MANIFEST, CALIBRATION, INDEX, SUMS)))
_OWN = re.compile(rf"{_NAMES}|shard-\d{{5,}}\.h5")
_LEFTOVER = re.compile(rf"({_OWN.pattern})(\.[0-9a-f]{{16}}{re.escape(PART)}|{re.escape(DAMAGED)})")


def shard_name(index: int) -> str:
    """File name of shard `index`."""
    return f"shard-{index:05d}.h5"


def is_own(name: str) -> bool:
    """Whether a file of a cache has this name."""
    return _OWN.fullmatch(name) is not None


def cache_files(folder: Path) -> list[Path]:
    """Every file in the folder that belongs to its cache, the index first."""
    found = [path for path in sorted(folder.iterdir()) if is_own(path.name)]
    return sorted(found, key=lambda path: path.name != INDEX)


def remove_leftovers(folder: Path) -> None:
    """Remove what interrupted runs and repairs left: unfinished files and those set aside.

    Only for who holds the cache's lock: another process may be writing a file.
    """
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)
