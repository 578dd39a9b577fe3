"""Untrained networks of several seeds: replicates of one measurement (docs/methods.md, "Seeds").

Runs that differ in nothing but the seed of the backbone's random weights belong together and bear
the name of the first of them, that of the lowest seed.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from analysis.read.results import Results
from data.cache.identity import RANDOM, canonical_json

ALONE = -1  # in the place of a seed: the network is none of several


def replicates(results: Results) -> dict[str, str]:
    """Every run, and the first of the runs that it belongs with (itself, if it is alone)."""
    groups: dict[str, dict[int, str]] = {}
    for run in results.runs:
        members = groups.setdefault(_all_but_seed(run, results), {})
        if members.setdefault(network(run, results), run) != run:  # a copy, under another name
            groups[run] = {ALONE: run}
    return {run: members[min(members)] for members in groups.values() for run in members.values()}


def network(run: str, results: Results) -> int:
    """The seed of the run's backbone; `ALONE` for the pixels and weights of other kinds."""
    cache = results.runs[run].cache
    return cache.seed if cache.weights == RANDOM else ALONE


def aligned(more: pd.DataFrame, less: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables of values (images x networks) with the images and networks of both.

    What is `ALONE` stands beside every network of the other.
    """
    if list(less) == [ALONE]:
        less = pd.DataFrame(dict.fromkeys(more, less[ALONE]))
    elif list(more) == [ALONE]:
        more = pd.DataFrame(dict.fromkeys(less, more[ALONE]))
    return more.align(less, join="inner")


def mean_of_pairs(values: pd.DataFrame) -> float:
    """The mean over images of the mean over networks, of what is defined."""
    return float(values.mean(axis=1).mean())


def _all_but_seed(run: str, results: Results) -> str:
    """What must be equal in the runs of one group, as text."""
    settings = results.runs[run]
    if settings.cache.weights != RANDOM:
        return run
    cache = replace(settings.cache, seed=0, weights_sha256="", calibration=None)
    return canonical_json(replace(settings, cache=cache).content())
