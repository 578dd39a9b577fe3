"""SPC of single levels by relative depth, every backbone in one figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.scores import nothing
from analysis.figures.style import SOFT, common_legend, draw_series, line_panels, look, looks_of
from analysis.labels import run_label
from analysis.read.results import Results
from analysis.tables.depth import by_depth
from data.targets import pattern_names
from data.vocabulary import PIXELS


def has_single_levels(results: Results) -> bool:
    """Whether any readout reads a single level whose depth was recorded."""
    known = [run for run, settings in results.runs.items() if settings.cache.layers_run]
    rows = results.scores[results.scores["run"].isin(known)]
    return bool(rows["levels"].str.fullmatch(r"f\d").any())


def spc_by_depth(results: Results, measured: pd.DataFrame) -> Figure:
    """SPC on natural images by relative depth: a panel per pattern, a line per run and readout.

    Bands are 95 % intervals over images; the pixels alone are a cross at depth 0.
    """
    rows = by_depth(results, measured)
    rows = rows[rows["relative_depth"].notna()]
    rows["label"] = [
        _label(run_label(row), row.kernel_size, row.depth, row.probe_padding)
        for row in rows.itertuples()
    ]
    patterns = [pattern for pattern in pattern_names() if (rows["pattern"] == pattern).any()]
    order = list(dict.fromkeys(rows["label"]))
    looks = looks_of(measured)
    with look():
        if not patterns:
            return nothing("no readout of a single level was measured")
        figure, panels = line_panels(patterns)
        for panel, pattern in zip(panels, patterns, strict=True):
            for label, line in rows[rows["pattern"] == pattern].groupby("label", sort=False):
                line = line.sort_values("relative_depth")
                if (line["backbone"] == PIXELS).all():
                    panel.plot(0, line["spc"].iloc[0], "x", color=SOFT, label=label)
                    continue
                depth, appearance = line["relative_depth"], looks[line["run"].iloc[0]]
                draw_series(panel, depth, line["spc"], appearance, str(label))
                panel.fill_between(
                    depth,
                    line["spc_low"],
                    line["spc_high"],
                    color=appearance.color,
                    alpha=0.15,
                    linewidth=0,
                )
            panel.set(xlabel="relative depth", ylabel="SPC, natural images", xlim=(-0.03, 1.03))
            panel.tick_params(labelbottom=True)
        common_legend(figure, panels, order, columns=3)
        return figure


def _label(run: str, kernel_size: int, depth: int, probe_padding: int) -> str:
    layers = f", {depth} layers" if depth > 1 else ""
    padded = f", padding {probe_padding}" if probe_padding else ""
    return f"{run}, {kernel_size} x {kernel_size}{layers}{padded}"
