"""The photographs behind the scores, where they can still be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.cache.identity import Identity
from data.images.decoding import decode_image, read_image_file
from data.images.files.rgb import DecodingError
from data.images.generated import SYNTHETIC, generated_image
from data.targets import MAP_SIZE


def photograph(identity: Identity, name: str, images: str = "test") -> NDArray[np.uint8] | None:
    """The image `name` of a set of a cache, (224, 224, 3) uint8; None where it is not to be had.

    Transposed, where it was scored so.
    """
    pixels = _find(identity, name, images)
    if pixels is None or not identity.features.score_transposed:
        return pixels
    return pixels.swapaxes(0, 1)


def _find(identity: Identity, name: str, images: str) -> NDArray[np.uint8] | None:
    source = identity.sources.get(images, "")
    if images in SYNTHETIC or source == "samples":
        try:
            return generated_image(name, 0, MAP_SIZE)
        except (KeyError, ValueError):
            return None
    path = Path(source) / name
    if not path.is_file():
        return None
    try:
        return decode_image(read_image_file(path), MAP_SIZE)
    except (DecodingError, OSError):
        return None
