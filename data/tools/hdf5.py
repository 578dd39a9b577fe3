"""Opening and writing HDF5 files, with errors that say what to do."""

from __future__ import annotations

import errno
from io import FileIO
from pathlib import Path
from typing import Any

import h5py

from data.tools.errors import UserError
from data.tools.files import open_regular


def open_hdf5(path: Path) -> h5py.File:
    """An HDF5 file, open for reading.

    HDF5's own file locks are off: no file here is ever changed under its final name, so they
    would protect nothing, and on many network disks they fail. Raises `FileNotFoundError` when
    there is no such file and `UserError` when it cannot be opened.
    """
    try:
        open_regular(path).close()
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ENOLCK or "No locks available" in str(error):
            raise UserError(
                f"cannot open {path}: this disk has no file locks; "
                "set HDF5_USE_FILE_LOCKING=FALSE in the environment and try again"
            ) from error
        raise UserError(f"cannot open {path} as HDF5: {error}") from error


def own_dataset(file: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset `name`, whose values lie in the file itself.

    HDF5 follows links and external storage to any file that this process may read, and files
    from elsewhere may be forged. A dataset that leads out of its file raises `ValueError` before
    anything of it is read; `KeyError` says that there is none.
    """
    found = linked_dataset(file, name)
    if found.external or found.is_virtual:
        raise ValueError(f"the values of {name} lie in another file")
    return found


def linked_dataset(file: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset `name`, its values wherever they are; raises as `own_dataset`."""
    found = file
    for part in name.split("/"):
        if not isinstance(found, h5py.Group):
            raise KeyError(f"no dataset {name}")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to another place")
        found = found[part]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"no dataset {name}")
    return found


class CheckedStream(FileIO):
    """A file for HDF5 to write to, which keeps errors of the disk until they are asked for.

    HDF5 that is given the error itself can no longer close its file, and crashes at exit. Small
    files are built in memory (`h5py.File(BytesIO(), "w")`) and then written; for a large one,
    open this with `h5py.File(stream, "w")`, ask with `check`, and discard the file on an error.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "r+")
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error of the disk, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of `data`; what a failing disk does not take counts as written."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self._error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file; a failure counts as done."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0
