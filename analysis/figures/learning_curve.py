"""How many images a readout needs: scores by the number of training images."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.scores import nothing
from analysis.figures.style import common_legend, draw_series, line_look, line_panels, look
from analysis.read.results import Results
from analysis.tables.quality import READOUT, learning_curves
from data.targets import pattern_names


def learning_curve(results: Results, measured: pd.DataFrame) -> Figure:
    """SPC on natural images by training images, exact readouts: one panel per pattern.

    One line per run, levels, kernel size and probe padding, of the runs in `measured`.
    """
    curves = learning_curves(results)
    curves = curves[curves["run"].isin(measured["run"])]
    patterns = [pattern for pattern in pattern_names() if (curves["pattern"] == pattern).any()]
    kind = [name for name in READOUT if name != "pattern"]
    order = [_label(*key) for key in curves[kind].drop_duplicates().itertuples(index=False)]
    looks = {label: line_look(index) for index, label in enumerate(order)}
    with look():
        if not patterns:
            return nothing("no learning curve: train-probes --solver exact --learning-curve")
        figure, panels = line_panels(patterns)
        for panel, pattern in zip(panels, patterns, strict=True):
            for key, line in curves[curves["pattern"] == pattern].groupby(kind, sort=False):
                label = _label(*key)
                line = line.sort_values("n_train")
                draw_series(panel, line["n_train"], line["spc"], looks[label], label)
            panel.set_xscale("log")
            panel.xaxis.set_major_formatter("{x:.0f}")  # 100, not the 10^2 of mathematics
            panel.xaxis.set_minor_formatter("")
            panel.set(xlabel="training images", ylabel="SPC, natural images")
            panel.tick_params(labelbottom=True)
        common_legend(figure, panels, order, columns=2)
        return figure


def _label(run: str, levels: str, kernel_size: int, depth: int, probe_padding: int) -> str:
    padded = f", padding {probe_padding}" if probe_padding else ""
    return f"{run}: {levels}, {kernel_size} x {kernel_size}{padded}"
