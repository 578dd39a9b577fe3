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
    LineLook,
    common_legend,
    draw_series,
    line_look,
    line_panels,
    look,
    looks_of,
)
from analysis.labels import row_model_label, run_label
from analysis.read.maps import border_profile, first_head, read_maps
from analysis.read.measured import in_table_order, shown_heads, shown_shape
from analysis.read.results import Results
from analysis.tables.table import find_tables
from data.targets import pattern_names, position_map
from data.vocabulary import ALL_LEVELS, PIXELS

_CONSTANT = "constant map, by ring"
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
    chosen = [(name, label, table, varied(measured, name)) for name, label, table in parts]
    titles, panels_of = [], []
    for name, label, table, rows in chosen:
        for _, part in rows.groupby("run", sort=False):
            titles.append(row_model_label(part.iloc[0]))
            panels_of.append((name, label, table, part))
    with look():
        if not titles:
            return nothing("no readouts of several depths or kernel sizes were measured")
        figure, panels = line_panels(titles, columns=2, sharex=False)
        for panel, (name, label, table, rows) in zip(panels, panels_of, strict=True):
            _readout_panel(panel, rows, name, find_tables()[table].published_scores())
            panel.set(xlabel=label, ylabel="SPC, natural images")
        order = [label for p in pattern_names() for label in (p, f"{p}, paper")]
        common_legend(figure, panels, order, columns=3)
        return figure


def has_effect(measured: pd.DataFrame) -> bool:
    """Whether figure 5 has anything to show."""
    return any(not varied(measured, name).empty for name in ("depth", "kernel_size"))


def varied(measured: pd.DataFrame, name: str) -> pd.DataFrame:
    """Natural-image rows of heads of one shape but for `name`, of every run that varies it."""
    same = measured["images"] == "test"
    for column, value in shown_shape(measured).items():
        if column != name:
            same &= measured[column] == value
    rows = measured[same]
    # Patterns measured at one value only say nothing about the effect.
    return rows[rows.groupby(["run", "pattern"])[name].transform("nunique") > 1]


def _readout_panel(panel: Axes, rows: pd.DataFrame, name: str, published: pd.DataFrame) -> None:
    values = sorted(rows[name].unique())
    place = {value: index for index, value in enumerate(values)}
    panel.set_xticks(range(len(values)), [str(value) for value in values])
    for index, (pattern, line) in enumerate(_by(rows, "pattern", list(pattern_names()))):
        line = line.sort_values(name)
        x = np.array([place[value] for value in line[name]]) + 0.06 * (index - 1)
        appearance = line_look(index)
        _line(panel, x, line, pattern, appearance)
        padded = line["backbone_padding"].iloc[0] in ("zeros", "-")  # as the paper's
        paper = published[
            (published["pattern"] == pattern) & (published["backbone"] == line["backbone"].iloc[0])
        ]
        paper = paper if padded else paper.iloc[:0]
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
    for column in ("kernel_size", "depth", "probe_padding"):  # of the same readouts, or none
        published = published[published[column] == shape[column]]
    rows = in_table_order(rows)
    rows = rows.assign(run=[run_label(row) for row in rows.itertuples()])
    looks = looks_of(rows)
    runs = list(looks)
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
                _line(panel, x, line, run, looks[run], joined=joined)
            paper = published[published["pattern"] == pattern]
            if len(paper):
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
    """Error of the readouts of `shown_shape` by distance to the nearest border, natural images.

    One panel per pattern, one line per run: root mean squared error over images and the pixels of
    each ring, over the deviation of the target, which is the error of the best constant map. Bands
    are 95 % over images; dotted, the constant map's own error by ring.
    """
    rows = shown_heads(measured)
    rows = rows[rows["images"] == "test"].drop_duplicates(["run", "pattern"])
    patterns = [pattern for pattern in pattern_names() if (rows["pattern"] == pattern).any()]
    looks = looks_of(in_table_order(rows))
    with look():
        if not patterns:
            return nothing("no readout of all levels together was measured")
        figure, panels = line_panels(patterns)
        for panel, pattern in zip(panels, patterns, strict=True):
            for run, part in _by(rows[rows["pattern"] == pattern], "run", list(looks)):
                row = next(part.itertuples())
                profile = _profile(results, row)
                place = list(looks).index(run)
                spaced = (len(profile) // 12 + place, max(1, len(profile) // 5))
                label = f"{run} (n = {row.n_images:.0f})"
                distance = profile["distance"]
                draw_series(panel, distance, profile["error"], looks[run], label, markevery=spaced)
                panel.fill_between(
                    distance, profile["low"], profile["high"], color=looks[run].color, alpha=0.15
                )
            panel.plot(distance, profile["constant"], **PUBLISHED_LOOK, label=_CONSTANT)
            panel.set(xlabel="distance to the border, % of the side")
            panel.set(ylabel="error, that of a constant map = 1")
            panel.tick_params(labelbottom=True)
        panels[0].set_ylim(bottom=0)  # shared, and after all is drawn: the top follows it
        labels = [text for panel in panels for text in panel.get_legend_handles_labels()[1]]
        order = sorted(dict.fromkeys(map(str, labels)), key=lambda text: text == _CONSTANT)
        common_legend(figure, panels, order, columns=2)
        return figure


def _profile(results: Results, row: Any) -> pd.DataFrame:
    """`border_profile` of the first seed's readout behind a measured row."""
    maps = read_maps(results, row.run, first_head(results, row))
    signed = results.runs[row.run].recipe.signed_stripes
    target = position_map(row.pattern, len(maps.error["test"]), signed_stripes=signed)
    return border_profile(maps, target, "test")


def _by(rows: pd.DataFrame, name: str, order: list[str]) -> list[tuple[str, pd.DataFrame]]:
    found = {str(key): part for key, part in rows.groupby(name, sort=False)}
    return [(key, found[key]) for key in order if key in found]


def _line(
    panel: Axes, x: Any, line: pd.DataFrame, label: str, appearance: LineLook, joined: Any = None
) -> None:
    """Means with 95 % intervals, connected where `joined` (everywhere by default)."""
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
