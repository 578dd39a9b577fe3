"""Image by image: the scores of every run, and the maps of its worst and best images."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from analysis.figures.maps import in_target_range, runs_in_order
from analysis.figures.mosaic import MAP_COLOURS
from analysis.read.maps import HeadMaps, first_head, read_maps
from analysis.read.measured import shape_label, shown_heads, shown_shape
from analysis.read.photographs import photograph
from analysis.read.results import Results
from analysis.tables.cells import number
from analysis.write.report.tables import Block
from data.targets import pattern_names
from data.vocabulary import KEPT_EXTREMES

# What keeps the page small: the first runs alone, and of large sets the ends of the list.
_RUNS = 12
_ROWS = 60
_MAP_STEP = 4  # every fourth pixel of a map: it is smooth
_PHOTOGRAPH = 112  # pixels a side


@dataclass
class _Album:
    """The photographs of the page, each once however many runs scored it."""

    results: Results
    places: dict[tuple[str, bool, str], int | None] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)  # data URLs

    def place(self, run: str, name: str) -> int | None:
        """The number of an image's photograph; None where it is not to be had."""
        cache = self.results.runs[run].cache
        key = cache.images.sha256, cache.features.score_transposed, name
        if key not in self.places:
            pixels = photograph(cache, name)
            self.places[key] = None if pixels is None else len(self.sources)
            if pixels is not None:
                self.sources.append(_photograph(pixels))
        return self.places[key]


def image_by_image(results: Results, measured: pd.DataFrame) -> dict[str, Any] | None:
    """Every run's scores by image, with pictures, for readouts of `shown_shape`; None without any.

    Of several seeds and networks the first, which is the one whose maps are kept.
    """
    if measured.empty:  # placed studies alone
        return None
    rows = shown_heads(measured)
    rows = rows[rows["images"] == "test"].drop_duplicates(["run", "pattern"])
    labels, album = runs_in_order(rows), _Album(results)
    runs = []
    for run in list(labels)[:_RUNS]:
        part = rows[rows["run"] == run]
        heads = {row.pattern: first_head(results, row) for row in part.itertuples()}
        heads = {pattern: heads[pattern] for pattern in pattern_names() if pattern in heads}
        runs.append(_of_run(results, run, heads, album))
    return {
        "shape": shape_label(shown_shape(measured)),
        "runs": runs,
        "left_out": len(labels) - len(runs),
        "photographs": album.sources,
    }


def _of_run(results: Results, run: str, heads: dict[str, str], album: _Album) -> dict[str, Any]:
    scores = results.image_scores
    scores = scores[(scores["run"] == run) & (scores["images"] == "test")]
    strips, spc = [], {}
    for pattern, head in heads.items():
        own = scores[scores["head"] == head].set_index("image")
        spc[pattern] = own["spc"]
        maps = read_maps(results, run, head)
        kept = _kept(maps)
        ranked = own.loc[own.index.isin(list(kept)), "spc"].dropna().sort_values(kind="stable")
        half = min(KEPT_EXTREMES, len(ranked) // 2)
        tiles = [
            {
                "name": name,
                "scores": f"SPC {number(own['spc'][name])}, MAE {number(own['mae'][name])}",
                "photograph": album.place(run, name),
                "map": _map(in_target_range(results, run, pattern, kept[name])),
            }
            for name in [*ranked.index[:half], *ranked.index[len(ranked) - half :]]
        ]
        strips.append(
            {
                "pattern": pattern,
                "worst": tiles[:half],
                "best": tiles[half:],
                "of": len(own) if "test" in maps.extremes else len(kept),
            }
        )
    return {"name": run, "strips": strips, "table": _table(run, pd.DataFrame(spc))}


def _kept(maps: HeadMaps) -> dict[str, NDArray[np.float32]]:
    """The maps of the worst and the best images; older results have those of the first alone."""
    if "test" in maps.extremes:
        return dict(zip(maps.extreme_names["test"], maps.extremes["test"], strict=True))
    return dict(zip(maps.names.get("test", []), maps.predictions.get("test", []), strict=True))


def _table(run: str, spc: pd.DataFrame) -> Block:
    """SPC by image and pattern, the image with the lowest mean first."""
    spc = spc.loc[spc.mean(axis=1).sort_values(kind="stable", na_position="last").index]
    notes = []
    if len(spc) > _ROWS:
        notes = [f"The {_ROWS // 2} worst and the {_ROWS // 2} best of {len(spc)} images."]
        spc = pd.concat([spc.iloc[: _ROWS // 2], spc.iloc[-_ROWS // 2 :]])
    lines = [[str(name), *map(number, values)] for name, *values in spc.itertuples()]
    return Block(f"SPC of {run} by image", ["image", *spc.columns], lines, 1, notes)


def _map(values: NDArray[Any]) -> str:
    """A map with values from 0 to 1 as a data URL."""
    small = np.asarray(values)[_MAP_STEP // 2 :: _MAP_STEP, _MAP_STEP // 2 :: _MAP_STEP]
    image = Image.fromarray(np.uint8(255 * np.clip(np.nan_to_num(small), 0.0, 1.0)), "L")
    palette = colormaps[MAP_COLOURS](np.arange(256), bytes=True)[:, :3]
    image.putpalette(palette.tobytes())
    return _url(image, "png", optimize=True)


def _photograph(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels).resize((_PHOTOGRAPH, _PHOTOGRAPH), Image.Resampling.LANCZOS)
    return _url(image, "jpeg", quality=80)


def _url(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
