"""Whether predictions stay when images are moved, and whether that is more than accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def agreement(first: Labels, second: Labels, shown: Labels) -> dict[str, float]:
    """Scores of two predictions of every image, (N,), percent, but kappa.

    - `consistency_percent`: equal predictions. A better classifier is more consistent for that
      alone, so:
    - `consistency_wrong_percent`: of the images of which at least one prediction is wrong; NaN
      where there is none.
    - `kappa`: Cohen's, what agreement there is beyond that of independent predictions with the
      same shares of classes, over what there could be; NaN where there could be none.
    """
    equal = first == second
    wrong = (first != shown) | (second != shown)
    classes = np.arange(1 + max(first.max(), second.max()))
    shares = [(labels[:, None] == classes).mean(0) for labels in (first, second)]
    chance = float((shares[0] * shares[1]).sum())
    return {
        "consistency_percent": 100 * float(equal.mean()),
        "consistency_wrong_percent": 100 * float(equal[wrong].mean()) if wrong.any() else np.nan,
        "kappa": (float(equal.mean()) - chance) / (1 - chance) if chance < 1 else np.nan,
    }
