"""Scores of heads image by image: of maps, at the protocol's resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.border import ring_means
from data.resample import bilinear_maps
from probe.metrics import METRICS

MAPS_AT_ONCE = 16  # of 224x224 float32: 3 MB, within a processor's cache


@dataclass(frozen=True)
class Scores:
    """Scores of one head on one image set, image by image."""

    # By column (N,), NaN where undefined; the first is the one a control task is judged by.
    metrics: dict[str, NDArray[np.float64]]
    error: NDArray[np.float32] | None = None  # of maps (s, s): squared, averaged over the images
    # Of maps (N, ceil(s / 2)): squared error averaged over each ring of pixels, the border first.
    rings: NDArray[np.float32] | None = None


def score_maps(
    outputs: NDArray[np.float32], target: NDArray[np.float64], device: str = "cpu"
) -> Scores:
    """Every metric and the error map of outputs (N, n, n), upsampled to the target's (s, s).

    On a GPU ranks are computed there; on the CPU by NumPy, one thread a call.
    """
    scorers = {name: metric.against(target, device) for name, metric in METRICS.items()}
    target = target.astype(np.float32)
    error = np.zeros_like(target)
    scores: dict[str, list[NDArray[np.float64]]] = {name: [np.zeros(0)] for name in METRICS}
    rings = []
    for start in range(0, len(outputs), MAPS_AT_ONCE):
        maps = bilinear_maps(outputs[start : start + MAPS_AT_ONCE], len(target))
        for name, scorer in scorers.items():
            scores[name].append(scorer(maps))
        squared = np.square(maps - target)
        error += squared.sum(0)
        rings.append(np.float32(ring_means(squared)))
    joined = {name: np.concatenate(parts) for name, parts in scores.items()}
    return Scores(joined, error / np.float32(len(outputs)), np.concatenate(rings))
