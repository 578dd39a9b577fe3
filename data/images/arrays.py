"""Images in memory: a sequence or a Dataset of PIL images, arrays or tensors."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from data.images.decoding import check_size, fit, upright
from data.images.files.rgb import DecodingError, to_rgb
from data.images.source import BadImage, ImageRecord
from data.tools.errors import UserError
from data.tools.progress import progress

_one_at_a_time = threading.Lock()  # a Dataset need not be made for threads


class Items(Protocol):
    """A list, an array of images, or a `torch.utils.data.Dataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class ArrayImages:
    """Images that Python hands over, one at a time."""

    items: Items = field(compare=False)
    rows: tuple[int, ...]  # of the items that can be used
    records: tuple[ImageRecord, ...]
    image_size: int  # pixels a side
    bad: tuple[BadImage, ...] = ()

    def load(self, index: int) -> NDArray[np.uint8]:
        """The image of `records[index]`, (image_size, image_size, 3) uint8 RGB.

        Raises `UserError` when it is not the image it was at first: a Dataset must not augment.
        """
        record = self.records[index]
        try:
            image = _item(self.items, self.rows[index])
        except DecodingError as error:
            raise UserError(f"{record.images} image {record.name}: {error}") from None
        if _digest(image) != record.sha256:
            raise UserError(
                f"{record.images} image {record.name} was changed while it was in use: give a "
                "Dataset that returns the same image every time, without random augmentation"
            )
        return fit(image, self.image_size)


def hash_arrays(
    images: str, items: Items | Mapping[str, Any], *, limit: int | None, image_size: int
) -> ArrayImages:
    """The set `images` of a sequence, a Dataset, or a dict of name -> image.

    Each image is a PIL image, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a tensor
    (H, W), (1, H, W), (3, H, W) or (4, H, W), of uint8 or of floats in [0, 1]; or a tuple that
    begins with one. Those without a name are called "image-00012". Hashes are of the RGB pixels.

    Raises `UserError` when there is no image that can be used.
    """
    names = None
    if isinstance(items, Mapping):
        names, items = [str(name) for name in items], list(items.values())
    rows: list[int] = []
    records: list[ImageRecord] = []
    bad: list[BadImage] = []
    numbers = progress(
        range(len(items)), total=len(items), description=f"checking {images} images", unit="images"
    )
    for row in numbers:
        name = names[row] if names else f"image-{row:05d}"
        try:
            records.append(ImageRecord(name, images, _digest(_item(items, row))))
            rows.append(row)
        except DecodingError as error:
            bad.append(BadImage(name, images, str(error)))
        if len(records) == limit:
            break
    if not records:
        reason = f" ({bad[0].name}: {bad[0].reason})" if bad else ""
        raise UserError(f"none of the {len(items)} {images} images can be used{reason}")
    return ArrayImages(items, tuple(rows), tuple(records), image_size, tuple(bad))


def _item(items: Items, row: int) -> Image.Image:
    with _one_at_a_time:
        item = items[row]
    return as_rgb(item)


def as_rgb(item: Any) -> Image.Image:
    """An upright RGB image of what `hash_arrays` takes; `DecodingError` says what it cannot be."""
    if isinstance(item, tuple | list) and item:  # (image, label)
        item = item[0]
    if isinstance(item, Image.Image):
        check_size(item.width, item.height)
        orientation = item.getexif().get(ExifTags.Base.Orientation)
        return upright(to_rgb(item, bits=16 if item.mode.startswith("I;16") else None), orientation)
    if hasattr(item, "detach"):  # a tensor: no reason to import torch
        array = item.detach().cpu().numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    else:
        array = np.asarray(item)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise DecodingError(f"shape {array.shape} is no image: give (H, W, 3), tensors (3, H, W)")
    check_size(array.shape[1], array.shape[0])
    pixels = _bytes(array[..., :3])
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise DecodingError(f"numbers of type {array.dtype}: give uint8, or floats in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0.0 and high <= 1.0):  # NaN too
        raise DecodingError(f"floats from {low:g} to {high:g}: give them in [0, 1]")
    return np.rint(array.astype(np.float64) * 255.0).astype(np.uint8)


def _digest(image: Image.Image) -> str:
    digest = hashlib.sha256(f"{image.width}x{image.height} RGB\n".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
