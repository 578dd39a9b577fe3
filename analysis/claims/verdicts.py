"""The paper's claims, each decided by comparisons paired over the same test images.

A comparison is the SPC of one readout minus that of another on the same natural image (and, of
untrained networks of several seeds, in the same network), averaged over images and networks, with a
95 % interval over both (docs/methods.md, "Uncertainty"). A claim makes several, and
holds only when every one has its whole interval above zero: the comparison with the lowest end
decides, and no correction for their number is needed (an intersection-union test).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.claim import READING, Claim, Comparison, Reading
from analysis.labels import STATUS_LABELS
from analysis.read.measured import measure, network_values
from analysis.read.networks import aligned, mean_of_pairs
from analysis.read.published import HEAD, PAPER, position_tables
from analysis.read.results import Results
from analysis.tables.commands import deciding_command, fill_command, situation
from analysis.tables.table import find_tables
from data.intervals import LEAST_IMAGES, replicated_intervals
from data.vocabulary import ALL_LEVELS, CONVERGED, DIVERGED, PIXELS, UNDER_TRAINED

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
NOT_MEASURED = "not measured"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_MEASURED)
EXACT_KERNEL = 3  # larger ones over all levels have matrices of 100 GB and more
COMPARED = [
    *("claim", "statement", "condition", "backbone", "comparison", "published_difference"),
    *("difference", "low", "high", "more", "less", "n_images", "n_networks", "status", "reason"),
    "fill",
]
UNTRUSTED = (UNDER_TRAINED, DIVERGED)  # what a readout that ended so says decides nothing


def every_claim() -> list[Claim]:
    """The claims of every table."""
    return [claim for table in find_tables().values() for claim in table.claims]


def compare_readings(results: Results, measured: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every comparison of every claim: one row per condition, backbone and comparison.

    Columns: claim, statement, condition, backbone, comparison, difference (mean SPC of the one
    minus the other), low and high (95 %), n_images, n_networks, more and less (the two SPCs),
    published_difference (of the paper, NaN where it has none), status (of readouts that did not
    converge), reason (why there is no interval, or empty), fill (the command that would measure
    it, or empty).
    """
    if measured is None:
        measured = measure(results)
    measured = measured[measured["images"] == "test"]
    values = network_values(results)
    values = values[values["images"] == "test"]
    rows = []
    claims = every_claim()
    for condition, part in measured.groupby("condition", sort=False):
        judge = _Judge(results, part, values)
        for claim in claims:
            for backbone in judge.backbones(claim):
                rows += [
                    {
                        "claim": claim.name,
                        "statement": claim.statement,
                        "condition": condition,
                        "backbone": backbone,
                        **judge.compare(claim, backbone, comparison),
                    }
                    for comparison in claim.comparisons
                ]
    return pd.DataFrame(rows, columns=COMPARED)


