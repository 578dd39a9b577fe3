"""Figures of scores: readout depth and kernel size, levels of the backbone, distance to the border.

Every function takes what `analysis.read.measured.measure` returns, or rows chosen from it, and
returns a matplotlib `Figure`; only the command saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import (
    PUBLISHED_LOOK,
    common_legend,
    draw_series,
    line_look,
    line_panels,
    look,
)
from analysis.labels import model_label
from analysis.read.maps import border_profile, first_head, read_maps
from analysis.read.measured import in_table_order, shown_heads, shown_shape
from analysis.read.results import Results
from analysis.tables.table import find_tables
from data.targets import pattern_names
from data.vocabulary import ALL_LEVELS, PIXELS

_PAPER_LINE = "paper, VGG16 (ImageNet weights)"


def readout_effect(measured: pd.DataFrame) -> Figure:
    """Figure 5: SPC on natural images by depth and by kernel size of the readout.

    One row of panels per varied property, one panel per model that was varied; one line per
    pattern, with 95 % intervals, and the paper's values as hollow markers.
    """
    parts = [
        ("depth", "convolutions in the readout", "2a"),
        ("kernel_size", "kernel size of the readout", "2b"),
    ]
    chosen = [(name, label, table, _varied(measured, name)) for name, label, table in parts]
    titles, panels_of = [], []
    for name, label, table, rows in chosen:
        for backbone in dict.fromkeys(rows["backbone"]):
            titles.append(f"{model_label(backbone)}: {label}")
            panels_of.append((name, table, rows[rows["backbone"] == backbone]))
    with look():
        if not titles:
            return nothing("no readouts of several depths or kernel sizes were measured")
        figure, panels = line_panels(titles, columns=2, sharex=False)
        for panel, (name, table, rows) in zip(panels, panels_of, strict=True):
            _readout_panel(panel, rows, name, find_tables()[table].published_scores())
            panel.set_ylabel("SPC, natural images")
        order = [label for p in pattern_names() for label in (p, f"{p}, paper")]
        common_legend(figure, panels, order, columns=3)
        return figure


def has_effect(measured: pd.DataFrame) -> bool:
    """Whether figure 5 has anything to show."""
    return any(not _varied(measured, name).empty for name in ("depth", "kernel_size"))


def _varied(measured: pd.DataFrame, name: str) -> pd.DataFrame:
    """Natural-image rows of heads of one shape but for `name`, of padded backbones."""
    same = measured["backbone_padding"].isin(["zeros", "-"]) & (measured["images"] == "test")
    for column, value in shown_shape(measured).items():
        if column != name:
            same &= measured[column] == value
    rows = measured[same]
    counts = rows.groupby("backbone")[name].transform("nunique")
    kept = rows[counts > 1]
    # Patterns measured at one value only say nothing about the effect.
    return kept[kept.groupby(["backbone", "pattern"])[name].transform("nunique") > 1]


def _readout_panel(panel: Axes, rows: pd.DataFrame, name: str, published: pd.DataFrame) -> None:
    values = sorted(rows[name].unique())
    place = {value: index for index, value in enumerate(values)}
    panel.set_xticks(range(len(values)), [str(value) for value in values])
    for index, (pattern, line) in enumerate(_by(rows, "pattern", list(pattern_names()))):
        line = line.sort_values(name)
        x = np.array([place[value] for value in line[name]]) + 0.06 * (index - 1)
        appearance = line_look(index)
        _line(panel, x, line, pattern, index)
        paper = published[
            (published["pattern"] == pattern) & (published["backbone"] == line["backbone"].iloc[0])
        ]
        paper = paper[paper[name].isin(place)].sort_values(name)
        panel.plot(
            [place[value] for value in paper[name]],
            paper["spc"],
            **{**PUBLISHED_LOOK, "color": appearance.color},
            marker=appearance.marker,
            label=f"{pattern}, paper",
            linewidth=0.8,
        )


def spc_by_level(measured: pd.DataFrame) -> Figure:
    """SPC on natural images by what a readout reads: pixels, single levels, all together.

    One panel per pattern, one line per run (all conditions and caches), with 95 % intervals, and
    the paper's VGG16 for comparison.
    """
    same = measured["images"] == "test"
    shape = shown_shape(measured)
    for column in ("kernel_size", "depth", "probe_padding"):
        same &= measured[column] == shape[column]
    rows = measured[same].drop_duplicates(["run", "pattern", "reads"])
    rows = rows.assign(reads=rows["reads"].where(rows["backbone"] != PIXELS, PIXELS))
    singles = rows["reads"].str.fullmatch(r"f\d")
    patterns = [p for p in pattern_names() if (rows["pattern"][singles] == p).any()]
    patterns = patterns or [p for p in pattern_names() if (rows["pattern"] == p).any()]
    places = [PIXELS, *sorted(set(rows["reads"]) - {PIXELS, ALL_LEVELS}), ALL_LEVELS]
    place = {reads: index for index, reads in enumerate(places)}
    published = find_tables()["3"].published_scores()
    runs = list(dict.fromkeys(in_table_order(rows)["run"]))
    with look():
        if not patterns:
            return nothing("no readout of natural images was measured")
        figure, panels = line_panels(patterns)
        for panel, pattern in zip(panels, patterns, strict=True):
            part = rows[rows["pattern"] == pattern]
            for run, line in _by(part, "run", runs):
                line = line.sort_values("reads", key=lambda reads: reads.map(place))
                x = line["reads"].map(place).to_numpy(dtype=float)
                joined = line["reads"].str.fullmatch(r"f\d")
                _line(panel, x, line, run, runs.index(run), joined=joined)
            paper = published[published["pattern"] == pattern]
            x = paper["reads"].map(place)
            panel.plot(
                x, paper["spc"], **PUBLISHED_LOOK, marker="o", linewidth=0.8, label=_PAPER_LINE
            )
            panel.set(xlabel="what the readout reads", ylabel="SPC, natural images")
            panel.set_xticks(range(len(places)), places)
            panel.tick_params(labelbottom=True)
        common_legend(figure, panels, [*runs, _PAPER_LINE], columns=2)
        return figure


def error_by_border(results: Results, measured: pd.DataFrame) -> Figure:
    """Error of the readout by distance to the nearest border, natural images, all levels together.

    One panel per pattern, one line per run: root mean squared error, over images and over the
    pixels of each ring.
    """
    rows = shown_heads(measured)
    rows = rows[rows["images"] == "test"].drop_duplicates(["run", "pattern"])
    patterns = [pattern for pattern in pattern_names() if (rows["pattern"] == pattern).any()]
    runs = list(dict.fromkeys(in_table_order(rows)["run"]))
    with look():
        if not patterns:
            return nothing("no readout of all levels together was measured")
        figure, panels = line_panels(patterns, sharey=False)
        for panel, pattern in zip(panels, patterns, strict=True):
            for run, part in _by(rows[rows["pattern"] == pattern], "run", runs):
                index = runs.index(run)
                row = next(part.itertuples())
                maps = read_maps(results, run, first_head(results, row))
                profile = border_profile(maps.error["test"])
                spaced = (len(profile) // 12 + index, max(1, len(profile) // 5))
                curve = profile["distance"], profile["error"]
                draw_series(panel, *curve, index, run, markevery=spaced)
            panel.set(xlabel="distance to the border, % of the side", ylabel="RMS error")
            panel.set_ylim(bottom=0)
            panel.tick_params(labelbottom=True)
        common_legend(figure, panels, runs, columns=3)
        return figure


def _by(rows: pd.DataFrame, name: str, order: list[str]) -> list[tuple[str, pd.DataFrame]]:
    found = {str(key): part for key, part in rows.groupby(name, sort=False)}
    return [(key, found[key]) for key in order if key in found]


def _line(
    panel: Axes, x: Any, line: pd.DataFrame, label: str, index: int, joined: Any = None
) -> None:
    """Means with 95 % intervals, connected where `joined` (everywhere by default)."""
    appearance = line_look(index)
    spread = np.array([line["spc"] - line["spc_low"], line["spc_high"] - line["spc"]])
    panel.errorbar(
        x,
        line["spc"],
        yerr=np.nan_to_num(np.maximum(spread, 0.0)),
        fmt=appearance.marker,
        color=appearance.color,
        elinewidth=0.8,
        capsize=1.8,
        capthick=0.8,
        label=label,
    )
    drawn = np.ones(len(line), dtype=bool) if joined is None else np.asarray(joined)
    panel.plot(
        np.asarray(x)[drawn],
        line["spc"].to_numpy()[drawn],
        color=appearance.color,
        linestyle=appearance.linestyle,
    )


def nothing(text: str) -> Figure:
    """A figure that only says why it is empty."""
    figure = Figure(figsize=(4, 1), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure
