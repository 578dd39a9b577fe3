"""The maps kept of trained heads: predictions for a few images, and errors per pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.read.results import Results
from data.border import ring_means
from data.intervals import bootstrap_intervals
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
    # (images, ceil(s / 2)), squared error of every image by ring; older results lack them
    rings: dict[str, NDArray[np.float32]]
    # (images, 224, 224) by set, and names: the worst, then the best; older results lack them.
    extremes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    extreme_names: dict[str, list[str]] = field(default_factory=dict)


def read_maps(results: Results, run: str, head: str) -> HeadMaps:
    """The maps of one head; `UserError` when the run's file lacks them or is damaged."""
    path = results.folder / run / HEADS
    try:
        with open_hdf5(path) as file:
            group = file[head]
            kept = group["predictions"]
            extremes = group.get("extremes", {})
            return HeadMaps(
                *_named(kept),
                {name: own_dataset(group, f"error/{name}")[()] for name in group["error"]},
                {name: own_dataset(group, f"rings/{name}")[()] for name in group.get("rings", ())},
                *_named(extremes),
            )
    except (KeyError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} has no maps of head {head} ({error}), so the results are half written: "
            "run train-probes again"
        ) from None


def _named(group: Any) -> tuple[dict[str, NDArray[np.float32]], dict[str, list[str]]]:
    """Maps by image set, as they are scored, and the names of their images."""
    maps = {name: _upsampled(own_dataset(group, name)[()]) for name in group}
    return maps, {name: [str(text) for text in group[name].attrs["names"]] for name in group}


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


def border_profile(maps: HeadMaps, target: NDArray[np.float64], images: str) -> pd.DataFrame:
    """Error by distance to the nearest border, over that of the best constant map.

    Root mean squared error over the images of a set and the pixels of each ring, divided by the
    standard deviation of the `target` (s, s): 1 is no better than a map that is the same
    everywhere. Columns, one row per ring from the border inwards: distance (of each ring's middle,
    in percent of the side), error, low and high (95 % over images, NaN where the errors of single
    images were not kept) and constant (the constant map's own error in that ring).
    """
    size = len(target)
    of_constant = ring_means(np.square(target - target.mean())[None])[0]
    mean = ring_means(maps.error[images][None])[0]
    ends = np.full((len(mean), 2), np.nan)
    if images in maps.rings:
        ends = bootstrap_intervals(maps.rings[images].astype(np.float64))
    columns = {"error": mean, "low": ends[:, 0], "high": ends[:, 1], "constant": of_constant}
    distance = 100.0 * (np.arange(len(mean)) + 0.5) / size
    relative = {
        name: np.sqrt(np.maximum(values, 0.0)) / target.std() for name, values in columns.items()
    }
    return pd.DataFrame({"distance": distance, **relative})
