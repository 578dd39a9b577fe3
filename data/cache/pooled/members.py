"""The names of the files of a pooled cache: nothing else in its folder is ever deleted."""

from __future__ import annotations

import re
from pathlib import Path

from data.cache.files.members import CALIBRATION
from data.tools.files import PART

IDENTITY, POOLED = "placed.json", "pooled.h5"
_BLOCK = re.compile(r"block-\d{5,}\.h5")
_LEFTOVER = re.compile(
    rf"({_BLOCK.pattern}|placed\.json|pooled\.h5|calibration\.h5)\.[0-9a-f]{{16}}{re.escape(PART)}"
)


def block_path(folder: Path, block: int) -> Path:
    """File of a block of whole patches."""
    return folder / f"block-{block:05d}.h5"


def block_paths(folder: Path) -> list[Path]:
    """Every file there that is named as a block."""
    return [path for path in sorted(folder.iterdir()) if _BLOCK.fullmatch(path.name)]


def pooled_files(folder: Path) -> list[Path]:
    """Every file of a pooled cache there is; first what makes it complete."""
    named = [folder / name for name in (POOLED, IDENTITY, CALIBRATION)]
    return [*(path for path in named if path.exists()), *block_paths(folder)]


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of interrupted runs; only for who holds the cache's lock."""
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)
