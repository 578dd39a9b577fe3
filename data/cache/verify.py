"""Proving a cache whole, naming what is damaged, and clearing damage out of the way."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.cache.files.members import CALIBRATION, DAMAGED, INDEX, MANIFEST, SUMS, shard_name
from data.cache.files.sums import read_sums
from data.cache.index import COMPRESSED, Index, read_index
from data.cache.shards import shard_rows
from data.tools.errors import UserError
from data.tools.files import open_regular, sha256_of
from data.tools.printable import printable
from data.tools.progress import progress
from data.vocabulary import GRID


@dataclass(frozen=True)
class Damage:
    """A file of a cache that is not what it was."""

    file: str
    reason: str


def find_damage(folder: Path) -> list[Damage]:
    """Read every byte of the cache and compare; empty when it is whole.

    A damaged shard's reason names the images and levels that changed. No file that fails its
    checksum is parsed as HDF5. Raises `UserError` when `folder` holds no cache at all.
    """
    if not (folder / SUMS).exists() and not (folder / INDEX).exists():
        read_index(folder)  # raises, and says what is there instead
    try:
        sums = read_sums(folder)
    except UserError as error:
        return [Damage(SUMS, str(error))]
    index = None
    try:
        index = read_index(folder)
    except UserError as error:
        damage = [Damage(INDEX, str(error))]
    else:
        damage = _compare_sums(sums, index)
    names = [name for name in sums if name != INDEX]
    for name in progress(names, total=len(names), description="verifying", unit="files"):
        path = folder / name
        if not path.exists():
            damage.append(Damage(name, "missing"))
        elif not path.is_file():
            damage.append(Damage(name, "no regular file"))
        elif sha256_of(path) != sums[name]:
            damage.append(Damage(name, _describe(path, index)))
    return damage


def set_aside(folder: Path, damage: list[Damage]) -> None:
    """Rename damaged files, so that the cache counts as incomplete and extraction repairs it.

    Raises `UserError` when the disk cannot be written.
    """
    # Extraction writes the index and the sums again in any case: they vouch for every file. They
    # go last: killed on the way, a cache is never left with a damaged shard that nobody knows of.
    damaged = [item.file for item in damage if item.file not in (INDEX, SUMS)]
    for name in [*damaged, SUMS, INDEX]:
        path = folder / name
        try:
            if os.path.lexists(path):
                path.replace(path.with_name(name + DAMAGED))
        except OSError as error:
            raise UserError(
                f"{path} is damaged and cannot be set aside ({error.strerror}): copy the cache to "
                "a disk that can be written, and run extract-features --verify there"
            ) from error


def _compare_sums(sums: dict[str, str], index: Index) -> list[Damage]:
    expected = {shard_name(shard): sha256 for shard, sha256 in enumerate(index.sha256)}
    wrong = [name for name, sha256 in expected.items() if sums.get(name) != sha256]
    wrong += [name for name in (MANIFEST, INDEX) if name not in sums]
    wrong += [name for name in sums if name not in (*expected, MANIFEST, INDEX, CALIBRATION)]
    if not wrong:
        return []
    return [Damage(SUMS, f"does not match {INDEX} on {', '.join(wrong)}")]


def _describe(path: Path, index: Index | None) -> str:
    """Why a file fails its checksum; for a shard, the images whose features changed."""
    names = [] if index is None else [shard_name(shard) for shard in range(len(index.sizes))]
    if index is None or path.name not in names:
        return "changed"
    shard = names.index(path.name)
    if path.stat().st_size != index.sizes[shard]:
        return f"{path.stat().st_size} bytes long instead of {index.sizes[shard]}"
    rows = shard_rows(shard, len(index.records))
    checksums = index.checksums[rows.start : rows.stop]
    if (index.offsets[shard] == COMPRESSED).any():
        first, last = index.records[rows.start], index.records[rows.stop - 1]
        images = f"the {len(rows)} images from {first.name} to {last.name}"
        return printable(f"changed; it holds {images}")
    damaged = _damaged_bytes(path, index, shard, checksums)
    if not damaged:
        return "changed outside of the features (attributes or structure)"
    records = [(level, index.records[rows.start + row]) for row, level in damaged]
    return printable(
        "changed in " + ", ".join(f"{lv} of {r.images} image {r.name}" for lv, r in records)
    )


def _damaged_bytes(
    path: Path, index: Index, shard: int, checksums: np.ndarray
) -> list[tuple[int, str]]:
    damaged = []
    with open_regular(path) as file:
        for column, (level, channels) in enumerate(index.levels.items()):
            file.seek(index.offsets[shard, column])
            for row in range(len(checksums)):
                if zlib.crc32(file.read(channels * GRID * GRID * 2)) != checksums[row, column]:
                    damaged.append((row, level))
    return damaged
