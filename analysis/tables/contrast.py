"""Paired differences between runs that differ in one thing alone."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from analysis.read.measured import network_values
from analysis.read.networks import ALONE, aligned, mean_of_pairs, replicates
from analysis.read.results import Results
from analysis.tables.cells import number
from data.intervals import replicated_intervals
from data.targets import pattern_names
from data.tools.errors import UserError
from data.vocabulary import PIXELS

_SHAPE = ["pattern", "reads", "kernel_size", "depth", "probe_padding"]
_ORDER = {"zeros": "", "random": ""}  # what the others are compared with, where it is there


def contrast(results: Results, measured: pd.DataFrame, by: str) -> pd.DataFrame:
    """SPC of one run minus another's that differs from it in `by` alone, by readout.

    Untrained networks of several seeds count as one run, that of the lowest, unless `by` is seed.
    One row per pair of runs and readout that both have: more, less (the runs), the columns of
    the readout, difference (mean over the natural images, and the seeds, that both have), low and
    high (95 %, paired), n_images, n_networks. Raises `UserError` where no two runs differ in `by`
    alone.
    """
    first = replicates(results)
    found_pairs = pairs(results, by)
    if not found_pairs:
        raise UserError(f"no two runs of {results.folder} differ in {by} alone: measure another")
    group = {run: run for run in first} if by == "seed" else first
    # Runs of one network each, or the networks of each run.
    values = network_values(results, group)
    values = values.assign(network=ALONE) if by == "seed" else values
    shapes = measured[["run", "levels", "reads"]].drop_duplicates()
    found = _by_run(values.assign(shown=values["run"].map(first)), shapes)
    rows = [
        {"more": more, "less": less, **dict(zip(_SHAPE, shape, strict=True)), **_paired(part)}
        for more, less in found_pairs
        if more in found and less in found
        for shape, part in _by_readout(_differences(found[more], found[less]))
    ]
    names = ["more", "less", *_SHAPE, "difference", "low", "high", "n_images", "n_networks"]
    return pd.DataFrame(rows, columns=names)


def pairs(results: Results, by: str) -> list[tuple[str, str]]:
    """The runs that differ in `by` alone, as (more, less) of `contrast`."""
    first = replicates(results)
    group = {run: run for run in first} if by == "seed" else first
    facts = {run: _facts(results, run) for run in results.runs if group[run] == run}
    if by != "seed":
        facts = {run: {**known, "seed": ""} for run, known in facts.items()}
    found = []
    for one, other in combinations(facts, 2):
        unlike = {name for name in facts[one] if facts[one][name] != facts[other][name]}
        if unlike == {by}:
            less, more = sorted(
                (one, other), key=lambda run: _ORDER.get(facts[run][by], facts[run][by])
            )
            found.append((more, less))
    return found


def _by_run(values: pd.DataFrame, shapes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """SPC on natural images by run: readout and image by network.

    `shapes`: what the runs that are `shown` read, as the readouts say it.
    """
    values = values[values["images"] == "test"]
    values = values.merge(shapes.rename(columns={"run": "shown"}), on=["shown", "levels"])
    index = [*_SHAPE, "image"]
    return {
        str(run): part.pivot(index=index, columns="network", values="spc").reindex(
            part.set_index(index).index.unique()  # in the order of the results
        )
        for run, part in values.groupby("run")
    }


def _differences(more: pd.DataFrame, less: pd.DataFrame) -> pd.DataFrame:
    one, other = aligned(more, less)
    return (one - other).dropna(how="all")


def _by_readout(differences: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """The rows of every readout, patterns in their order."""
    place = list(pattern_names()).index
    groups = differences.groupby(_SHAPE, sort=False)
    return sorted(groups, key=lambda found: place(found[0][0]))


def contrast_patterns(
    results: Results, measured: pd.DataFrame, more: str, less: str
) -> pd.DataFrame:
    """SPC of the readouts of one pattern minus that of another's, alike in all else.

    One row per run and readout that has both: run, reads, kernel_size, depth, probe_padding,
    more and less (mean SPC of both patterns), difference, low and high (95 %, paired by image, over
    the natural images), n_images.
    """
    values = network_values(results)
    values = values[(values["images"] == "test") & values["pattern"].isin([more, less])]
    values = values.merge(measured[["run", "levels", "reads"]].drop_duplicates())
    shape = ["run", *_SHAPE[1:]]
    wide = values.pivot(index=[*shape, "image", "network"], columns="pattern", values="spc")
    both = wide.reindex(columns=[more, less]).dropna()
    rows = [
        {
            **dict(zip(shape, key, strict=True)),
            "more": part[more].mean(),
            "less": part[less].mean(),
            **_paired((part[more] - part[less]).unstack("network")),
        }
        for key, part in both.groupby(shape, sort=False)
    ]
    names = [*shape, "more", "less", "difference", "low", "high", "n_images", "n_networks"]
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


def _paired(values: pd.DataFrame) -> dict[str, float]:
    """The mean of differences (images x networks), and its interval."""
    ((low, high),) = replicated_intervals(values.to_numpy()[:, :, None])
    counts = {"n_images": values.shape[0], "n_networks": values.shape[1]}
    return {"difference": mean_of_pairs(values), "low": low, "high": high, **counts}
