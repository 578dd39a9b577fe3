"""Files of torch.save, read without running anything in them."""

from __future__ import annotations

import argparse
import pathlib
import re
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.tools.errors import UserError

_REMEDY = "save one with torch.save(model.state_dict(), path)"
_UNKNOWN = re.compile(r"GLOBAL (\S+)")  # in torch's message: the object it does not make


def read_torch(path: Path) -> Mapping[str, Any]:
    """The mapping in the file; `UserError` when it is no checkpoint or holds foreign objects.

    Settings that people keep beside the weights (argparse.Namespace, NumPy scalars and arrays,
    paths) are read; whatever else is no tensor and no plain value is named.
    """
    where = f"weights {str(path)!r}"
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore")  # what is odd in the file is refused where it matters
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        # Their messages suggest weights_only=False, which would run whatever the file says.
        found = _UNKNOWN.search(str(error))
        if found:
            raise UserError(
                f"{where}: not a checkpoint of tensors alone, it holds a {found[1]}; {_REMEDY}"
            ) from error
        if "TorchScript" in str(error):
            raise UserError(
                f"{where}: a TorchScript program, not a checkpoint; {_REMEDY}"
            ) from error
        raise UserError(
            f"{where}: not a checkpoint, or a damaged one ({type(error).__name__}); {_REMEDY}"
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"{where}: holds a {type(content).__name__} that is no state dict; {_REMEDY}"
        )
    return content


def _harmless() -> list[Any]:
    """Types whose making does nothing but keep values; with the names of older NumPys."""
    # The dtypes of plain numbers: an array of objects could hold anything.
    dtypes = [
        kind
        for name in np.dtypes.__all__
        if issubclass(kind := getattr(np.dtypes, name), np.dtype)
        and name not in ("ObjectDType", "StringDType", "VoidDType")
    ]
    makers = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.zeros(1).__reduce__()[0]}
    arrays = [
        (maker, f"numpy.{package}.multiarray.{name}")
        for name, maker in makers.items()
        for package in ("core", "_core")
    ]
    paths = [
        (pathlib.PurePosixPath if "Posix" in name else pathlib.PureWindowsPath, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
    ]
    return [
        argparse.Namespace,
        types.SimpleNamespace,
        np.dtype,
        np.ndarray,
        *dtypes,
        *arrays,
        *paths,
    ]
