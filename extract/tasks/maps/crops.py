"""Figure 1's experiment: what becomes of the salient region when the crop moves over an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from extract.tasks.maps.metrics import adaptive_threshold
from extract.tasks.maps.predictor import Predictor, to_maps

if TYPE_CHECKING:
    from extract.tasks.maps.pairs.sets import PairSet

SCALE = 1.5  # the image, in crops
SHIFTS = (-0.25, -0.125, 0.0, 0.125, 0.25)  # of the crop, from the image's middle, in crops
IMAGES = 32  # of a test set, the first
KEPT = 4  # images whose crops and predictions are kept, for the figure


@torch.no_grad()
def crop_shifts(
    predictor: Predictor, pairs: PairSet, size: int
) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """Predict the salient region of crops of the same image, moved along x and along y.

    Each of the first 32 images is loaded at one and a half times `size`, and crops of `size` move
    over it by up to a quarter of their side. The table has a row per image, axis and shift:
    `image`, `axis` ("x", "y"), `shift` (pixels), `centroid` (of the region found, along the axis,
    in pixels of the crop); NaN where nothing is found. The arrays keep the moves along x of the
    first images: `shifts` (5,), `crops` (4, 5, S, S, 3) uint8, `maps` (4, 5, S, S) float16.
    """
    shifts = [round(shift * size) for shift in SHIFTS]
    rows: list[dict[str, Any]] = []
    crops: list[NDArray[np.uint8]] = []
    maps: list[NDArray[np.float16]] = []
    for index in range(min(IMAGES, len(pairs))):
        image, _ = pairs.load(index, round(SCALE * size))
        for axis in ("x", "y"):
            moved = np.stack([crop(image, axis, shift, size) for shift in shifts])
            images = torch.from_numpy(moved).to(predictor.device).permute(0, 3, 1, 2).float() / 255
            found = to_maps(predictor.predict(images))
            for shift, saliency in zip(shifts, found, strict=True):
                place = {"image": index, "axis": axis, "shift": shift}
                rows.append(place | {"centroid": centroid(saliency, axis)})
            if axis == "x" and index < KEPT:
                crops.append(moved)
                maps.append(found.astype(np.float16))
    arrays = {"shifts": np.array(shifts), "crops": np.stack(crops), "maps": np.stack(maps)}
    return pd.DataFrame(rows), arrays


def crop(image: NDArray[np.uint8], axis: str, shift: int, size: int) -> NDArray[np.uint8]:
    """The (size, size, 3) crop whose middle lies `shift` pixels from the image's, along `axis`."""
    middle = (len(image) - size) // 2
    left, top = (middle + shift, middle) if axis == "x" else (middle, middle + shift)
    return image[top : top + size, left : left + size]


def centroid(saliency: NDArray[np.floating], axis: str) -> float:
    """Mean pixel along `axis` of the region found, at the adaptive threshold; NaN without one."""
    region = saliency >= adaptive_threshold(saliency)
    if not saliency.any():
        return float("nan")
    return float(np.nonzero(region)[1 if axis == "x" else 0].mean())


def shift_slopes(table: pd.DataFrame) -> dict[str, float]:
    """How far the region moves over the image per pixel of the crop: `crop_slope_x` and `_y`.

    Least squares of centroid + shift, the place in the image, on the shift, per image; the mean.
    0: the region stays on what it found, whatever the crop. 1: it moves with the crop, and stays
    at one place of the frame, whatever it shows.
    """
    return {
        f"crop_slope_{axis}": float(slopes_by_image(rows).mean())
        for axis, rows in table.groupby("axis")
    }


def slopes_by_image(rows: pd.DataFrame) -> pd.Series[float]:
    """The slope of each image along one axis."""
    slopes = {}
    for image, moves in rows.groupby("image"):
        shift, place = moves["shift"], moves["shift"] + moves["centroid"]
        away = shift - shift.mean()
        slopes[image] = float((away * place).sum() / (away**2).sum())
    return pd.Series(slopes)
