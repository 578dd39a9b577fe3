"""How a position signal behaves in a mirror, in closed form (docs/methods.md, "Mirrors").

Everything here takes the features F of one level of N images and their mirror images,
(2, 2, N, C, n, n): the first axis says whether the image was turned up-down, the second whether
left-right. Such a set has no content that favours a side, so what favours one is the network's.

What is estimated comes as N jackknife pseudo-values (Efron and Tibshirani 1993, chapter 11): their
mean is the estimate, and its interval that of any mean over images.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from data.cache.reader import FeatureCache
from data.images.mirrors import MIRRORS
from data.tools.errors import UserError

Floats = NDArray[np.floating]

# Mirror -> the axis of F that says whether the image was turned, and that of the map it turns.
MIRROR_AXES = {"left-right": (1, -1), "up-down": (0, -2)}
# H and VS are odd along x (left-right) alone, V and HS odd along y (up-down) alone, G is even.
PARTS = ("even", "odd along x", "odd along y", "odd along both")


def read_mirrored(cache: FeatureCache, level: str) -> NDArray[np.float32]:
    """The features F of a level, (2, 2, N, C, 28, 28) float32.

    Raises `UserError` unless the cache holds the sets of `data.images.mirrors.mirrored_sets`.
    """
    rows = [cache.rows(images) for images in MIRRORS]
    names = [[cache.records[row].name for row in found] for found in rows]
    if not names[0] or any(other != names[0] for other in names):
        raise UserError(
            f"{cache.folder} holds no images with their mirror images: extract_features(..., "
            f"images=mirrored_sets(...)), whose sets are {', '.join(MIRRORS)}"
        )
    maps = cache.read(level, np.concatenate(rows)).astype(np.float32)
    return maps.reshape(2, 2, len(names[0]), *maps.shape[1:])


def position_shares(features: Floats) -> NDArray[np.float64]:
    """How much of the position signal is even and odd along x and y: pseudo-values (N, 4).

    The position signal is the mean of F over all images, less every channel's own mean; its
    energy, the sum of squares over channels and cells, is the sum of those of its four `PARTS`.
    Energies are means over all pairs of different images, so the noise of an image adds nothing.
    Each row sums to 1.
    """
    maps = features.mean((0, 1), dtype=np.float64)  # (N, C, n, n)
    maps -= maps.mean((2, 3), keepdims=True)
    energies = [_signal_energies(part) for part in _parts(maps)]
    whole = np.array([energy for energy, _ in energies])  # (4,)
    without = np.stack([left for _, left in energies], axis=1)  # (N, 4)
    return _pseudo_values(whole / whole.sum(), without / without.sum(1, keepdims=True))


def asymmetry(features: Floats, mirror: str) -> NDArray[np.float64]:
    """How far the level is from one that a mirrored image mirrors: pseudo-values (N,).

    With M the mirror, and m the features of the mirrored image: the energy of d = (F - M m) / 2
    over that of F, both less every channel's mean. 0 is a network that sees no difference between
    an image and its mirror image, but for the place; .5 one whose two maps have nothing in common.
    """
    centred = features - features.mean((0, 1, 2, 4, 5), keepdims=True)
    odd = (centred - np.flip(centred, MIRROR_AXES[mirror])) / 2
    return _ratio(_energy_by_image(odd), _energy_by_image(centred))


def neighbourhood_share(
    features: Floats, kernel: Floats, target: Floats, mirror: str
) -> NDArray[np.float64]:
    """How much of a linear readout of an odd target its neighbourhoods tell: pseudo-values (N,).

    Args:
        features: F.
        kernel: of the readout, (C, k, k).
        target: a map (n - k + 1, n - k + 1), of which the part that `mirror` turns round counts.
        mirror: a name of `MIRROR_AXES`.

    The kernel is the sum of one that is even in the mirror and one that is odd. With s and d the
    halves of F (`asymmetry`), the covariance of the readout with an odd target over the images
    and their mirror images is that of (odd kernel on s) + (even kernel on d): a symmetric code
    and neighbours that differ, or a code that is itself another on the other side. The share is
    that of the first. A kernel of one cell has no odd part: 0.
    """
    _, axis = MIRROR_AXES[mirror]
    turned = (target - np.flip(target, axis)) / 2
    taps = _tap_products(features, turned, kernel.shape[-1])
    odd = (kernel - np.flip(kernel, axis)) / 2
    return _ratio(np.tensordot(taps, odd, 3), np.tensordot(taps, kernel, 3))


def _parts(maps: Floats) -> list[Floats]:
    """`PARTS` of maps (N, C, n, n): they sum to them, and are at right angles."""
    even, odd = (maps + np.flip(maps, 3)) / 2, (maps - np.flip(maps, 3)) / 2
    halves = [(part + sign * np.flip(part, 2)) / 2 for sign in (1, -1) for part in (even, odd)]
    return list(halves)


def _signal_energies(maps: Floats) -> tuple[float, NDArray[np.float64]]:
    """The squared norm of the mean map, without bias, of all images and without each: (), (N,)."""
    flat = maps.reshape(len(maps), -1)
    products = flat @ flat.T
    own, count = products.diagonal(), len(maps)
    pairs = products.sum() - own.sum()
    without = pairs - 2 * (products.sum(1) - own)
    return pairs / (count * (count - 1)), without / ((count - 1) * (count - 2))


def _energy_by_image(features: Floats) -> NDArray[np.float64]:
    return np.square(features).sum((0, 1, 3, 4, 5), dtype=np.float64)


def _tap_products(features: Floats, target: Floats, kernel_size: int) -> NDArray[np.float64]:
    """Products of the target with what each tap of a kernel sees, (N, C, k, k), mirrors summed."""
    maps = torch.from_numpy(features.sum((0, 1), dtype=np.float64))  # (N, C, n, n)
    size = maps.shape[-1] - kernel_size + 1
    assert target.shape == (size, size)
    seen = maps.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, k, k, size, size)
    return torch.einsum("ncijyx,yx->ncij", seen, torch.from_numpy(target)).numpy()


def _ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pseudo-values (N,) of the ratio of two sums over images."""
    part, whole = parts.sum(), wholes.sum()
    return _pseudo_values(part / whole, (part - parts) / (whole - wholes))


def _pseudo_values(whole: Floats, without: Floats) -> NDArray[np.float64]:
    """Of the estimate from all images and those without each, (N, ...)."""
    count = len(without)
    return np.asarray(count * whole - (count - 1) * without)
