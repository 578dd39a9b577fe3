"""Figures of maps: targets, predictions, the effect of padding, and where the errors are.

Every function returns a matplotlib `Figure`; only the command saves. `measured` holds rows of one
condition, or of several whose runs then stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.mosaic import ERROR_COLOURS, MAP_COLOURS, Mosaic
from analysis.figures.scores import nothing, varied
from analysis.figures.style import look
from analysis.labels import cell_label, row_model_label
from analysis.read.maps import HeadMaps, first_head, read_maps
from analysis.read.measured import in_table_order, shown_heads, shown_shape
from analysis.read.photographs import photograph
from analysis.read.results import Results
from analysis.tables.cells import number
from data.targets import PATTERNS, pattern_names, position_map
from data.vocabulary import PIXELS, SCORED_SETS

_TARGET_RANGE = "position, in the target's range"
_STRIPES = ("HS", "VS")
_NO_TABLE_1_HEAD = "no readout of all levels together was measured"


def targets() -> Figure:
    """Figure 3: the five position maps a readout is trained to give."""
    maps: list[NDArray[Any] | None] = [position_map(pattern) for pattern in PATTERNS]
    with look():
        return Mosaic([maps], [""], list(PATTERNS), MAP_COLOURS, _TARGET_RANGE).draw()


def predictions(results: Results, measured: pd.DataFrame) -> Figure:
    """Figure 4: what each run predicts for each pattern, for one image of every set.

    The first column has the image, where it can be had, the others a pattern each; the first row
    has the targets. Readouts are those of `shown_shape`, of the first seed; the natural image is
    the first of the test set.
    """
    rows = shown_heads(measured).drop_duplicates(["run", "pattern", "images"])
    measured_sets = rows["images"].unique()
    sets = [name for name in SCORED_SETS if name in measured_sets]
    sets += [name for name in measured_sets if name not in SCORED_SETS]
    if not sets:
        with look():
            return nothing(_NO_TABLE_1_HEAD)
    patterns = [name for name in pattern_names() if (rows["pattern"] == name).any()]
    maps: list[list[NDArray[Any] | None]] = [[None, *map(position_map, patterns)]]
    titles = ["target"]
    for run, name in runs_in_order(rows).items():
        found = {pattern: _maps(results, rows, run, pattern) for pattern in patterns}
        for images in sets:
            tiles = [_predicted(results, run, p, m, images) for p, m in found.items()]
            maps.append([_input(results, run, found.values(), images), *tiles])
            titles.append(f"{name}\n{'natural' if images == 'test' else images} image")
    with look():
        return Mosaic(maps, titles, ["image", *patterns], MAP_COLOURS, _TARGET_RANGE).draw()


def padding_effect(results: Results, measured: pd.DataFrame) -> Figure:
    """Figure 6: predictions by padding, of the backbone and of the readout, with their scores.

    Columns are the rows of table 4 and their like. Shown is the first test image; under each map
    stand SPC and MAE, means over the test set.
    """
    rows = _by_padding(measured)
    patterns = [pattern for pattern in pattern_names() if (rows["pattern"] == pattern).any()]
    if not patterns:
        with look():
            return nothing("no backbone or readout was measured with several paddings")
    columns = rows.drop_duplicates(_PLACE)
    labels = [_broken(row_model_label(column)) for column in columns.itertuples()]
    maps: list[list[NDArray[Any] | None]] = []
    captions: list[list[str]] = []
    for pattern in patterns:
        maps.append([None, position_map(pattern)])
        captions.append(["", ""])
        part = rows[rows["pattern"] == pattern].set_index(_PLACE)
        for place in zip(*(columns[name] for name in _PLACE), strict=True):
            if place not in part.index:
                maps[-1].append(None)
                captions[-1].append("")
                continue
            row = next(part.loc[[place]].reset_index().itertuples())
            found = read_maps(results, row.run, first_head(results, row))
            if maps[-1][0] is None:
                maps[-1][0] = _input(results, row.run, [found], "test")
            maps[-1].append(_predicted(results, row.run, pattern, found, "test"))
            spc = number(row.spc) if np.isfinite(row.spc) else "undefined"
            captions[-1].append(f"SPC {spc}\nMAE {number(row.mae)}")
    with look():
        columns_shown = ["image", "target", *labels]
        return Mosaic(
            maps, patterns, columns_shown, MAP_COLOURS, _TARGET_RANGE, captions=captions
        ).draw()


def effect_maps(results: Results, measured: pd.DataFrame) -> Figure:
    """Beside figure 5, the maps behind it: G by depth and by kernel size of the readout.

    A row per run and varied property, after the target a map for each value: the prediction for
    the first test image, with its SPC, a mean over the test set. Another pattern where G was not
    varied.
    """
    maps: list[list[NDArray[Any] | None]] = []
    names, captions = [], []
    for name in ("depth", "kernel_size"):
        for run, part in varied(measured, name).groupby("run", sort=False):
            pattern = "G" if (part["pattern"] == "G").any() else str(part["pattern"].iloc[0])
            maps.append([position_map(pattern)])
            names.append(row_model_label(part.iloc[0]))
            captions.append([f"target {pattern}"])
            line = part[part["pattern"] == pattern].sort_values(name)
            for row in line.itertuples():
                found = read_maps(results, str(run), first_head(results, row))
                maps[-1].append(_predicted(results, str(run), pattern, found, "test"))
                label = cell_label(name, getattr(row, name))
                captions[-1].append(f"{label}\nSPC {number(row.spc)}")
    with look():
        columns = [""] * max(map(len, maps), default=0)
        return Mosaic(maps, names, columns, MAP_COLOURS, _TARGET_RANGE, captions=captions).draw()


def error_maps(results: Results, measured: pd.DataFrame) -> Figure:
    """Where readouts err: the squared error at every pixel, averaged over the test images.

    One row per pattern with its own scale, one column per run.
    """
    rows = shown_heads(measured)
    rows = rows[rows["images"] == "test"].drop_duplicates(["run", "pattern"])
    runs = runs_in_order(rows)
    patterns = [pattern for pattern in pattern_names() if (rows["pattern"] == pattern).any()]
    maps: list[list[NDArray[Any] | None]] = []
    notes = []
    for pattern in patterns:
        found = [_maps(results, rows, run, pattern) for run in runs]
        errors = [None if m is None else m.error["test"] for m in found]
        # A single bad pixel must not darken the rest: the scale ends at a high percentile.
        top = max(float(np.percentile(error, 99.5)) for error in errors if error is not None)
        maps.append([None if error is None else error / max(top, 1e-12) for error in errors])
        notes.append(f"0 to {number(top)}")
    with look():
        if not patterns:
            return nothing(_NO_TABLE_1_HEAD)
        columns = [_broken(name) for name in runs.values()]
        meaning = "share of the largest of the row"
        return Mosaic(maps, patterns, columns, ERROR_COLOURS, meaning, notes=notes).draw()


def has_paddings(measured: pd.DataFrame) -> bool:
    """Whether figure 6 has anything to show: of a backbone, where there is one."""
    shown = set(_by_padding(measured)["backbone"])
    return bool(shown) and (shown != {PIXELS} or set(measured["backbone"]) == {PIXELS})


_PLACE = ["run", "backbone", "backbone_padding", "probe_padding"]


def _by_padding(measured: pd.DataFrame) -> pd.DataFrame:
    """Natural-image rows of models measured with several paddings, in the order of table 4."""
    shape = shown_shape(measured)
    same = (measured["images"] == "test") & measured["pattern"].isin(["H", "G", "HS"])
    for name in ("reads", "kernel_size", "depth"):
        same &= measured[name] == shape[name]
    rows = measured[same]
    paddings = rows.groupby("backbone")[["backbone_padding", "probe_padding"]]
    rows = rows[paddings.transform("nunique").max(axis=1) > 1]
    order = in_table_order(rows)
    return order.drop_duplicates([*_PLACE, "pattern"])


def runs_in_order(rows: pd.DataFrame) -> dict[str, str]:
    """Run -> its label, in the order of the tables; runs that would read alike keep their names."""
    firsts = in_table_order(rows).drop_duplicates("run")
    labels = {row.run: row_model_label(row) for row in firsts.itertuples()}
    texts = list(labels.values())
    return {run: text if texts.count(text) == 1 else run for run, text in labels.items()}


def _broken(label: str) -> str:
    """A label in short lines, to stand above a map."""
    return label.replace(", ", "\n").replace(" w/o", "\nw/o").replace("readout ", "readout\n")


def _predicted(
    results: Results, run: str, pattern: str, maps: HeadMaps | None, images: str
) -> NDArray[Any] | None:
    """The first prediction for an image set, scaled so that the target spans 0 to 1."""
    if maps is None or images not in maps.predictions:
        return None
    return in_target_range(results, run, pattern, maps.predictions[images][0])


def in_target_range(
    results: Results, run: str, pattern: str, shown: NDArray[np.floating]
) -> NDArray[Any]:
    """A prediction of a run, scaled so that the target spans 0 to 1."""
    signed = results.runs[run].recipe.signed_stripes
    return (shown + 1.0) / 2.0 if signed and pattern in _STRIPES else shown


def _input(
    results: Results, run: str, kept: Iterable[HeadMaps | None], images: str
) -> NDArray[Any] | None:
    """The image behind the first prediction for an image set, where it can be had."""
    for maps in kept:
        if maps is not None and maps.names.get(images):
            return photograph(results.runs[run].cache, maps.names[images][0], images)
    return None


def _maps(results: Results, rows: pd.DataFrame, run: str, pattern: str) -> HeadMaps | None:
    part = rows[(rows["run"] == run) & (rows["pattern"] == pattern)]
    if part.empty:
        return None
    return read_maps(results, run, first_head(results, next(part.itertuples())))
