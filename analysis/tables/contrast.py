"""Paired differences between runs that differ in one thing alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from analysis.read.measured import image_values
from analysis.read.results import Results
from analysis.tables.cells import number
from data.intervals import LEAST_IMAGES, bootstrap_interval
from data.tools.errors import UserError
from data.vocabulary import PIXELS

_SHAPE = ["pattern", "reads", "kernel_size", "depth", "probe_padding"]
_ORDER = {"zeros": "", "random": ""}  # what the others are compared with, where it is there


def contrast(results: Results, measured: pd.DataFrame, by: str) -> pd.DataFrame:
    """SPC of one run minus another's that differs from it in `by` alone, by readout.

    One row per pair of runs and readout that both have: more, less (the runs), the columns of
    the readout, difference (mean over the natural images that both have), low and high (95 %,
    paired), n_images. Raises `UserError` where no two runs differ in `by` alone.
    """
    facts = {run: _facts(results, run) for run in results.runs}
    pairs = []
    for one, other in combinations(facts, 2):
        unlike = {name for name in facts[one] if facts[one][name] != facts[other][name]}
        if unlike == {by}:
            first, second = sorted(
                (one, other), key=lambda run: _ORDER.get(facts[run][by], facts[run][by])
            )
            pairs.append((second, first))
    if not pairs:
        raise UserError(f"no two runs of {results.folder} differ in {by} alone: measure another")
    values = image_values(results)
    values = values[values["images"] == "test"]
    shapes = measured[["run", "levels", "reads"]].drop_duplicates()
    values = values.merge(shapes, on=["run", "levels"])
    images = {run: part.set_index([*_SHAPE, "image"])["spc"] for run, part in values.groupby("run")}
    rows = [
        {"more": more, "less": less, **dict(zip(_SHAPE, shape, strict=True)), **_paired(part)}
        for more, less in pairs
        if more in images and less in images
        for shape, part in (images[more] - images[less]).dropna().groupby(_SHAPE, sort=False)
    ]
    names = ["more", "less", *_SHAPE, "difference", "low", "high", "n_images"]
    return pd.DataFrame(rows, columns=names)


def contrast_patterns(
    results: Results, measured: pd.DataFrame, more: str, less: str
) -> pd.DataFrame:
    """SPC of the readouts of one pattern minus that of another's, alike in all else.

    One row per run and readout that has both: run, reads, kernel_size, depth, probe_padding,
    more and less (mean SPC of both patterns), difference, low and high (95 %, paired by image, over
    the natural images), n_images.
    """
    values = image_values(results)
    values = values[(values["images"] == "test") & values["pattern"].isin([more, less])]
    values = values.merge(measured[["run", "levels", "reads"]].drop_duplicates())
    shape = ["run", *_SHAPE[1:]]
    wide = values.pivot(index=[*shape, "image"], columns="pattern", values="spc")
    both = wide.reindex(columns=[more, less]).dropna()
    rows = [
        {
            **dict(zip(shape, key, strict=True)),
            "more": part[more].mean(),
            "less": part[less].mean(),
            **_paired(part[more] - part[less]),
        }
        for key, part in both.groupby(shape, sort=False)
    ]
    names = [*shape, "more", "less", "difference", "low", "high", "n_images"]
    return pd.DataFrame(rows, columns=names)


def contrast_lines(rows: pd.DataFrame) -> list[list[str]]:
    """`contrast` as texts, header first."""
    head = ["run", "minus", "pattern", "levels", "kernel", "layers", "readout padding"]
    lines = [[*head, "SPC", "95 %", "images"]]
    for row in rows.to_dict("records"):
        ends = f"{number(row['low'], signed=True)} to {number(row['high'], signed=True)}"
        texts = [str(row[name]) for name in ("more", "less", *_SHAPE)]
        lines.append([*texts, number(row["difference"], signed=True), ends, str(row["n_images"])])
    return lines


def _facts(results: Results, run: str) -> dict[str, str]:
    first = results.scores[results.scores["run"] == run].iloc[0]
    cache = results.runs[run].cache
    return {
        "backbone": str(first["backbone"]),
        "weights": str(first["weights"]),
        "padding": str(first["backbone_padding"]),
        "normalization": str(first["normalization"]),
        "protocol": str(first["protocol"]),
        "crop_border": str(cache.features.crop_border),
        "seed": "" if first["backbone"] == PIXELS else str(cache.seed),
        "image_size": str(cache.image_size),
        "images": cache.images.sha256,
    }


def _paired(values: pd.Series) -> dict[str, float]:
    found = values.to_numpy()
    low, high = bootstrap_interval(found) if len(found) >= LEAST_IMAGES else (np.nan, np.nan)
    return {"difference": found.mean(), "low": low, "high": high, "n_images": len(found)}
