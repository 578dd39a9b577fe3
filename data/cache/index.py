"""The index of a cache: `cache.h5`, written last, which opens all shards as one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data.cache.files.manifest import Manifest
from data.cache.files.members import CALIBRATION, INDEX, MANIFEST, SUMS, shard_name
from data.cache.files.sums import read_sums, write_sums
from data.cache.identity import SCHEMA, Identity, canonical_json
from data.cache.shards import (
    CHECKSUMS,
    damaged_images,
    import_plugin,
    shard_count,
    shard_rows,
)
from data.images.source import BadImage, ImageRecord
from data.tools.errors import UserError
from data.tools.files import read_bytes, sha256_of, write_bytes
from data.tools.hdf5 import linked_dataset, open_hdf5, own_dataset
from data.tools.progress import progress
from data.vocabulary import GRID

AUDIT = ("max_magnitude", "max_float16_error")  # attributes of each level
MOST_PACKED = 256  # LZ4 makes at most so many bytes of one
COMPRESSED = -1  # instead of an offset: the level is in chunks, only HDF5 can read it


@dataclass(frozen=True)
class Index:
    """What `cache.h5` tells about its cache."""

    identity: Identity
    records: tuple[ImageRecord, ...]
    bad: tuple[BadImage, ...]
    checksums: NDArray[np.uint32]  # (images, levels): CRC-32 of each image's bytes
    sizes: NDArray[np.int64]  # (shards,) bytes
    sha256: tuple[str, ...]  # of each shard's file
    offsets: NDArray[np.int64]  # (shards, levels): where a level's bytes start, or COMPRESSED
    audit: dict[str, dict[str, float]]  # level -> max_magnitude, max_float16_error

    @property
    def levels(self) -> dict[str, int]:
        """Level -> channels, in the order of the cache."""
        return dict(self.identity.levels)


@dataclass(frozen=True)
class _Shard:
    size: int
    sha256: str
    offsets: list[int]
    checksums: NDArray[np.uint32]
    audit: dict[str, dict[str, float]]


class DamagedShardError(UserError):
    """A shard whose features are not those that were written."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is damaged: delete it and run extract-features again")
        self.path = path


def shard_fault(folder: Path, index: int, manifest: Manifest) -> str | None:
    """Why shard `index` is not (or not the right) one of this cache; None when it seems to be.

    Cheap: reads the attributes and shapes, not the features.
    """
    path, rows = folder / shard_name(index), shard_rows(index, len(manifest.records))
    if not path.exists():
        return "missing"
    try:
        with open_hdf5(path) as file:
            if file.attrs["identity_sha256"] != manifest.digest:
                return "made from something else"
            checksums = own_dataset(file, CHECKSUMS)
            shape: tuple[int, ...] = (len(rows), len(manifest.levels))
            if file.attrs["first_row"] != rows.start or not _is(checksums, shape, np.uint32):
                return "of other images"
            for level, channels in manifest.levels.items():
                shape = (len(rows), channels, GRID, GRID)
                if not _is(own_dataset(file, level), shape, np.float16):
                    return f"of another shape in level {level}"
    except Exception as error:  # a file from elsewhere may hold anything
        return f"unreadable ({error})"
    return None


def write_index(folder: Path, manifest: Manifest, known: Mapping[int, str]) -> None:
    """Complete the cache: write `SHA256SUMS`, then `cache.h5`.

    `known`: shard -> SHA-256 of those checked in this run already; every other is read in full
    and checked first. Raises `UserError` when a shard is missing, foreign or damaged.
    """
    count = shard_count(len(manifest.records))
    indices: Iterable[int] = range(count)
    if len(known) < count:
        indices = progress(indices, total=count, description="checking", unit="shards")
    shards = [_inspect(folder, index, manifest, known.get(index)) for index in indices]
    # The sums, which tell of the index, come first: a cache is complete when its index is there.
    content = BytesIO()
    with h5py.File(content, "w") as file:
        _write_images(file, manifest)
        _write_shards(file, manifest, shards)
        for level, channels in manifest.levels.items():
            _write_level(file, manifest, level, channels, shards)
    sums = {shard_name(index): shard.sha256 for index, shard in enumerate(shards)}
    for name in (MANIFEST, CALIBRATION):
        if (folder / name).exists():
            sums[name] = sha256_of(folder / name)
    sums[INDEX] = hashlib.sha256(content.getbuffer()).hexdigest()
    write_sums(folder, sums)
    write_bytes(folder / INDEX, content.getbuffer())


