"""Target maps of one's own: from arrays and files, kept with the results that they are part of."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.resample import bilinear_matrix
from data.targets import PATTERNS, Pattern, add_pattern
from data.tools.errors import UserError
from data.tools.files import read_bytes, write_bytes

FOLDER = "targets"  # of a results folder: NAME.npy, what every map was
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # it goes into names of heads, files and columns


def map_pattern(name: str, values: NDArray[np.floating]) -> Pattern:
    """A pattern whose map is `values`, (n, n), resampled bilinearly to the size asked for.

    Raises `ValueError`, with reason and remedy, for a name or an array that cannot be one.
    """
    if not _NAME.fullmatch(name) or name in PATTERNS:
        raise ValueError(
            f"{name!r} cannot name a target: use letters and digits, and none of the "
            f"paper's {', '.join(PATTERNS)}"
        )
    values = np.array(values)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise ValueError(
            f"target {name} has the shape {values.shape}: give a square map, 2x2 or larger"
        )
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ValueError(f"target {name} is no map of finite numbers: give floats")
    if values.min() == values.max():
        raise ValueError(f"target {name} is the same everywhere: it says nothing of position")
    values = values.astype(np.float64)

    def draw(size: int) -> NDArray[np.float64]:
        resample = bilinear_matrix(len(values), size)
        return resample @ values @ resample.T

    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return Pattern(name, draw, control_seed=seed)


def read_target(text: str) -> tuple[str, NDArray[np.floating]]:
    """The name and the map of `NAME=FILE.npy`; `ValueError` where there is none."""
    name, equals, file = text.partition("=")
    if not equals:
        raise ValueError("give NAME=FILE.npy")
    path = Path(file).expanduser()
    try:
        values = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as an array ({error}): save one with numpy.save"
        ) from None
    map_pattern(name, values)
    return name, values


def keep_target(results_dir: Path, name: str, values: NDArray[np.floating]) -> None:
    """Write the map beside the results and let it be found by its name; raises as `know_target`."""
    know_target(results_dir, name, values)
    path = _target_path(results_dir, name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, values)
        write_bytes(path, buffer.getvalue())


def know_target(results_dir: Path, name: str, values: NDArray[np.floating]) -> None:
    """Let the map be found by its name; nothing is written.

    Raises `UserError` where the results are of another map of this name.
    """
    path = _target_path(results_dir, name)
    if path.exists() and not np.array_equal(_load(path), values):
        raise UserError(
            f"{path} is another map than the target {name!r}: give the new one another name, "
            "or another --results-dir"
        )
    add_pattern(map_pattern(name, values))


def load_targets(results_dir: Path) -> None:
    """Let every map that is kept with the results be found; `UserError` for a damaged one."""
    for path in sorted((results_dir / FOLDER).glob("*.npy")):
        try:
            add_pattern(map_pattern(path.stem, _load(path)))
        except UserError:
            raise
        except (ValueError, EOFError, OSError) as error:
            raise UserError(
                f"{path} is damaged ({error}): restore it, or train again in another --results-dir"
            ) from error


def _target_path(results_dir: Path, name: str) -> Path:
    return results_dir / FOLDER / f"{name}.npy"


def _load(path: Path) -> NDArray[np.floating]:
    values: NDArray[np.floating] = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    return values
