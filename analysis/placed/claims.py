"""What the papers on pooled position claim, decided by comparisons paired over test patches.

A comparison is the accuracy of one reading minus that of another on the same patch, over all its
places, averaged over patches, with a 95 % interval. Claims are decided as those about maps are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.placed.cells import GAP, GMP, LEVEL
from analysis.placed.read import EVERY_CELL, read_patches, read_placed
from data.intervals import LEAST_IMAGES, bootstrap_interval
from probe.results.placed import PLACED_KEY

NOTHING_LEFT = 0.02  # accuracy above chance that counts as none
_BASE = {
    **{"study": "grid", "grid": 3, "border": 0, "backbone_padding": "zeros", "canvas": "black"},
    **{"level": LEVEL, "pooling": GAP, "task": "location", "reading": "ordered"},
    "ring": EVERY_CELL,
}
_CORNERS = {"study": "corners", "grid": 2, "pooling": GMP}

Side = dict[str, Any] | None  # what a reading has besides `_BASE`; None: chance


@dataclass(frozen=True)
class PlacedComparison:
    """`more` is claimed to be read better than `less`; None is chance, raised by `margin`."""

    text: str
    more: Side
    less: Side
    margin: float = 0.0
    published: float = np.nan  # difference of the accuracies of the source


@dataclass(frozen=True)
class PlacedClaim:
    """One sentence, and what decides it."""

    name: str
    statement: str
    comparisons: tuple[PlacedComparison, ...]


CLAIMS = (
    PlacedClaim(
        "pooled-position",
        "Position survives global pooling",
        tuple(
            PlacedComparison(f"{k} x {k}: ordered minus chance", {"grid": k}, None, 0, 1 - 1 / k**2)
            for k in (3, 7)
        ),
    ),
    PlacedClaim(
        "pooled-ordering",
        "The ordering of the channels carries it",
        tuple(
            PlacedComparison(
                f"{k} x {k}: ordered minus permuted",
                {"grid": k},
                {"grid": k, "reading": "permuted"},
                published=published,
            )
            for k, published in ((3, 1 - 0.788), (7, 1 - 0.214))
        ),
    ),
    PlacedClaim(
        "pooled-border",
        "The border is its source",
        (
            PlacedComparison("zeros minus circular padding", {}, {"backbone_padding": "circular"}),
            PlacedComparison(
                f"chance and {NOTHING_LEFT} minus circular padding",
                None,
                {"backbone_padding": "circular"},
                NOTHING_LEFT,
            ),
        ),
    ),
    PlacedClaim(
        "pooled-distance",
        "It fades with the distance to the border",
        (
            PlacedComparison(
                "border 0 minus border 128",
                _CORNERS,
                {**_CORNERS, "border": 128},
                published=1 - 0.516,
            ),
        ),
    ),
    PlacedClaim(
        "pooled-rings",
        "Cells at the edge are told apart better than cells inside",
        (
            PlacedComparison(
                "7 x 7: outermost ring minus ring 2",
                {"grid": 7, "ring": "0"},
                {"grid": 7, "ring": "2"},
            ),
        ),
    ),
    PlacedClaim(
        "pooled-zeros",
        "Zero padding lets more position be read than other paddings",
        tuple(
            PlacedComparison(f"zeros minus {padding}", {}, {"backbone_padding": padding})
            for padding in ("none", "reflect", "replicate")
        ),
    ),
)


def compare_placed(folder: Path) -> pd.DataFrame:
    """Every comparison of every claim that anything was measured of.

    The columns are those of `analysis.claims.verdicts.compare_readings`; accuracies from 0 to 1.
    """
    placed = read_placed(folder)
    names = ["weights", "backbone", "condition"]
    rows = []
    patches = read_patches(folder)
    for key, part in placed.groupby(names, sort=False):
        weights, backbone, condition = map(str, key)
        words = "untrained networks" if weights == "random" else f"{weights} weights"
        judge = _Judge(part, patches)
        rows += [
            {
                "claim": claim.name,
                "statement": claim.statement,
                "condition": f"{words}; {condition}",
                "backbone": backbone,
                **judge.compare(comparison, f"--backbone {backbone} --weights {weights}"),
            }
            for claim in CLAIMS
            if any(judge.has(side) for c in claim.comparisons for side in (c.more, c.less))
            for comparison in claim.comparisons
        ]
    return pd.DataFrame(rows)


class _Judge:
    """Makes the comparisons of one network with all its paddings."""

    def __init__(self, placed: pd.DataFrame, patches: pd.DataFrame) -> None:
        self.placed = placed
        self.patches = patches

    def has(self, side: Side) -> bool:
        """Whether a reading was measured; chance alone is no measurement."""
        return side is not None and not self._rows(side).empty

    def _rows(self, side: dict[str, Any]) -> pd.DataFrame:
        fits = pd.Series(True, index=self.placed.index)
        for name, value in {**_BASE, **side}.items():
            fits &= self.placed[name] == value
        return self.placed[fits]

    def compare(self, comparison: PlacedComparison, network: str) -> dict[str, Any]:
        """One row of `compare_placed`, without what names it."""
        row: dict[str, Any] = {
            "comparison": comparison.text,
            "published_difference": comparison.published,
            **dict.fromkeys(("difference", "low", "high", "more", "less"), np.nan),
            **{"n_images": 0, "status": "", "reason": "", "fill": ""},
        }
        sides = [side for side in (comparison.more, comparison.less) if side is not None]
        missing = [side for side in sides if not self.has(side)]
        if missing:
            return row | {"reason": "not measured", "fill": _command(network, missing[0])}
        chance = float(self._rows(sides[0]).iloc[0]["chance"])
        values = [self._values(side) for side in sides]
        level = pd.Series(chance + comparison.margin, index=values[0].index)
        more = level if comparison.more is None else values[0]
        less = level if comparison.less is None else values[-1]
        difference = (more - less).dropna()  # aligned by patch
        both = difference.index
        row |= {"more": more[both].mean(), "less": less[both].mean(), "n_images": len(both)}
        if len(both) < LEAST_IMAGES:
            return row | {"reason": f"{len(both)} test patches only"}
        low, high = bootstrap_interval(difference.to_numpy(float))
        return row | {"difference": difference.mean(), "low": low, "high": high}

    def _values(self, side: dict[str, Any]) -> pd.Series:
        """Accuracy by patch."""
        first = self._rows(side).iloc[0]
        fits = pd.Series(True, index=self.patches.index)
        for name in PLACED_KEY:
            fits &= self.patches[name] == first[name]
        return self.patches[fits].set_index("patch")["accuracy"]


def _command(network: str, side: dict[str, Any]) -> str:
    wanted = {**_BASE, **side}
    padding = wanted["backbone_padding"]
    padded = "" if padding == "zeros" else f" --padding {padding}"
    corners = f"corners --border {wanted['border']}"
    place = corners if wanted["study"] == "corners" else f"grid --grid {wanted['grid']}"
    return f"extract-features {network}{padded} --placed {place} && train-probes --placed"