def read_index(folder: Path) -> Index:
    """What `cache.h5` says, once its own checksum has been compared.

    Raises `UserError` when the folder holds no complete cache, one of another schema version, or
    an index that is damaged or forged: that leads to other files, or contradicts itself.
    """
    path = folder / INDEX
    if not path.exists():
        found = "an incomplete cache" if (folder / MANIFEST).exists() else "no cache"
        raise UserError(
            f"{folder} holds {found} (no {INDEX}): run extract-features, it resumes where it "
            "stopped"
        )
    content = read_bytes(path)
    if read_sums(folder).get(INDEX) != hashlib.sha256(content).hexdigest():
        raise UserError(
            f"{path} does not match {folder / SUMS}: run extract-features --verify {folder}"
        )
    try:
        with h5py.File(BytesIO(content), "r") as file:
            if file.attrs["schema"] != SCHEMA:
                raise UserError(
                    f"{folder} has schema version {file.attrs['schema']}, this program reads "
                    f"{SCHEMA}: make the cache again in another --cache-dir"
                )
            return _read(file)
    except UserError:
        raise
    except Exception as error:  # a file from elsewhere may hold anything
        raise UserError(
            f"{path} is damaged ({error}): remove it and {folder / SUMS}, then run "
            "extract-features again"
        ) from error


def _is(dataset: h5py.Dataset, shape: tuple[int, ...], dtype: Any) -> bool:
    return bool(dataset.shape == shape and dataset.dtype == dtype)


def _inspect(folder: Path, index: int, manifest: Manifest, sha256: str | None) -> _Shard:
    path = folder / shard_name(index)
    fault = shard_fault(folder, index, manifest)
    if fault:
        raise UserError(f"{path} is {fault}: run extract-features again")
    levels = list(manifest.levels)
    with open_hdf5(path) as file:
        checksums = own_dataset(file, CHECKSUMS)[()]
        offsets = [own_dataset(file, level).id.get_offset() for level in levels]
        audit = {level: {key: float(file[level].attrs[key]) for key in AUDIT} for level in levels}
    if sha256 is None:
        if damaged_images(path, levels, checksums):
            raise DamagedShardError(path)
        sha256 = sha256_of(path)
    offsets = [COMPRESSED if offset is None else offset for offset in offsets]
    return _Shard(path.stat().st_size, sha256, offsets, checksums, audit)


def _write_images(file: h5py.File, manifest: Manifest) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["identity"] = canonical_json(manifest.identity.to_json())
    file.attrs["identity_sha256"] = manifest.digest
    for field in ("name", "images", "sha256"):
        _write_strings(file, field, [getattr(record, field) for record in manifest.records])
    for field in ("name", "images", "reason"):
        _write_strings(file, f"bad/{field}", [getattr(image, field) for image in manifest.bad])


def _write_shards(file: h5py.File, manifest: Manifest, shards: list[_Shard]) -> None:
    file["shards/size"] = np.array([shard.size for shard in shards], np.int64)
    file["shards/offset"] = np.array([shard.offsets for shard in shards], np.int64)
    file["crc32"] = np.concatenate([shard.checksums for shard in shards])
    _write_strings(file, "shards/file", [shard_name(index) for index in range(len(shards))])
    _write_strings(file, "shards/sha256", [shard.sha256 for shard in shards])


