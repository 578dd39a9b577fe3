"""What a study found, in a few lines: SPC by level beside the paper's, and the verdicts."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.verdicts import NOT_MEASURED, VERDICTS
from analysis.labels import row_model_label
from analysis.read.measured import in_table_order, shape_label, shown_shape
from analysis.read.published import PAPER, position_tables
from analysis.tables.cells import marks, number
from analysis.write.markdown import aligned, plain
from data.vocabulary import ALL_LEVELS

_WIDTH = 118


def finding(measured: pd.DataFrame, claims: pd.DataFrame) -> str:
    """SPC of every run by level, with the paper's, and the verdicts on the claims by their names.

    Of the pattern that most was measured of; the tables have the others. The paper's networks have
    ImageNet weights: nothing is subtracted, since other weights and images are another measurement.
    """
    shape = shown_shape(measured)
    rows = measured[measured["images"] == "test"]
    for name in ("kernel_size", "depth", "probe_padding"):
        rows = rows[rows[name] == shape[name]]
    pattern = str(rows.groupby("pattern", sort=False).size().idxmax())
    part, paper = in_table_order(rows[rows["pattern"] == pattern]), _paper(shape)
    places = [*sorted(set(rows["reads"]) - {ALL_LEVELS}), ALL_LEVELS]
    lines = [[f"SPC of {pattern}", *places]]
    for run, cells in part.groupby("run", sort=False):
        lines.append([str(run), *_values(cells, places)])
    measured_models = set(zip(part["backbone"], part["backbone_padding"], strict=True))
    of_pattern = paper[paper["pattern"] == pattern]
    for model, cells in of_pattern.groupby(["backbone", "backbone_padding"], sort=False):
        if model in measured_models:
            name = f"published: {row_model_label(cells.iloc[0])}"
            lines.append([name, *_values(cells, places)])
    table = [[plain(text) for text in line] for line in lines]
    title = f"### The finding: natural images, {shape_label(shape).partition(', ')[2]}"
    verdicts = _verdicts(claims)
    return "\n".join([title, "", aligned(table, 1), *([""] if verdicts else []), *verdicts, ""])


def _paper(shape: dict[str, Any]) -> pd.DataFrame:
    """The paper's cells on natural images of readouts of this shape, each once."""
    rows = position_tables()
    rows = rows[(rows["source"] == PAPER) & (rows["images"] == "test")]
    rows = rows[rows["weights"].isin(["imagenet", "-"])]
    for name in ("kernel_size", "depth", "probe_padding"):
        rows = rows[rows[name] == shape[name]]
    single = rows["levels"].str.fullmatch(r"f\d")
    rows = rows.assign(reads=rows["levels"].where(single, ALL_LEVELS), status="", n_undefined=0)
    return rows.drop_duplicates(["backbone", "backbone_padding", "pattern", "reads"])


def _values(cells: pd.DataFrame, places: list[str]) -> list[str]:
    found: dict[str, Any] = {str(c.reads): c for c in cells.assign(fill="").itertuples()}
    texts = []
    for place in places:
        if place not in found or not np.isfinite(found[place].spc):
            texts.append("")
            continue
        cell = found[place]
        texts.append(number(cell.spc) + (marks(cell, "spc") if cell.status else ""))
    return texts


def _verdicts(claims: pd.DataFrame) -> list[str]:
    """The claims by verdict, of every condition in which any was decided."""
    lines = []
    for condition, part in claims.groupby("condition", sort=False):
        if (part["verdict"] == NOT_MEASURED).all():
            continue
        lines.append(f"Claims, {plain(str(condition)).partition(';')[0]}:")
        for verdict in VERDICTS:
            held = part.loc[part["verdict"] == verdict, "claim"].drop_duplicates()
            if len(held):
                text = f"- {verdict}: {', '.join(held).replace('_', ' ')}"
                lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ")
    return lines
