"""One self-contained page: what was run, tables, figures, claims, warnings, how to run it again."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from analysis.claims.verdicts import VERDICTS
from analysis.figures.catalogue import Drawing
from analysis.figures.style import drawn
from analysis.labels import metric_label, model_label
from analysis.read.audits import Audit
from analysis.read.conditions import image_label, weights_label
from analysis.read.results import Results
from analysis.tables import cells
from analysis.tables.grid import Grid
from analysis.tables.quality import QualityTable, quality_lines, quality_tables
from analysis.tables.summary import summary_labels, summary_lines, summary_title
from analysis.write.claims import deciding_text
from data.tools.printable import printable
from data.vocabulary import CONSTANT, CONVERGED, PIXELS, STATUSES

_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}
_PLOT_WIDTH = 150.0  # of the little drawing of a claim's interval, in its own units


@dataclass(frozen=True)
class Content:
    """What goes into a report."""

    results: Results
    measured: pd.DataFrame
    grids: list[Grid]
    claims: pd.DataFrame  # what `analysis.claims.verdicts.decide` gives
    drawings: list[Drawing]
    placed: list[Drawing]  # of placed studies
    commands: list[str]  # that give the results and the report again
    agreement: list[str]  # with the published numbers, in sentences
    audits: list[Audit]  # of the networks


def report(content: Content) -> str:
    """The page as HTML: everything is inside, nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    results = content.results
    return environment.get_template("report.html").render(
        conditions=list(dict.fromkeys(content.measured.get("condition", []))),
        **_summary(content.measured),
        agreement=content.agreement,
        claims=_claim_groups(content.claims),
        verdicts=_counted(content.claims["verdict"]),
        tables=[_table(grid) for grid in content.grids if grid.table.of_maps],
        placed_tables=[_table(grid) for grid in content.grids if not grid.table.of_maps],
        qualities=_qualities(content),
        figures=[_figure(drawing) for drawing in content.drawings],
        placed_figures=[_figure(drawing) for drawing in content.placed],
        runs=[_run(run, results) for run in results.runs],
        status_names=STATUSES,
        statuses=_statuses(results),
        constant=int((_heads(results)["status"] == CONSTANT).sum()),
        unfinished=_unfinished(results),
        audits=[_audit(audit) for audit in content.audits],
        audited_levels=list(dict.fromkeys(level for a in content.audits for level in a.changes)),
        commands=content.commands,
        marks=cells.MARKS,
    )


def _summary(measured: pd.DataFrame) -> dict[str, Any]:
    if measured.empty:  # placed studies alone
        return {"summary": [], "summary_title": "", "summary_labels": 0}
    lines = summary_lines(measured)
    return {
        "summary": lines,
        "summary_title": summary_title(measured),
        "summary_labels": summary_labels(lines),
    }


def _qualities(content: Content) -> list[dict[str, Any]]:
    if content.measured.empty:
        return []
    return [_quality(table) for table in quality_tables(content.results, content.measured)]


def _counted(verdicts: pd.Series) -> list[tuple[str, int]]:
    """How many claims have each verdict, in words that follow the number."""
    counts = [int((verdicts == verdict).sum()) for verdict in VERDICTS]
    plural = ("claims hold", "do not hold", "undecided", "not measured")
    singular = ("claim holds", "does not hold", "undecided", "not measured")
    words = [singular[i] if count == 1 else plural[i] for i, count in enumerate(counts)]
    return list(zip(words, counts, strict=True))


def _table(grid: Grid) -> dict[str, Any]:
    source, metrics = grid.table.source, grid.metrics
    rows: list[dict[str, Any]] = [
        {"labels": labels, "cells": [_cell(c, m, source) for c in found for m in metrics]}
        for labels, found in grid.rows
    ]
    texts = [cell["value"] for row in rows for cell in row["cells"]]
    return {
        "title": grid.title,
        "provenance": grid.provenance,
        "row_names": grid.row_names,
        "columns": grid.columns,
        "metrics": [metric_label(metric) for metric in metrics],
        "rows": rows,
        "notes": cells.legend(texts),
        "missing": grid.missing,
        "published": bool(source),
    }


