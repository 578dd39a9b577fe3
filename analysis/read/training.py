"""Which heads were trained too little to say anything of the features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from data.protocols import steps_needed, steps_of
from data.vocabulary import DIVERGED, UNDER_TRAINED
from probe.results import RunSettings

GAP = 0.05  # above its exact optimum, as a share, a linear head is under-trained
# Two trainings of one head differ by less: a head must be worse than one inside it by more.
NESTED_GAP = 0.01

# Heads of these are compared with one another; levels, kernel size and depth may then be nested.
_ALIKE = ["run", "pattern", "probe_padding"]


def mark_under_trained(scores: pd.DataFrame, runs: Mapping[str, RunSettings]) -> pd.DataFrame:
    """The scores, with the status "under-trained" of every head that measured facts show to be so.

    They are: fewer steps than its recipe needs; a training loss more than 5 % above the exact
    optimum, where that is known; or a higher training loss than a head of the same run that it
    contains (a smaller kernel, fewer levels or layers), which it could have become. A diverged
    head stays "diverged"; an exact one is at its optimum.
    """
    short = scores["run"].map({run: _too_few_steps(runs[run]) for run in scores["run"].unique()})
    trained = scores["run"].map(lambda run: runs[run].recipe.optimizer != "exact")
    above = scores["optimum_gap"] > GAP
    under = (short | (trained & (above | _worse_than_nested(scores)))).astype(bool)
    return scores.assign(
        status=scores["status"].mask(under & (scores["status"] != DIVERGED), UNDER_TRAINED)
    )


def _too_few_steps(settings: RunSettings) -> bool:
    images = settings.cache.images.counts.get("train")
    if images is None:  # not recorded
        return False
    return steps_of(settings.recipe, images) < steps_needed(settings.recipe)


def _worse_than_nested(scores: pd.DataFrame) -> pd.Series:
    """Whether a head's training loss is above that of a head inside it; by row of `scores`."""
    heads = scores.drop_duplicates(["run", "head"])
    worse = {
        (head.run, head.head)
        for _, alike in heads.groupby(_ALIKE, sort=False)
        for head, least in zip(alike.itertuples(), _least_inside(alike), strict=True)
        if head.train_loss > (1 + NESTED_GAP) * least
    }
    pairs = zip(scores["run"], scores["head"], strict=True)
    return pd.Series([pair in worse for pair in pairs], index=scores.index)


def _least_inside(heads: pd.DataFrame) -> np.ndarray:
    """The least training loss among the heads that each contains, (heads,); NaN where none."""
    levels = [frozenset(text.split("+")) for text in heads["levels"]]
    more_levels = np.array([[own >= other for other in levels] for own in levels])
    contains, equal = more_levels, more_levels & more_levels.T
    for name in ("kernel_size", "depth"):
        values = heads[name].to_numpy()
        contains = contains & (values[:, None] >= values[None, :])
        equal = equal & (values[:, None] == values[None, :])
    inside = contains & ~equal
    losses = np.where(inside, heads["train_loss"].to_numpy()[None, :], np.inf)
    least = np.nanmin(losses, axis=1)
    return np.where(np.isfinite(least), least, np.nan)
