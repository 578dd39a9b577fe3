"""The paper's claims in the report: verdict, words, and the interval that decides on a scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.verdicts import UNDECIDED, VERDICTS
from analysis.labels import model_label
from analysis.tables.cells import number
from analysis.write.claims import deciding_text
from analysis.write.report.scale import Scale, scale_of
from data.vocabulary import PIXELS


def counted(verdicts: pd.Series) -> list[tuple[str, int]]:
    """How many claims have each verdict, in words that follow the number."""
    counts = [int((verdicts == verdict).sum()) for verdict in VERDICTS]
    plural = ("claims hold", "do not hold", "undecided", "not measured")
    singular = ("claim holds", "does not hold", "undecided", "not measured")
    words = [singular[i] if count == 1 else plural[i] for i, count in enumerate(counts)]
    return list(zip(words, counts, strict=True))


def claim_groups(claims: pd.DataFrame) -> list[dict[str, Any]]:
    """The claims by condition, those that were measured apart from the others; one scale."""
    ends = claims[["low", "high", "published_difference"]].to_numpy(dtype=float)
    scale = scale_of(ends[np.isfinite(claims["low"].to_numpy(dtype=float))].ravel())
    groups = []
    for condition, part in claims.groupby("condition", sort=False):
        every = [_claim(claim, scale) for claim in part.itertuples()]
        groups.append(
            {
                "condition": condition,
                "drawn": [claim for claim in every if claim["plot"]],
                "open": [claim for claim in every if not claim["plot"]],
                "ticks": scale.ticks,
            }
        )
    return groups


def _claim(claim: Any, scale: Scale) -> dict[str, Any]:
    measured = bool(np.isfinite(claim.low))
    return {
        "verdict": claim.verdict,
        "rank": VERDICTS.index(claim.verdict) + 1,
        "statement": claim.statement,
        "model": "" if claim.backbone == PIXELS else model_label(claim.backbone),
        "decided": deciding_text(claim) if measured else "",
        "why": claim.why,
        "to": "To decide it" if claim.verdict == UNDECIDED else "To measure it",
        "fill": claim.fill,
        "plot": _plot(claim, scale) if measured else None,
    }


def _plot(claim: Any, scale: Scale) -> dict[str, Any]:
    ends = f"{number(claim.low, signed=True)} to {number(claim.high, signed=True)}"
    words = f"difference {number(claim.difference, signed=True)}, 95 % interval {ends}"
    if np.isfinite(claim.published_difference):
        words += f"; the paper’s {number(claim.published_difference, signed=True)}"
    return {
        "low": scale.place(claim.low),
        "high": scale.place(claim.high),
        "mean": scale.place(claim.difference),
        "paper": scale.place(claim.published_difference),
        "words": words,
    }
