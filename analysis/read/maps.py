"""The maps kept of trained heads: predictions for a few images, and errors per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.read.results import Results
from data.resample import bilinear_matrix
from data.targets import MAP_SIZE
from data.tools.errors import UserError
from data.tools.hdf5 import open_hdf5, own_dataset
from probe.results import HEADS


@dataclass(frozen=True)
class HeadMaps:
    """What heads.h5 holds of one head; keys are image sets."""

    predictions: dict[str, NDArray[np.float32]]  # (images, 224, 224), the first few of the set
    names: dict[str, list[str]]
    error: dict[str, NDArray[np.float32]]  # (s, s), squared error averaged over all images


def read_maps(results: Results, run: str, head: str) -> HeadMaps:
    """The maps of one head; `UserError` when the run's file lacks them or is damaged."""
    path = results.folder / run / HEADS
    try:
        with open_hdf5(path) as file:
            group = file[head]
            kept = group["predictions"]
            return HeadMaps(
                {name: _upsampled(own_dataset(kept, name)[()]) for name in kept},
                {name: [str(text) for text in kept[name].attrs["names"]] for name in kept},
                {name: own_dataset(group, f"error/{name}")[()] for name in group["error"]},
            )
    except (KeyError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} has no maps of head {head} ({error}), so the results are half written: "
            "run train-probes again"
        ) from None


def _upsampled(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m, n, n) outputs as they are scored, (m, 224, 224)."""
    matrix = bilinear_matrix(maps.shape[-1], MAP_SIZE).astype(np.float32)
    return matrix @ maps @ matrix.T


def first_head(results: Results, row: Any) -> str:
    """The head with the lowest seed behind a measured row."""
    scores = results.scores
    same = (scores["run"] == row.run) & (scores["pattern"] == row.pattern)
    for name in ("levels", "kernel_size", "depth", "probe_padding"):
        same &= scores[name] == getattr(row, name)
    return str(scores[same].sort_values("seed")["head"].iloc[0])


def border_profile(error: NDArray[np.float32]) -> pd.DataFrame:
    """Root mean squared error by distance to the nearest border.

    `error` is (s, s), squared. Returns distance (in percent of the side, of each ring's middle)
    and error, one row per ring of pixels, from the border inwards.
    """
    size = len(error)
    index = np.arange(size)
    depth = np.minimum(index, size - 1 - index)
    rings = np.minimum.outer(depth, depth)
    sums = np.bincount(rings.ravel(), weights=error.ravel())
    counts = np.bincount(rings.ravel())
    distance = 100.0 * (np.arange(len(sums)) + 0.5) / size
    return pd.DataFrame({"distance": distance, "error": np.sqrt(sums / counts)})
