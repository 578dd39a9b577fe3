"""Arrays in an HDF5 file of their own, each with its checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data.tools.errors import UserError
from data.tools.files import create_part, publish, write_bytes
from data.tools.hdf5 import CheckedStream, open_hdf5, own_dataset

CHECKSUM = "crc32"  # attribute of a dataset: CRC-32 of its bytes
DIGEST = "identity_sha256"  # attribute of a file
_NAMES = "datasets"  # attribute of a file: the names of its arrays, in order

Arrays = Mapping[str, NDArray[Any]]  # "f1/mean", ..., "patch", ... -> (N, ...)


class DamagedError(UserError):
    """Values that are not those that were written, or lie in another file."""


@dataclass(frozen=True)
class Column:
    """One array of a file, in the parts in which it is made."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    parts: Callable[[], Iterable[NDArray[Any]]]


def write_arrays(path: Path, arrays: Arrays, digest: str) -> None:
    """Arrays of the cache of `digest`, in memory: whole, or not there."""
    buffer = BytesIO()  # HDF5 crashes over a file whose disk is full
    with h5py.File(buffer, "w") as file:
        file.attrs[_NAMES], file.attrs[DIGEST] = json.dumps(list(arrays)), digest
        for name, values in arrays.items():
            file[name] = values
            file[name].attrs[CHECKSUM] = np.uint32(_checksum(values))
    write_bytes(path, buffer.getbuffer())


def write_columns(path: Path, columns: Iterable[Column], identity: str) -> None:
    """A file of arrays that need not fit the memory, and of the text `identity`.

    Whole, or not there. Raises `OSError`.
    """
    part = create_part(path)
    try:
        stream = CheckedStream(part)
        with h5py.File(stream, "w") as file:
            file["identity"] = np.bytes_(identity.encode())
            for column in columns:
                _write_column(file, column)
                stream.check()
        stream.close()
        stream.check()
        publish(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write_column(file: h5py.File, column: Column) -> None:
    dataset = file.create_dataset(column.name, column.shape, column.dtype)
    start = checksum = 0
    for values in column.parts():
        dataset[start : start + len(values)] = values
        start, checksum = start + len(values), _checksum(values, checksum)
    assert start == column.shape[0], f"{column.name} has {start} of {column.shape[0]} rows"
    dataset.attrs[CHECKSUM] = np.uint32(checksum)


def array_names(path: Path, digest: str) -> list[str]:
    """The arrays of a file of the cache of `digest`; `DamagedError` where it is of another."""
    with open_hdf5(path) as file:
        try:
            if file.attrs[DIGEST] == digest:
                return [str(name) for name in json.loads(file.attrs[_NAMES])]
        except (KeyError, ValueError, TypeError) as error:
            raise DamagedError(f"{path} is damaged ({error})") from None
    raise DamagedError(f"{path} is of another cache")


def read_array(path: Path, name: str) -> NDArray[Any]:
    """One array of a file; `DamagedError` unless it is there as it was written.

    Nothing outside of the file is read: a link in it, or external storage, counts as damage.
    """
    with open_hdf5(path) as file:
        try:
            dataset = own_dataset(file, name)
            values: NDArray[Any] = dataset[()]
            if np.ndim(values) and _checksum(values) == int(dataset.attrs[CHECKSUM]):
                return values
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise DamagedError(f"{path} is damaged: {name}: {error}") from None
    raise DamagedError(f"{path} is damaged: {name} is not as it was written")


def _checksum(values: NDArray[Any], before: int = 0) -> int:
    return zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data, before)