def _write_level(
    file: h5py.File, manifest: Manifest, level: str, channels: int, shards: list[_Shard]
) -> None:
    count = len(manifest.records)
    layout = h5py.VirtualLayout((count, channels, GRID, GRID), "<f2")
    layout.dcpl.set_obj_track_times(False)  # equal caches are equal byte for byte
    for index in range(len(shards)):
        rows = shard_rows(index, count)
        shape = (len(rows), channels, GRID, GRID)
        # Relative names: the folder can be moved. A missing shard reads as NaN, never as zero.
        layout[rows.start : rows.stop] = h5py.VirtualSource(
            shard_name(index), level, shape, dtype="<f2"
        )
    dataset = file.create_virtual_dataset(level, layout, fillvalue=np.nan)
    for key in AUDIT:
        dataset.attrs[key] = np.float32(max(shard.audit[level][key] for shard in shards))


def _write_strings(file: h5py.File, name: str, values: list[str]) -> None:
    # Names of files may hold bytes that are no UTF-8; they are kept as they are.
    encoded = [value.encode("utf-8", "surrogateescape") for value in values]
    file.create_dataset(name, (len(values),), h5py.string_dtype(), data=encoded or None)


def _read(file: h5py.File) -> Index:
    """The index in `file`; whatever does not fit together raises an `Exception` of some kind."""
    identity = Identity.from_json(json.loads(file.attrs["identity"]))
    if identity.compression != "none":
        import_plugin()
    images = sum(identity.images.counts.values())
    shards, levels = shard_count(images), len(identity.levels)
    records = _rows(file, ("name", "images", "sha256"), (images,))
    bad = _rows(file, ("bad/name", "bad/images", "bad/reason"), None)
    index = Index(
        identity,
        tuple(ImageRecord(*record) for record in records),
        tuple(BadImage(*image) for image in bad),
        _values(file, "crc32", np.uint32, (images, levels)),
        _values(file, "shards/size", np.int64, (shards,)),
        tuple(_strings(file, "shards/sha256", (shards,))),
        _values(file, "shards/offset", np.int64, (shards, levels)),
        {
            level: {key: float(linked_dataset(file, level).attrs[key]) for key in AUDIT}
            for level in identity.levels
        },
    )
    for level in index.levels:
        _check_sources(file, level, shards)
    _check_offsets(index)
    return index


def _rows(
    file: h5py.File, names: tuple[str, ...], shape: tuple[int, ...] | None
) -> Iterable[tuple[str, ...]]:
    return zip(*(_strings(file, name, shape) for name in names), strict=True)


def _strings(file: h5py.File, name: str, shape: tuple[int, ...] | None) -> list[str]:
    values = _values(file, name, h5py.string_dtype(), shape)
    return [value.decode("utf-8", "surrogateescape") for value in values]


def _values(file: h5py.File, name: str, dtype: Any, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """All values of a dataset of the index; its type and its shape are checked first."""
    dataset = own_dataset(file, name)
    if not _is(dataset, dataset.shape if shape is None else shape, dtype):
        raise ValueError(f"{name} has the shape {dataset.shape}, not {shape}, or another type")
    # What is not stored would be filled in, up to any size.
    stored = min(dataset.id.get_storage_size(), file.id.get_filesize())
    if stored < dataset.size * dataset.dtype.itemsize:
        raise ValueError(f"{name} is not stored in full")
    return np.asarray(dataset[()])


def _check_sources(file: h5py.File, level: str, shards: int) -> None:
    """The level over all shards leads to these shards alone."""
    own = {shard_name(shard) for shard in range(shards)}
    dataset = linked_dataset(file, level)
    if not dataset.is_virtual or not {s.file_name for s in dataset.virtual_sources()} <= own:
        raise ValueError(f"level {level} leads to other files than the shards")


def _check_offsets(index: Index) -> None:
    """Every level lies inside of its shard."""
    compressed = index.identity.compression != "none"
    if not index.levels or (compressed != (index.offsets == COMPRESSED)).any():
        raise ValueError("its levels are not stored as it says")
    for shard, size in enumerate(index.sizes.tolist()):
        rows = len(shard_rows(shard, len(index.records)))
        for start, (level, channels) in zip(
            index.offsets[shard].tolist(), index.levels.items(), strict=True
        ):
            stop = start + rows * channels * GRID * GRID * 2
            most = MOST_PACKED * size if compressed else size
            if channels < 1 or start < COMPRESSED or stop > most:
                raise ValueError(f"level {level} lies outside of {shard_name(shard)}")
