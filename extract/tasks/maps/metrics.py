"""Scores of saliency maps and of segmentations, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from extract.tasks.maps.pairs.masks import VOID

BETA_SQUARED = 0.3  # Achanta et al. 2009: precision weighs more than recall
THRESHOLDS = 255  # of the maximum F-measure: k / 255 for k = 1 ... 255


def f_measure(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """F-measure (beta^2 = 0.3) of one binary map; 0 where nothing is found rightly."""
    hits = float(np.count_nonzero(found & truth))
    weighted = np.count_nonzero(found) + BETA_SQUARED * np.count_nonzero(truth)
    return (1 + BETA_SQUARED) * hits / weighted if hits else 0.0


def adaptive_threshold(saliency: NDArray[np.floating]) -> float:
    """Twice the mean of a map, at most its maximum (Achanta et al., CVPR 2009)."""
    return float(min(2.0 * saliency.mean(dtype=np.float64), saliency.max()))


def adaptive_f_measure(saliency: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """F-measure of one map, of the pixels at least as salient as its adaptive threshold."""
    return f_measure(saliency >= adaptive_threshold(saliency), truth)


def f_measure_curve(
    saliency: NDArray[np.floating], truth: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """F-measure of one map in [0, 1] at the thresholds k / 255, k = 1 ... 255: (255,)."""
    steps = np.clip(np.floor(saliency.astype(np.float64) * THRESHOLDS), 0, THRESHOLDS).astype(int)
    # Counts of pixels at or above each step: cumulative sums from the top.
    found = np.bincount(steps.ravel(), minlength=THRESHOLDS + 1)[::-1].cumsum()[::-1]
    hits = np.bincount(steps[truth], minlength=THRESHOLDS + 1)[::-1].cumsum()[::-1]
    weighted = found + BETA_SQUARED * np.count_nonzero(truth)
    scores = (1 + BETA_SQUARED) * hits / np.maximum(weighted, 1e-12)
    return np.asarray(scores[1:], dtype=np.float64)


class SaliencyScores:
    """Scores of a set of saliency maps, added one by one."""

    def __init__(self) -> None:
        self._adaptive: list[float] = []
        self._errors: list[float] = []
        self._curve = np.zeros(THRESHOLDS)

    def add(self, saliency: NDArray[np.floating], truth: NDArray[np.uint8]) -> None:
        """One map in [0, 1] and its mask, (h, w) uint8: 1 is salient."""
        mask = truth == 1
        self._adaptive.append(adaptive_f_measure(saliency, mask))
        self._errors.append(float(np.abs(saliency.astype(np.float64) - mask).mean()))
        self._curve += f_measure_curve(saliency, mask)

    def scores(self) -> dict[str, float]:
        """Means over the images: `f_measure` (adaptive), `f_measure_maximum` and `mae`.

        The maximum is that of the mean curve: one threshold for the whole set.
        """
        images = len(self._errors)
        assert images, "no map was added"
        return {
            "f_measure": float(np.mean(self._adaptive)),
            "f_measure_maximum": float(self._curve.max() / images),
            "mae": float(np.mean(self._errors)),
        }


class SegmentationScores:
    """Intersection over union of a set of segmentations, from one confusion matrix."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._confusion = np.zeros((len(names), len(names)), np.int64)  # truth, prediction

    def add(self, predicted: NDArray[np.integer], truth: NDArray[np.uint8]) -> None:
        """One segmentation and its mask, (h, w) classes; void pixels are left out."""
        counted = truth != VOID
        classes = len(self._names)
        pairs = classes * truth[counted].astype(np.int64) + predicted[counted]
        counts = np.bincount(pairs, minlength=classes * classes)
        self._confusion += counts.reshape(classes, classes)

    def scores(self) -> dict[str, float]:
        """`miou_percent`, and `iou_percent:NAME` of each class; NaN for a class nowhere seen.

        The mean is over the classes that occur in a mask or in a prediction; NaN without any.
        """
        hits = np.diag(self._confusion).astype(np.float64)
        union = self._confusion.sum(0) + self._confusion.sum(1) - hits
        iou = np.full(len(hits), np.nan)
        np.divide(100.0 * hits, union, out=iou, where=union > 0)
        each = {f"iou_percent:{name}": float(v) for name, v in zip(self._names, iou, strict=True)}
        seen = iou[union > 0]
        mean = float(seen.mean()) if len(seen) else float("nan")
        return {"miou_percent": mean, **each}
