"""Normalisation of images: what the backbone sees."""

from __future__ import annotations

from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(images: Tensor, normalization: str) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] as the backbone sees them.

    "none" leaves them alone, "imagenet" subtracts the mean and divides by the standard deviation
    of each channel.
    """
    if normalization == "none":
        return images
    assert normalization == "imagenet", normalization
    mean = images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = images.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (images - mean) / std
