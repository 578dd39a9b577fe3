"""The verdicts on the paper's claims, in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.verdicts import UNDECIDED
from analysis.labels import model_label
from analysis.tables.cells import number
from analysis.write.markdown import plain
from data.vocabulary import PIXELS


def claim_lines(claims: pd.DataFrame) -> str:
    """The claims as text, one line each under the heading of their condition."""
    lines = []
    for condition, part in claims.groupby("condition", sort=False):
        lines += [f"### The paper's claims\n\nMeasured on: {plain(str(condition))}.\n"]
        lines += [claim_line(claim) for claim in part.itertuples()] + [""]
    return "\n".join(lines)


def claim_line(claim: Any) -> str:
    """One claim: verdict, statement, the comparison that decides it, its interval."""
    where = "" if claim.backbone == PIXELS else f" ({plain(model_label(claim.backbone))})"
    text = f"- **{claim.verdict}**: {claim.statement}{where}."
    if np.isfinite(claim.low):
        text += f" {deciding_text(claim)};"
    text += f" {claim.why}."
    to = "Decide it" if claim.verdict == UNDECIDED else "Fill"
    return text + (f" {to}: `{plain(claim.fill)}`" if claim.fill else "")


def deciding_text(claim: Any) -> str:
    """The deciding comparison: its two SPCs, their difference and interval, and the paper's."""
    ours = number(claim.difference, signed=True)
    interval = f"{number(claim.low, signed=True)} to {number(claim.high, signed=True)}"
    paper = number(claim.published_difference, signed=True)
    sides = f"{number(claim.more)} against {number(claim.less)}"
    return f"Weakest, {claim.comparison}: {ours} ({sides}; 95 % {interval}; paper {paper})"
