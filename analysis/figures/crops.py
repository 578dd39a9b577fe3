"""Figure 1: what a backbone trained for saliency predicts when the crop moves over an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.mosaic import MAP_COLOURS, Mosaic
from analysis.figures.scores import nothing
from analysis.figures.style import look
from analysis.labels import cell_label
from analysis.tables.cells import number
from analysis.tables.papers.tasks import read_tasks

_IMAGES = 2  # shown of each run
_SLOPE = "crop_slope_x"


def has_crops(folder: Path) -> bool:
    """Whether a saliency backbone was scored into the results folder."""
    return any(folder.glob("tasks/*/*-crops.npz"))


def crops(folder: Path) -> Figure:
    """Figure 1: an image and a crop of it side by side, with the saliency predicted for each.

    The image is the crop from the middle, its crop the one moved furthest along x. One run for
    every padding: the first by name. Beside its rows stands how many pixels the region found moves
    over the image for each pixel that the crop moves, the mean over images: 0 where it stays on
    the object, 1 where it stays at one place of the frame.
    """
    tasks = read_tasks(folder)
    slopes = tasks[tasks["metric"] == _SLOPE].drop_duplicates("padding")
    maps: list[list[NDArray[Any] | None]] = []
    rows, notes, moved = [], [], 0
    for run in slopes.itertuples():
        with np.load(folder / "tasks" / run.run / f"{run.test_set}-crops.npz") as kept:
            shifts, images, found = kept["shifts"], kept["crops"], kept["maps"]
        middle, furthest = int(np.abs(shifts).argmin()), int(shifts.argmax())
        moved = int(shifts[furthest])
        for index in range(min(_IMAGES, len(images))):
            row: list[NDArray[Any] | None] = []
            for place in (middle, furthest):
                row += [images[index, place], found[index, place].astype(np.float32)]
            maps.append(row)
            rows.append(cell_label("padding", run.padding))
            notes.append(f"moves {number(run.value)}\nper pixel" if index == 0 else "")
    with look():
        if not rows:
            return nothing("no saliency backbone: train-backbone --task saliency")
        columns = ["image", "saliency", f"its crop,\n{moved:+d} pixels", "saliency"]
        return Mosaic(maps, rows, columns, MAP_COLOURS, "saliency", notes=notes).draw()
