"""Opening HDF5 files, with errors that say what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py

from data.tools.errors import UserError


def open_hdf5(path: Path, mode: str = "r") -> h5py.File:
    """An open HDF5 file.

    HDF5's own file locks are off: no file here is ever changed under its final name, so they
    would protect nothing, and on many network disks they fail. Raises `FileNotFoundError` when
    there is no such file and `UserError` when it cannot be opened.
    """
    try:
        return h5py.File(path, mode, locking=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ENOLCK or "No locks available" in str(error):
            raise UserError(
                f"cannot open {path}: this disk has no file locks; "
                "set HDF5_USE_FILE_LOCKING=FALSE in the environment and try again"
            ) from error
        raise UserError(f"cannot open {path} as HDF5: {error}") from error