def _cell(cell: Any, metric: str, source: str) -> dict[str, Any]:
    if cell is None:
        return {"value": cells.NOTHING, "kind": "unasked", "sort": "", "fill": "", "lines": {}}
    value = getattr(cell, metric)
    kind = "value" if np.isfinite(value) else "undefined"
    kind = "missing" if cells.is_missing(cell) else kind
    lines = {"interval": cells.interval(cell, metric), "deviation": ""}
    if np.isfinite(getattr(cell, f"{metric}_sd")):
        lines["deviation"] = f"± {cells.deviation(cell, metric)} over {cell.n_seeds:.0f} seeds"
    if source:
        lines["published"] = cells.published(cell, metric, source)
        lines["difference"] = cells.difference(cell, metric)
    return {
        "value": cells.ours(cell, metric),
        "kind": kind,
        "sort": f"{value:.6f}" if np.isfinite(value) else "",
        "fill": cell.fill,
        "lines": {name: text for name, text in lines.items() if text not in ("", cells.NOTHING)},
    }


def _quality(table: QualityTable) -> dict[str, Any]:
    header, *lines = quality_lines(table)
    return {"title": table.title, "header": header, "lines": lines}


def _claim_groups(claims: pd.DataFrame) -> list[dict[str, Any]]:
    finite = claims[["low", "high", "published_difference"]].to_numpy(dtype=float)
    ends = finite[np.isfinite(finite)]
    scale = min(0.0, *ends, 0.0) - 0.03, max(0.1, *ends, 0.1) + 0.03
    return [
        {"condition": condition, "claims": [_claim(claim, scale) for claim in part.itertuples()]}
        for condition, part in claims.groupby("condition", sort=False)
    ]


def _claim(claim: Any, scale: tuple[float, float]) -> dict[str, Any]:
    def place(value: float) -> float | None:
        share = (value - scale[0]) / (scale[1] - scale[0])
        return round(_PLOT_WIDTH * share, 1) if np.isfinite(value) else None

    drawn = ("low", "high", "difference", "published_difference")
    return {
        "verdict": claim.verdict,
        "rank": VERDICTS.index(claim.verdict) + 1,
        "statement": claim.statement,
        "model": "" if claim.backbone == PIXELS else model_label(claim.backbone),
        "decided": deciding_text(claim) if np.isfinite(claim.low) else "",
        "why": claim.why,
        "fill": claim.fill,
        "plot": {"zero": place(0.0), **{name: place(getattr(claim, name)) for name in drawn}},
    }


def _figure(drawing: Drawing) -> dict[str, str]:
    data = base64.b64encode(drawn(drawing.figure, drawing.kind)).decode()
    return {
        "name": drawing.name,
        "title": drawing.title,
        "caption": drawing.caption,
        "source": f"data:{_MEDIA[drawing.kind]};base64,{data}",
        # Shown no larger than drawn: 96 CSS pixels to the inch, and a little more.
        "width": f"{drawing.figure.get_size_inches()[0] * 110:.0f}",
    }


def _run(run: str, results: Results) -> dict[str, Any]:
    settings = results.runs[run]
    scores = results.scores[results.scores["run"] == run]
    first = scores.iloc[0]
    return {
        "name": run,
        "measured": weights_label(first["weights"], model_label(first["backbone"])),
        "images": image_label(settings.cache),
        "heads": scores["head"].nunique(),
        "seeds": scores["seed"].nunique(),
        "facts": list(_flat(settings.to_json())),
    }


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """Nested settings as lines: `cache.features.taps`, its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, str(value)


def _heads(results: Results) -> pd.DataFrame:
    return results.scores.drop_duplicates(["run", "head"])


def _audit(audit: Audit) -> dict[str, Any]:
    return {
        "labels": (audit.run, audit.network, audit.padding),
        "changes": {level: f"{change:.2g}" for level, change in audit.changes.items()},
        "verdict": audit.verdict,
        "uneven": audit.uneven,
    }


def _statuses(results: Results) -> list[dict[str, Any]]:
    """How many readouts ended how, by run."""
    if not results.runs:
        return []
    heads = _heads(results)
    counts = heads.groupby(["run", "status"], sort=False).size().unstack(fill_value=0)
    return [
        {"run": run, "counts": [int(counts.loc[run].get(status, 0)) for status in STATUSES]}
        for run in results.runs
    ]


def _unfinished(results: Results) -> list[dict[str, Any]]:
    """The readouts that could say more than they do, worst first; "constant" is a finding."""
    heads = _heads(results)
    heads = heads[~heads["status"].isin([CONVERGED, CONSTANT])]
    order = heads["status"].map(STATUSES.index).sort_values(ascending=False, kind="stable")
    columns = ["run", "head", "status", "train_loss", "heldout_loss"]
    return [
        {
            **row,
            "train_loss": f"{row['train_loss']:.4g}",
            "heldout_loss": f"{row['heldout_loss']:.4g}",
        }
        for row in heads.loc[order.index, columns].to_dict("records")
    ]
