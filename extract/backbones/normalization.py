"""Normalisation of images: what the backbone sees. No torch until images come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.tools.errors import UserError
from data.tools.settings import spelled

if TYPE_CHECKING:
    from torch import Tensor

_Colour = tuple[float, float, float]

CAFFE = "caffe"
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red, of 255: Simonyan and Zisserman's VGG


@dataclass(frozen=True)
class Normalization:
    """Minus `mean`, over `std`, of each channel in [0, 1]; then blue first or not."""

    mean: _Colour  # red, green, blue
    std: _Colour
    blue_first: bool = False


_IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE_NONE = "caffe-none"

NAMED = {
    "none": Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": _IMAGENET,
    "half": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    # A first kernel for caffe's images is one for ImageNet-normalised ones over 255 deviations.
    CAFFE_NONE: Normalization(
        (0.0, 0.0, 0.0),
        tuple(1 / (255 * std) for std in _IMAGENET.std),  # type: ignore[arg-type]
        blue_first=True,
    ),
}


def parse_normalization(text: str) -> Normalization:
    """What `text` asks for.

    - `none`: [0, 1]; `imagenet`: ImageNet's mean and deviation; `half`: .5 and .5, so [-1, 1].
    - `caffe-none`: to weights that want `caffe` what `none` is to those that want `imagenet`: blue,
      green, red in 0 to 255, times ImageNet's deviations.
    - `caffe`: blue, green, red in 0 to 255 minus 103.939, 116.779, 123.68, or minus the three
      numbers of `caffe:B,G,R`.
    - `MEAN/STD`: numbers of your own in [0, 1], one for all channels or three (red, green, blue).

    Raises `UserError` for anything else.
    """
    if text in NAMED:
        return NAMED[text]
    kind, colon, rest = text.partition(":")
    try:
        if kind == CAFFE:
            blue, green, red = _colour(rest) if colon else _CAFFE_MEAN
            mean = (red / 255, green / 255, blue / 255)
            return Normalization(mean, (1 / 255, 1 / 255, 1 / 255), blue_first=True)
        mean_text, _, std_text = text.partition("/")
        mean, std = _colour(mean_text), _colour(std_text)
        if min(std) <= 0:
            raise ValueError("a deviation is above 0")
    except ValueError as error:
        raise UserError(
            f"{spelled('normalization')} {text!r}: {error}; use {', '.join(NAMED)}, caffe, "
            "caffe:B,G,R or "
            "MEAN/STD such as 0.5/0.5 or 0.485,0.456,0.406/0.229,0.224,0.225"
        ) from error
    return Normalization(mean, std)


def _colour(text: str) -> _Colour:
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{text!r} is not one number or three")
    red, green, blue = numbers * (3 // len(numbers))
    return red, green, blue


def normalize(images: Tensor, normalization: str) -> Tensor:
    """Images (B, 3, S, S), RGB in [0, 1], as `parse_normalization` of `normalization` says."""
    if normalization == "none":
        return images
    recipe = parse_normalization(normalization)
    mean = images.new_tensor(recipe.mean).view(1, 3, 1, 1)
    std = images.new_tensor(recipe.std).view(1, 3, 1, 1)
    normalized = (images - mean) / std
    return normalized.flip(1) if recipe.blue_first else normalized
