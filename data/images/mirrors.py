"""A set of images and their mirror images: with them, no content is more to the left than right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.images.image_set import open_set
from data.vocabulary import IMAGE_SIZE

# Image set -> the axes of (height, width, 3) that are turned round.
MIRRORS: dict[str, tuple[int, ...]] = {
    "test": (),
    "left-right": (1,),
    "up-down": (0,),
    "turned": (0, 1),
}


def mirrored_sets(
    images: Any, *, limit: int | None = None, image_size: int = IMAGE_SIZE, num_workers: int = 1
) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """Image set of `MIRRORS` -> name -> image (image_size, image_size, 3) uint8, to extract from.

    Args:
        images: of the set "test", as `data.images.image_set.open_images` takes them; None: the
            embedded samples.
        limit: at most this many of them, the first in order.
        image_size: pixels a side at which they are mirrored, so that resizing comes before.
        num_workers: threads that decode.

    Raises `UserError` when there is no image that can be used.
    """
    opened = open_set("test", images, image_size=image_size, num_workers=num_workers)
    pixels = {record.name: opened.load(row) for row, record in enumerate(opened.records[:limit])}
    return {
        name: {key: np.ascontiguousarray(np.flip(image, axes)) for key, image in pixels.items()}
        for name, axes in MIRRORS.items()
    }
