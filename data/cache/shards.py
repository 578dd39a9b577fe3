"""Writing one shard of a cache: at most 64 images, checked before it gets its name."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from data.cache.files.manifest import Manifest
from data.cache.files.members import shard_name
from data.cache.identity import SCHEMA
from data.tools.errors import UserError
from data.tools.files import create_part, flush, forget_pages, publish, sha256_of
from data.tools.hdf5 import CheckedStream, open_hdf5, own_dataset
from data.vocabulary import GRID

SHARD_IMAGES = 64
CHECKSUMS = "crc32"  # dataset (images, levels) uint32 of a shard
_VALUE_BYTES = 2  # of float16
_INFINITY_BITS = 0x7C00  # of float16; larger is NaN


def shard_count(images: int) -> int:
    """How many shards `images` images take."""
    return -(-images // SHARD_IMAGES)


def shard_rows(index: int, images: int) -> range:
    """The rows of a cache of `images` images that shard `index` holds."""
    return range(index * SHARD_IMAGES, min((index + 1) * SHARD_IMAGES, images))


def rows_of(shards: Iterable[int], images: int) -> Iterator[int]:
    """The rows of several shards, one after the other."""
    return chain.from_iterable(shard_rows(shard, images) for shard in shards)


class ShardWriter:
    """One shard, written batch by batch under a temporary name.

    Equal features give equal bytes: nothing in the file depends on when, where or in what
    batches it was written.
    """

    def __init__(self, folder: Path, index: int, manifest: Manifest) -> None:
        self.path = folder / shard_name(index)
        self._manifest = manifest
        self._rows = shard_rows(index, len(manifest.records))
        self._checksums = np.zeros((len(self._rows), len(manifest.levels)), np.uint32)
        self._largest = dict.fromkeys(manifest.levels, 0)  # float16 magnitudes, as bits
        self._errors = dict.fromkeys(manifest.levels, 0.0)
        self._filled = 0
        self._part = create_part(self.path)
        self._stream = CheckedStream(self._part)
        self._file = h5py.File(self._stream, "w")
        _lay_out(self._file, manifest, self._rows)

    def write(
        self, features: Mapping[str, NDArray[np.float16]], errors: Mapping[str, float]
    ) -> None:
        """Append the next images.

        `features`: level -> (b, C, 28, 28) float16. `errors`: level -> the largest difference
        that the conversion to float16 made. Raises `UserError`, naming image and level, when a
        value is not finite, and `OSError` when the disk refuses or is full.
        """
        stop = self._filled + len(next(iter(features.values())))
        for column, level in enumerate(self._manifest.levels):
            images = features[level]
            self._file[level][self._filled : stop] = images
            for row, image in enumerate(images, start=self._filled):
                self._checksums[row, column] = zlib.crc32(np.ascontiguousarray(image).data)
            self._audit(level, images, errors[level])
        self._stream.check()
        self._filled = stop

    def _audit(self, level: str, images: NDArray[np.float16], error: float) -> None:
        # Without its sign bit, a float16 is ordered like the integer of the same bits.
        bits = images.view(np.uint16) & 0x7FFF
        largest = bits.reshape(len(images), -1).max(axis=1)
        if largest.max() >= _INFINITY_BITS:
            row = int(np.argmax(largest >= _INFINITY_BITS)) + self._filled + self._rows.start
            record = self._manifest.records[row]
            raise UserError(
                f"level {level} of {record.images} image {record.name} does not fit float16: it "
                "holds a value beyond 65504 or none at all; check the weights, or try "
                "--precision fp32"
            )
        self._largest[level] = max(self._largest[level], int(largest.max()))
        self._errors[level] = max(self._errors[level], error)

    def finish(self) -> str:
        """Complete the file, read it back from the disk, give it its name; return its SHA-256.

        Raises `OSError` when the disk did not keep what was written.
        """
        assert self._filled == len(self._rows), "a shard is finished when it is full"
        _conclude(self._file, self._checksums, self._largest, self._errors)
        self._file.close()
        self._stream.close()
        self._stream.check()
        flush(self._part)
        forget_pages(self._part)
        if damaged_images(self._part, list(self._manifest.levels), self._checksums):
            raise OSError(f"{self._part} reads back other bytes than were written: check the disk")
        sha256 = sha256_of(self._part)
        publish(self._part, self.path)
        return sha256

    def discard(self) -> None:
        """Give up: close and remove the temporary file."""
        self._file.close()
        self._stream.close()
        self._part.unlink(missing_ok=True)


def shard_bytes(manifest: Manifest, index: int) -> int:
    """The exact size of a shard's file, whatever its features are; where they are compressed, most.

    That of a file of the same layout into which no feature is written, and the features' own.
    """
    rows, levels = shard_rows(index, len(manifest.records)), manifest.levels
    plain = replace(manifest, identity=replace(manifest.identity, compression="none"))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _lay_out(file, plain, rows)
        nothing = dict.fromkeys(levels, 0)
        _conclude(file, np.zeros((len(rows), len(levels)), np.uint32), nothing, nothing)
    return len(buffer.getvalue()) + len(rows) * sum(levels.values()) * GRID * GRID * _VALUE_BYTES


def _lay_out(file: h5py.File, manifest: Manifest, rows: range) -> None:
    """Everything of a shard that is known before its features."""
    file.attrs["schema"] = SCHEMA
    file.attrs["identity_sha256"] = manifest.digest
    file.attrs["first_row"] = rows.start
    filters = compression_filters(manifest.identity.compression)
    for level, channels in manifest.levels.items():
        shape = (len(rows), channels, GRID, GRID)
        chunks = (1, *shape[1:]) if filters else None
        file.create_dataset(level, shape, "<f2", chunks=chunks, **filters)


def _conclude(
    file: h5py.File,
    checksums: NDArray[np.uint32],
    largest: Mapping[str, int],
    errors: Mapping[str, float],
) -> None:
    """Everything of a shard that is known after its features: of each level, magnitudes as bits."""
    file[CHECKSUMS] = checksums
    for level, bits in largest.items():
        magnitude = np.array(bits, np.uint16).view(np.float16)
        file[level].attrs["max_magnitude"] = np.float32(magnitude)
        file[level].attrs["max_float16_error"] = np.float32(errors[level])


def damaged_images(
    path: Path, levels: list[str], checksums: NDArray[np.uint32]
) -> list[tuple[int, str]]:
    """The (row in the shard, level) of every image whose bytes do not match its checksum."""
    damaged = []
    with open_hdf5(path) as file:
        for column, level in enumerate(levels):
            dataset = own_dataset(file, level)
            buffer = np.empty(dataset.shape[1:], np.float16)
            for row in range(len(checksums)):
                dataset.read_direct(buffer, np.s_[row])
                if zlib.crc32(buffer.data) != checksums[row, column]:
                    damaged.append((row, level))
    return damaged


def compression_filters(compression: str) -> dict[str, object]:
    """Arguments of `create_dataset`; `UserError` when the plugin is not installed."""
    if compression == "none":
        return {}
    return dict(import_plugin().Bitshuffle(cname="lz4"))


def import_plugin():  # type: ignore[no-untyped-def]
    """The module hdf5plugin: importing it lets HDF5 read and write compressed caches."""
    try:
        import hdf5plugin
    except ImportError:
        raise UserError(
            "this cache is compressed with bitshuffle-lz4, which needs hdf5plugin: "
            "pip install 'position-probes[compression]'"
        ) from None
    return hdf5plugin
