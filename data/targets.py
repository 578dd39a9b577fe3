"""The position maps that heads are trained to read out: the paper's five, and any others.

Paper: section 3.1 and figure 3 of Islam, Jia and Bruce (ICLR 2020); docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.resample import bilinear_matrix
from data.tools.errors import UserError
from data.tools.settings import listed

_Values = NDArray[np.float64]

PATTERNS = ("H", "V", "G", "HS", "VS")  # the paper's
MAP_SIZE = 224  # pixels a side; the maps are defined at the size of the resized images
STRIPE_HALF_PERIODS = 5  # two and a half periods across the map


@dataclass(frozen=True)
class Pattern:
    """A target position map."""

    name: str  # in options, columns and names of heads
    draw: Callable[[int], NDArray[np.float64]]  # pixels a side -> (size, size), rows down
    control_seed: int  # of the permutation that scatters it for its control task
    is_signed: bool = False  # in [-1, 1], not [0, 1], where the recipe says so of stripes


def _along_x(profile: Callable[[_Values], _Values]) -> Callable[[int], _Values]:
    return lambda size: np.tile(profile(np.linspace(0.0, 1.0, size)), (size, 1))


def _along_y(profile: Callable[[_Values], _Values]) -> Callable[[int], _Values]:
    return lambda size: _along_x(profile)(size).T.copy()


def _unchanged(unit: _Values) -> _Values:
    return unit


def _stripes(unit: _Values) -> _Values:
    return 0.5 + 0.5 * np.cos(STRIPE_HALF_PERIODS * np.pi * unit)


def _gaussian(size: int) -> NDArray[np.float64]:
    bump = np.exp(-np.square(2.0 * np.linspace(0.0, 1.0, size) - 1.0) / 2.0)
    gaussian = np.outer(bump, bump)
    return (gaussian - gaussian.min()) / (gaussian.max() - gaussian.min())


_patterns = {
    pattern.name: pattern
    for pattern in (
        Pattern("H", _along_x(_unchanged), 0),
        Pattern("V", _along_y(_unchanged), 1),
        Pattern("G", _gaussian, 2),
        Pattern("HS", _along_y(_stripes), 3, is_signed=True),
        Pattern("VS", _along_x(_stripes), 4, is_signed=True),
    )
}


def add_pattern(pattern: Pattern) -> None:
    """Let `pattern` be found by its name; `UserError` where another one has it."""
    known = _patterns.setdefault(pattern.name, pattern)
    if known is not pattern and not np.array_equal(known.draw(MAP_SIZE), pattern.draw(MAP_SIZE)):
        raise UserError(f"pattern {pattern.name!r} is another map already: give it another name")


def pattern_names() -> tuple[str, ...]:
    """The paper's five, then those added, in the order of tables and figures."""
    return tuple(_patterns)


def control_seed(pattern: str) -> int:
    """The seed of the permutation that scatters `pattern` for its control task."""
    return _find(pattern).control_seed


def position_map(
    pattern: str,
    size: int = MAP_SIZE,
    *,
    signed_stripes: bool = False,
    eight_bit: bool = False,
) -> NDArray[np.float64]:
    """The target of `pattern`, (size, size) float64, rows down and columns to the right.

    H grows from 0 to 1 along x, V along y; G is a Gaussian bump, exp(-(u^2 + v^2) / 2) with u, v
    in [-1, 1], min-max scaled to [0, 1]; HS is 0.5 + 0.5 cos(5 pi y / (n - 1)), stripes that
    alternate down the rows, VS the same along x. `signed_stripes` puts HS and VS in [-1, 1]:
    the only range that fits the paper's MAE (see docs/methods.md).

    Maps are made at 224x224; another `size` is their bilinear resampling (no antialiasing), or,
    `eight_bit`, what the notebooks of the reproduction report make of them: images of 256 levels,
    resized by PIL (bilinear, antialiased). Raises `UserError` for an unknown pattern.
    """
    found = _find(pattern)
    full = found.draw(MAP_SIZE)
    if signed_stripes and found.is_signed:
        full = 2.0 * full - 1.0
    if eight_bit:
        return _resized_image(full, size)
    if size == MAP_SIZE:
        return full
    resample = bilinear_matrix(MAP_SIZE, size)
    return resample @ full @ resample.T


def _resized_image(values: _Values, size: int) -> _Values:
    """A map as an image, black at its least and white at its greatest value, at (size, size)."""
    low, high = values.min(), values.max()
    levels = np.rint((values - low) * (255.0 / (high - low))).astype(np.uint8)
    resized = Image.fromarray(levels).resize((size, size), Image.Resampling.BILINEAR)
    scaled: _Values = low + np.asarray(resized) * ((high - low) / 255.0)
    return scaled


def _find(name: str) -> Pattern:
    if name not in _patterns:
        raise UserError(f"unknown pattern {name!r}: use {listed(name, tuple(_patterns))}")
    return _patterns[name]
