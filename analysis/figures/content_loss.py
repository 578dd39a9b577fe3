"""Figure 7 of the paper: the content loss of its equation 4, image by image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.maps import runs_in_order
from analysis.figures.mosaic import ERROR_COLOURS, Mosaic
from analysis.figures.scores import nothing
from analysis.figures.style import look
from analysis.read.maps import first_head, read_maps
from analysis.read.measured import shown_heads
from analysis.read.photographs import photograph
from analysis.read.results import Results
from data.targets import position_map

_PATTERNS = ("H", "V", "G")  # those of equation 4
_PHOTOGRAPH, _LOSS = 0.35, 0.65  # shares of the dimmed photograph and of the loss over it
_NAME = 16  # characters of an image's name that fit above its column


def content_loss(
    predictions: dict[str, NDArray[np.floating]], *, eight_bit: bool = False
) -> NDArray[np.float64]:
    """Equation 4: (|G_H - f_H| + |G_V - f_V| + |G_G - f_G|) / 3 at every pixel, (s, s).

    `predictions` holds the maps f (s, s) read from one image, by pattern; `eight_bit` as of
    `position_map`.
    """
    losses = [
        np.abs(position_map(name, len(found), eight_bit=eight_bit) - found)
        for name, found in ((name, predictions[name]) for name in _PATTERNS)
    ]
    return np.mean(losses, axis=0, dtype=np.float64)


def content_losses(results: Results, measured: pd.DataFrame, images: int = 5) -> Figure:
    """Figure 7: `content_loss` over the dimmed photograph, a row per run and a column per image.

    The first `images` of the test set whose maps are kept; one scale for all. Runs that lack one
    of the patterns H, V and G are left out.
    """
    rows = shown_heads(measured)
    rows = rows[rows["images"] == "test"].drop_duplicates(["run", "pattern"])
    found = {run: _of_run(results, part) for run, part in rows.groupby("run", sort=False)}
    labels = {run: text for run, text in runs_in_order(rows).items() if found[run]}
    with look():
        if not labels:
            return nothing("no run has readouts of H, V and G together")
        names = list(dict.fromkeys(name for run in labels for name in found[run]))[:images]
        # A single bad pixel must not darken the rest: the scale ends at a high percentile.
        losses = [found[run][name] for run in labels for name in names if name in found[run]]
        top = max(float(np.percentile(losses, 99.5)), 1e-12)
        photographs = {name: _first_photograph(results, labels, name) for name in names}
        maps = [
            [_over(photographs[name], found[run].get(name), top) for name in names]
            for run in labels
        ]
        titles = [name.rpartition("/")[2][-_NAME:] for name in names]
        return Mosaic(
            maps, list(labels.values()), titles, ERROR_COLOURS, "content loss", top
        ).draw()


def has_content_losses(measured: pd.DataFrame) -> bool:
    """Whether any run has readouts of all the patterns of equation 4."""
    rows = shown_heads(measured)
    rows = rows[(rows["images"] == "test") & rows["pattern"].isin(_PATTERNS)]
    return bool((rows.groupby("run")["pattern"].nunique() == len(_PATTERNS)).any())


def _of_run(results: Results, rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The loss of every image kept, by name; empty where a pattern is missing."""
    heads = {row.pattern: first_head(results, row) for row in rows.itertuples()}
    if not set(_PATTERNS) <= set(heads):
        return {}
    kept = {name: read_maps(results, rows["run"].iloc[0], heads[name]) for name in _PATTERNS}
    names = kept["H"].names["test"]
    eight_bit = results.runs[rows["run"].iloc[0]].recipe.eight_bit_targets
    return {
        image: content_loss(
            {name: maps.predictions["test"][i] for name, maps in kept.items()},
            eight_bit=eight_bit,
        )
        for i, image in enumerate(names)
    }


def _first_photograph(results: Results, runs: dict[str, str], name: str) -> Any:
    identities = (results.runs[run].cache for run in runs)
    found = (photograph(identity, name) for identity in identities)
    return next((pixels for pixels in found if pixels is not None), None)


def _over(
    pixels: NDArray[np.uint8] | None, loss: NDArray[np.float64] | None, top: float
) -> NDArray[np.floating] | None:
    """The loss as a share of `top`, (s, s), or in colour over the photograph, (s, s, 3)."""
    if loss is None:
        return None
    share = np.clip(loss / top, 0.0, 1.0)
    if pixels is None:
        return share
    grey = pixels.mean(axis=2, keepdims=True) / 255.0
    return _PHOTOGRAPH * grey + _LOSS * colormaps[ERROR_COLOURS](share)[:, :, :3]