def decide(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The claims: one row per condition, claim and backbone, from `compare_readings`.

    The columns of the deciding comparison, and: statement, verdict ("holds", "does not hold",
    "undecided", "not measured"), n_comparisons, n_measured, why (the verdict in a few words). A
    claim is undecided where no trusted comparison fails and a readout of another is under-trained
    or diverged; `fill` is then the command that would decide it.
    """
    key = ["condition", "claim", "backbone"]
    rows = [_decide(part) for _, part in comparisons.groupby(key, sort=False)]
    columns = ["statement", "verdict", *comparisons.columns.drop(["statement", "reason"])]
    return pd.DataFrame(rows, columns=[*columns, "n_comparisons", "n_measured", "why"])


class _Judge:
    """Makes the comparisons of one condition."""

    def __init__(self, results: Results, measured: pd.DataFrame, values: pd.DataFrame) -> None:
        self.results = results
        self.known = situation(measured, results)
        self.measured = measured.drop_duplicates(READING).set_index(READING)
        # Only of what is measured: the pixels of a second cache of the same images are left out.
        merged = values.merge(measured[["run", *HEAD, "images", "reads"]].drop_duplicates())
        self.values = {
            key: part.pivot(index="image", columns="network", values="spc")
            for key, part in merged.groupby(READING, sort=False)
        }
        paper = position_tables()
        paper = paper[(paper["source"] == PAPER) & (paper["images"] == "test")]
        paper = paper.assign(
            reads=paper["levels"].where(paper["levels"].str.len() == 2, ALL_LEVELS)
        )
        self.paper = paper[paper["weights"].isin(["imagenet", "-"])].groupby(READING)["spc"].first()

    def backbones(self, claim: Claim) -> list[str]:
        """Those that the paper made the claim for, and those that were measured for it."""
        if claim.made_for == (PIXELS,):
            return [PIXELS]
        present = [b for b in dict.fromkeys(self.measured.index.get_level_values(0)) if b != PIXELS]
        fitting = [
            backbone
            for backbone in present
            if backbone in claim.made_for
            or any(self._measured(c, backbone) for c in claim.comparisons)
        ]
        return fitting or [claim.made_for[0]]

    def _measured(self, comparison: Comparison, backbone: str) -> bool:
        return all(side.key(backbone) in self.values for side in comparison.sides)

    def compare(self, claim: Claim, backbone: str, comparison: Comparison) -> dict[str, Any]:
        """One row of `compare_readings`, without what names it."""
        sides = comparison.sides
        keys = [side.key(backbone) for side in sides]
        published = [self.paper.get(key, np.nan) for key in keys]
        row: dict[str, Any] = {
            "comparison": comparison.text,
            "published_difference": published[0] - (published[1] if len(sides) > 1 else 0.0),
            **dict.fromkeys(("difference", "low", "high", "more", "less"), np.nan),
            **{"n_images": 0, "n_networks": 0, "status": "", "reason": "", "fill": ""},
        }
        missing = [side for side in sides if side.key(backbone) not in self.values]
        if missing:
            return row | {"reason": "not measured", "fill": self._fill(missing[0], backbone)}
        if claim.equal_width and (reason := self._unequal(claim, keys[0])):
            return row | {"reason": reason}
        scores = [self.values[key] for key in keys]
        more = scores[0]
        more, less = aligned(more, scores[1] if len(scores) > 1 else more * 0.0)
        difference = more - less
        both = difference.notna().any(axis=1)
        difference, counted = difference[both], difference.notna()
        row |= {
            "more": mean_of_pairs(more.where(counted)),
            "less": mean_of_pairs(less.where(counted)),
            "n_images": int(both.sum()),
            "n_networks": difference.shape[1],
        }
        row["status"] = self._status(keys)
        if any(status in row["status"] for status in UNTRUSTED):
            exact = all(side.depth == 1 and side.kernel_size <= EXACT_KERNEL for side in sides)
            row["fill"] = deciding_command(self.known, exact=exact)
        if difference.shape[1] == 0:
            return row | {"reason": "of no seed of the backbone are both measured"}
        if len(difference) < LEAST_IMAGES:
            return row | {"reason": f"SPC defined for {len(difference)} images only"}
        ((low, high),) = replicated_intervals(difference.to_numpy()[:, :, None])
        return row | {"difference": mean_of_pairs(difference), "low": low, "high": high}

    def _fill(self, reading: Reading, backbone: str) -> str:
        place, padding, *_ = reading.key(backbone)
        # What the sweep trains, of the paper's backbone and of those that are yet to be extracted.
        swept = place in ("vgg16", PIXELS) or (place, padding) not in self.known.caches
        return fill_command(place, padding, "test", self.known, None if swept else reading)

    def _unequal(self, claim: Claim, key: tuple[Any, ...]) -> str:
        run = self.measured.loc[key, "run"]
        channels = self.results.runs[run].cache.levels
        widths = [channels.get(level) for level in claim.equal_width]
        if len(set(widths)) == 1:
            return ""
        return f"{' and '.join(claim.equal_width)} have {' and '.join(map(str, widths))} channels"

    def _status(self, keys: list[tuple[Any, ...]]) -> str:
        found = dict.fromkeys(self.measured.loc[key, "status"] for key in keys)
        return ", ".join(status for status in found if status != CONVERGED)


def _decide(part: pd.DataFrame) -> dict[str, Any]:
    measured = np.isfinite(part["low"])
    trusted = ~part["status"].map(lambda text: any(status in text for status in UNTRUSTED))
    done, untrusted = part[measured & trusted], part[measured & ~trusted]
    open_ones = part[~measured]
    failed = done[done["low"] <= 0]
    if not failed.empty:
        verdict, row = FAILS, failed.loc[failed["low"].idxmin()]
        why = "the interval is below zero" if row["high"] < 0 else "the interval includes zero"
        why += f" ({len(failed)} of {len(done)} comparisons fail)"
    elif not untrusted.empty:
        verdict, row = UNDECIDED, untrusted.iloc[0]
        why = f"{len(untrusted)} of {len(part)} comparisons rest on such readouts"
    elif not open_ones.empty:
        verdict, row = NOT_MEASURED, open_ones.iloc[0]
        why = f"{row['comparison']}: {row['reason']} ({len(open_ones)} of {len(part)} comparisons)"
    else:
        verdict, row = HOLDS, done.loc[done["low"].idxmin()]
        why = f"{len(done)} of {len(done)} comparisons hold"
    if row["status"]:
        ended = ", ".join(STATUS_LABELS[status] for status in row["status"].split(", "))
        why += f"; a readout of {row['comparison']}: {ended}"
    counts = {"n_comparisons": len(part), "n_measured": int(measured.sum())}
    return {
        "verdict": verdict,
        **row.drop("reason").to_dict(),
        **counts,
        "why": why,
    }
