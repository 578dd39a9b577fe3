"""Backbones of torchvision: the rows of the table."""

from __future__ import annotations

from torchvision import models

from data.tools.errors import UserError
from extract.backbones.checkpoints.heads import drop_heads
from extract.backbones.imagenet import imagenet_weights
from extract.backbones.sources.architecture import TAP_RECIPES, Architecture, seeded
from extract.backbones.table import find_row


def build(name: str, seed: int, image_size: int) -> Architecture:
    """The classifier that torchvision calls `name`, without its head."""
    row = find_row(name)
    arguments = dict(row.arguments)
    if row.size_argument == "image_size":
        arguments["image_size"] = image_size
    elif row.size_argument == "input_size":
        arguments["input_size"] = (image_size, image_size)
    with seeded(seed):
        try:
            module = models.get_model(name, weights=None, **arguments)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{name} cannot be built for {image_size}x{image_size} images ({error}): "
                f"use 224x224 ({row.note})"
            ) from error
    drop_heads(module)
    return Architecture(
        module,
        taps={recipe: row.taps_for(recipe) for recipe in TAP_RECIPES},
        channels_last=row.channels_last,
        pretrained=lambda: imagenet_weights(name),
    )
