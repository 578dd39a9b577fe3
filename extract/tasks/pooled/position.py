"""How much of what pooled vectors say of the place changes its sign in a mirror."""

from __future__ import annotations

import torch
from torch import Tensor

from data.exactness import EXACT


def odd_percent(vectors: Tensor, axis: str) -> float:
    """Share of the position signal along an axis that is odd, percent.

    NaN without any signal: where it is no more than the rounding of the vectors, as without border.

    `vectors` are (k, k, C), the means over patches by row and column of the cell. Along "x" (is
    left told from right?) the signal is the means over rows, less their mean; a column's and its
    mirror's differ in the odd part only. Along "y" the same of rows. Squares of both parts add up.
    """
    signal = vectors.double().mean({"x": 0, "y": 1}[axis])
    signal = signal - signal.mean(0)
    odd = (signal - signal.flip(0)) / 2
    whole = float(signal.square().sum())
    if float(signal.abs().max()) <= EXACT * float(vectors.abs().max()):
        return torch.nan
    return 100 * float(odd.square().sum()) / whole
