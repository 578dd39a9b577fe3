"""What is claimed of networks trained with global pooling, decided by comparisons over seeds.

A comparison is a score of one network minus that of another of the same seed, which has the same
patches in every part, averaged over seeds, with Student's 95 % interval. Of one seed there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.verdicts import COMPARED
from analysis.tables.pooled import read_pooled
from data.intervals import over_networks

NOTHING_LEFT = 0.02  # accuracy above chance that counts as none
_BASE = {
    **{"task": "location", "head": "linear", "grid": 3, "downsample": "stride"},
    **{"padding": "zeros", "augshift": "", "metric": "accuracy_percent"},
}
_RECIPE = (
    *("patches", "patch_size", "patch_limit", "epochs", "batch_size", "optimizer"),
    "learning_rate",
)
_KINDS = ("crop", "zero", "roll")

Network = dict[str, Any]  # what a network, and its score, have besides `_BASE`


@dataclass(frozen=True)
class Side:
    """The score of a network or, with `without`, what it lies above that of another."""

    network: Network
    without: Network | None = None

    @property
    def networks(self) -> list[Network]:
        """One or two."""
        return [self.network, *([] if self.without is None else [self.without])]


@dataclass(frozen=True)
class PoolingComparison:
    """`more` is claimed to be larger than `less`; None is chance, raised by `margin`."""

    text: str
    more: Side | None
    less: Side | None
    margin: float = 0.0


@dataclass(frozen=True)
class PoolingClaim:
    """One sentence, and what decides it."""

    name: str
    statement: str
    comparisons: tuple[PoolingComparison, ...]


def _shuffle(k: int, task: Network) -> Side:
    """What the shuffle of the channels costs."""
    return Side({"grid": k, **task}, {"grid": k, "head": "permute", **task})


def _claims(grids: list[int], weights: list[str]) -> Iterator[PoolingClaim]:
    """The claims about networks on these grids, and with these lambdas of AugShift."""
    classes = {k: {"task": "classification", "classes": k * k} for k in grids}
    for k in grids:
        size = f"{k} x {k}"
        yield PoolingClaim(
            f"trained-ordering-{k}",
            f"The ordering of the channels carries the place, {size}",
            (
                PoolingComparison(
                    "location: linear minus permute",
                    Side({"grid": k}),
                    Side({"grid": k, "head": "permute"}),
                ),
            ),
        )
        yield PoolingClaim(
            f"trained-location-more-{k}",
            f"The shuffle costs location more than class, of as many classes as cells, {size}",
            (
                PoolingComparison(
                    "cost for location minus cost for class",
                    _shuffle(k, {}),
                    _shuffle(k, classes[k]),
                ),
            ),
        )
        circular = Side({"grid": k, "padding": "circular"})
        yield PoolingClaim(
            f"trained-border-{k}",
            f"The border is the source of the place, {size}",
            (
                PoolingComparison("zeros minus circular padding", Side({"grid": k}), circular),
                PoolingComparison(
                    f"chance and {NOTHING_LEFT} minus circular padding",
                    None,
                    circular,
                    NOTHING_LEFT,
                ),
            ),
        )
    whole = {"task": "classification", "grid": 1}
    for weight in weights:
        yield PoolingClaim(
            f"augshift-{weight}",
            f"AugShift's lambda {weight} makes predictions more consistent than chance agreement "
            "explains (kappa)",
            tuple(
                PoolingComparison(
                    f"{kind}: lambda {weight} minus 0",
                    Side({**whole, "augshift": weight, "metric": f"{kind}_kappa"}),
                    Side({**whole, "augshift": "0", "metric": f"{kind}_kappa"}),
                )
                for kind in _KINDS
            ),
        )


def compare_pooling(folder: Path) -> pd.DataFrame:
    """Every comparison of every claim that anything was measured of.

    The columns are those of `analysis.claims.verdicts.compare_readings`; accuracies from 0 to 1.
    """
    rows = []
    for (condition, network), part in read_pooled(folder).groupby(
        ["condition", "network"], sort=False
    ):
        grids = sorted({int(k) for k in part["grid"] if k > 1})
        weights = sorted(set(part["augshift"]) - {"", "0"}, key=float)
        judge = _Judge(part, str(network))
        rows += [
            {
                "claim": claim.name,
                "statement": claim.statement,
                "condition": condition,
                "backbone": network,
                **judge.compare(comparison),
            }
            for claim in _claims(grids, weights)
            if any(judge.has(c.more) or judge.has(c.less) for c in claim.comparisons)
            for comparison in claim.comparisons
        ]
    return pd.DataFrame(rows, columns=COMPARED)


class _Judge:
    """Makes the comparisons of one network with all its heads, tasks and paddings."""

    def __init__(self, scores: pd.DataFrame, network: str) -> None:
        self.scores, self.network = scores, network

    def has(self, side: Side | None) -> bool:
        """Whether all of a side was measured; chance alone is no measurement."""
        return side is not None and all(len(self._rows(one)) for one in side.networks)

    def _rows(self, network: Network) -> pd.DataFrame:
        fits = pd.Series(True, index=self.scores.index)
        for name, value in {**_BASE, **network}.items():
            fits &= self.scores[name] == value
        return self.scores[fits]

    def compare(self, comparison: PoolingComparison) -> dict[str, Any]:
        """One row of `compare_pooling`, without what names it."""
        row: dict[str, Any] = {
            "comparison": comparison.text,
            **dict.fromkeys(("published_difference", "difference", "low", "high"), np.nan),
            **{"more": np.nan, "less": np.nan, "n_images": 0, "n_networks": 0},
            **{"status": "", "reason": "", "fill": ""},
        }
        sides = [side for side in (comparison.more, comparison.less) if side is not None]
        every = [one for side in sides for one in side.networks]
        missing = [one for one in every if self._rows(one).empty]
        if missing:
            return row | {"reason": "not measured", "fill": self._command(missing[0])}
        first = self._rows(every[0]).iloc[0]
        level = first["chance"] + comparison.margin
        more, less = (
            level if side is None else self._values(side)
            for side in (comparison.more, comparison.less)
        )
        difference = (more - less).dropna()  # aligned by seed
        both = difference.index
        row |= {"n_networks": len(both), "n_images": round(first["n_test"])}
        if len(both) < 2:
            return row | {"reason": "fewer than two seeds in common"}
        means = [side if np.isscalar(side) else side[both].mean() for side in (more, less)]
        (arm,) = over_networks(difference.to_numpy(float)[:, None])
        centre = difference.mean()
        row |= {"more": means[0], "less": means[1], "difference": centre}
        return row | {"low": centre - arm, "high": centre + arm}

    def _values(self, side: Side) -> pd.Series:
        """A score by seed, percent as shares."""
        values = []
        for network in side.networks:
            rows = self._rows(network)
            scale = 100 if rows["metric"].iloc[0].endswith("_percent") else 1
            values.append(rows.groupby("seed")["value"].mean() / scale)
        return values[0] - values[1] if side.without is not None else values[0]

    def _command(self, network: Network) -> str:
        """What trains it by the recipe of the others."""
        recipe = self.scores.iloc[0]
        wanted = {**recipe[list(_RECIPE)], **_BASE, **network, "network": self.network}
        names = ("task", "network", "head", "grid", "classes", "padding", "augshift", *_RECIPE)
        given = {name: wanted[name] for name in names if wanted.get(name, "") != ""}
        words = [
            f"--{name.replace('_', '-')} {f'{value:g}' if isinstance(value, float) else value}"
            for name, value in given.items()
        ]
        words += ["--mirror"] if recipe["mirror"] else []
        return " ".join(["train-backbone", *words, "--seeds 3"])
