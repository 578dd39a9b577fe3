"""From seeds and images to one row per head and image set, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.read.conditions import add_conditions
from analysis.read.networks import network, replicates
from analysis.read.published import HEAD
from analysis.read.results import Results
from data.intervals import replicated_intervals
from data.tools.errors import UserError
from data.tools.settings import listed
from data.vocabulary import ALL_LEVELS, INPUT, PIXELS, STATUSES
from probe.metrics import METRICS
from probe.results import RunSettings

TABLE_1_HEAD = {"reads": ALL_LEVELS, "kernel_size": 3, "depth": 1, "probe_padding": 0}

_ENDS = ("low", "high")  # of an interval
# Worst last: seeds of one head are reported by the worst of them.
_SEVERITY = {status: rank for rank, status in enumerate(STATUSES)}


def measure(results: Results) -> pd.DataFrame:
    """One row per condition, head (seeds of head and backbone together) and image set.

    Columns: condition, `HEAD`, weights, images, run (of several networks, the first), protocol,
    normalization, reads (`levels`, or "all" where a head reads every level of its backbone), spc,
    mae and what other `METRICS` there are (means over networks, seeds and images), *_low and *_high
    (95 % interval over images and networks, of the mean over seeds; NaN where there is none), *_sd
    (over networks where there are several, else over seeds; NaN for one), n_networks (seeds of the
    backbone), n_readout_seeds (of the head), n_seeds (those that *_sd is over), n_images,
    n_undefined (over all), status (the worst).
    """
    scores = add_conditions(results)
    first = replicates(results)
    kept = ["weights", "protocol", "normalization"]
    key = ["condition", "run", *HEAD, "images"]
    alone = scores.groupby(key, sort=False, as_index=False).agg(
        **{name: (name, "first") for name in kept}, **summary("seed")
    )
    table = _together(alone.assign(network=alone["run"], run=alone["run"].map(first)), key, kept)
    every = {run: all_levels(settings) for run, settings in results.runs.items()}
    table["reads"] = [
        ALL_LEVELS if levels == every[run] else levels
        for run, levels in zip(table["run"], table["levels"], strict=True)
    ]
    intervals = _intervals(network_values(results))
    return table.merge(intervals, how="left", on=["run", *HEAD, "images"], validate="m:1")


def _together(alone: pd.DataFrame, key: list[str], kept: list[str]) -> pd.DataFrame:
    """One row per `key` from rows per network, which have the columns of `summary`."""
    groups = alone.groupby(key, sort=False, as_index=False)
    table = groups.agg(
        **{name: (name, "first") for name in kept},
        **summary("network"),
        n_readout_seeds=("n_seeds", "max"),
    ).rename(columns={"n_seeds": "n_networks"})
    several = table["n_networks"] > 1
    own = groups.agg(**{name: (name, "first") for name in table if name.endswith("_sd")})
    for name in own.columns.drop(key):
        table[name] = table[name].where(several, own[name])
    return table.assign(n_seeds=table["n_networks"].where(several, table["n_readout_seeds"]))


def select(
    measured: pd.DataFrame, backbone: Sequence[str] = (), levels: Sequence[str] = ()
) -> pd.DataFrame:
    """The rows of some backbones and levels ("f5", "f1+f2" or "all"); an empty choice keeps all.

    Raises `UserError` for a backbone or levels that no row has, and where none has both.
    """
    for option, names, wanted in (
        ("--backbone", ["backbone"], backbone),
        ("--levels", ["levels", "reads"], levels),
    ):
        known = list(dict.fromkeys(value for name in names for value in measured[name]))
        for value in wanted:
            if value not in known:
                raise UserError(f"no scores of {option} {value}: use {listed(value, known)}")
    chosen = choose(measured, backbone, levels)
    if chosen.empty:
        raise UserError(
            f"no scores of --backbone {', '.join(backbone)} with --levels {', '.join(levels)}: "
            "leave one of them out"
        )
    return chosen


def choose(
    rows: pd.DataFrame, backbone: Sequence[str] = (), levels: Sequence[str] = ()
) -> pd.DataFrame:
    """As `select`, but of no row where nothing fits."""
    kept = pd.Series(True, index=rows.index)
    if backbone:
        kept &= rows["backbone"].isin(backbone)
    if levels:
        kept &= rows["reads"].isin(levels) | rows["levels"].isin(levels)
    return rows[kept]


def all_levels(settings: RunSettings) -> str:
    """The levels of a run's backbone together, `f1+f2+f3+f4+f5`; `input` for the pixels."""
    levels = [level for level in settings.cache.levels if level != INPUT]
    return "+".join(levels) or INPUT


