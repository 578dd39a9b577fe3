"""The five position maps a head is trained to read out (paper, section 3.1 and figure 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.resample import bilinear_matrix

PATTERNS = ("H", "V", "G", "HS", "VS")
MAP_SIZE = 224  # pixels a side; the maps are defined at the size of the resized images
STRIPE_HALF_PERIODS = 5  # two and a half periods across the map


# Of each pattern's control task: its own, whatever other patterns there are.
_CONTROL_SEEDS = {"H": 0, "V": 1, "G": 2, "HS": 3, "VS": 4}


def control_seed(pattern: str) -> int:
    """The seed of the permutation that scatters `pattern` for its control task."""
    return _CONTROL_SEEDS[pattern]


def position_map(
    pattern: str, size: int = MAP_SIZE, *, signed_stripes: bool = False
) -> NDArray[np.float64]:
    """The target of `pattern`, (size, size) float64, rows down and columns to the right.

    H grows from 0 to 1 along x, V along y; G is a Gaussian bump, exp(-(u^2 + v^2) / 2) with u, v
    in [-1, 1], min-max scaled to [0, 1]; HS is 0.5 + 0.5 cos(5 pi y / (n - 1)), stripes that
    alternate down the rows, VS the same along x. `signed_stripes` puts HS and VS in [-1, 1]:
    the only range that fits the paper's MAE (see docs/methods.md).

    Maps are made at 224x224; another `size` is their bilinear resampling (no antialiasing).
    """
    if pattern not in PATTERNS:
        raise ValueError(f"unknown pattern {pattern!r}: use one of {', '.join(PATTERNS)}")
    full = _full_size(pattern)
    if signed_stripes and pattern in ("HS", "VS"):
        full = 2.0 * full - 1.0
    if size == MAP_SIZE:
        return full
    resample = bilinear_matrix(MAP_SIZE, size)
    return resample @ full @ resample.T


def _full_size(pattern: str) -> NDArray[np.float64]:
    unit = np.linspace(0.0, 1.0, MAP_SIZE)
    if pattern == "G":
        bump = np.exp(-np.square(2.0 * unit - 1.0) / 2.0)
        gaussian = np.outer(bump, bump)
        return (gaussian - gaussian.min()) / (gaussian.max() - gaussian.min())
    profile = unit
    if pattern in ("HS", "VS"):
        profile = 0.5 + 0.5 * np.cos(STRIPE_HALF_PERIODS * np.pi * unit)
    along_x = np.tile(profile, (MAP_SIZE, 1))
    return along_x if pattern in ("H", "VS") else along_x.T.copy()