def shown_shape(measured: pd.DataFrame) -> dict[str, Any]:
    """What readouts figures show: those of table 1 (all levels, 3 x 3, one layer) if measured.

    Else those that were measured most, all levels before others: by column of `TABLE_1_HEAD`.
    """
    shapes = measured.groupby(list(TABLE_1_HEAD), as_index=False).size()
    order = pd.DataFrame(
        {
            "table_1": ~(shapes[list(TABLE_1_HEAD)] == pd.Series(TABLE_1_HEAD)).all(axis=1),
            "levels": shapes["reads"] != ALL_LEVELS,
            "count": -shapes["size"],
            "kernel": shapes["kernel_size"],
        }
    )
    first = shapes.loc[order.sort_values(list(order)).index[0]]
    return {name: first[name] for name in TABLE_1_HEAD}


def shape_label(shape: Mapping[str, Any]) -> str:
    """A shape in words: "all levels, 3 x 3, one layer"."""
    levels = "all levels" if shape["reads"] == ALL_LEVELS else f"level {shape['reads']}"
    layers = "one layer" if shape["depth"] == 1 else f"{shape['depth']} layers"
    padding = f", readout padding {shape['probe_padding']}" if shape["probe_padding"] else ""
    return f"{levels}, {shape['kernel_size']} x {shape['kernel_size']}, {layers}{padding}"


def shown_heads(measured: pd.DataFrame) -> pd.DataFrame:
    """Rows of the readouts of `shown_shape`, of any backbone and padding."""
    same = pd.Series(True, index=measured.index)
    for column, value in shown_shape(measured).items():
        same &= measured[column] == value
    return measured[same]


def in_table_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of table 4: pixels, then zero padding before the others."""
    order = pd.DataFrame(
        {
            "backbone": rows["backbone"] != PIXELS,
            "name": rows["backbone"],
            "padding": rows["backbone_padding"].map(lambda padding: padding != "zeros"),
            "kind": rows["backbone_padding"],
            "run": rows["run"],
            "probe": rows["probe_padding"],
        }
    )
    return rows.loc[order.sort_values(list(order), kind="stable").index]


def network_values(results: Results, first: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Metrics of every head (mean over its seeds) and image: run, network, `HEAD`, images, image.

    `run` is the first of several networks (as `first` has it; by default, `replicates`), `network`
    the seed of the backbone or `ALONE`.
    """
    heads = results.scores[["run", "head", *HEAD]].drop_duplicates()
    table = results.image_scores.merge(heads, on=["run", "head"], validate="m:1")
    table["network"] = table["run"].map({run: network(run, results) for run in results.runs})
    table["run"] = table["run"].map(first or replicates(results))
    key = ["run", "network", *HEAD, "images", "image"]
    return table.groupby(key, sort=False, as_index=False)[list(METRICS)].mean()


def image_values(results: Results) -> pd.DataFrame:
    """`network_values`, means over networks: run, `HEAD`, images, image."""
    key = ["run", *HEAD, "images", "image"]
    values = network_values(results)
    return values.groupby(key, sort=False, as_index=False)[list(METRICS)].mean()


def summary(seed: str) -> dict[str, Any]:
    """How measured rows of one head become one: named aggregations, `seed` tells them apart."""
    return {
        **{name: (name, "mean") for name in METRICS},
        **{f"{name}_sd": (name, "std") for name in METRICS},
        "n_seeds": (seed, "nunique"),
        "n_images": ("n_images", "first"),
        "n_undefined": ("n_undefined", "sum"),
        "status": ("status", lambda status: max(status, key=_SEVERITY.__getitem__)),
    }


def interval_columns(values: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """`key`, *_low and *_high: intervals of every metric's mean over images and networks.

    `values` has a row per image, network and `key`, with all images for every key.
    """
    found = values[key].drop_duplicates()
    if found.empty:
        return found.reindex(columns=[*key, *(f"{m}_{end}" for m in METRICS for end in _ENDS)])
    for metric in METRICS:
        wide = values.pivot(index="image", columns=["network", *key], values=metric)
        columns = wide.columns.droplevel("network").unique()
        of_networks = [wide[seed].reindex(columns=columns) for seed in wide.columns.unique(0)]
        ends = replicated_intervals(np.stack(of_networks, axis=1))
        ends = np.clip(ends, *METRICS[metric].bounds)
        piece = columns.to_frame(index=False)
        piece[[f"{metric}_{end}" for end in _ENDS]] = ends
        found = found.merge(piece, on=key)
    return found


def _intervals(values: pd.DataFrame) -> pd.DataFrame:
    """Intervals of all heads, `interval_columns` of each image set of a run or of several."""
    parts = values.groupby(["run", "images"], sort=False)
    return pd.concat(
        [interval_columns(part, ["run", *HEAD, "images"]) for _, part in parts], ignore_index=True
    )
